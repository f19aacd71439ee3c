"""A small mini run, damaged, denied, stopped, goes on or tells. Many more faults: python3 -m tests.faults.damage."""

import os
import random
import shutil

import pytest

from tests.faults.damage import KINDS, PLAIN_USER, Place, harm

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place.prepare(tmp_path_factory.mktemp("damage") / "all")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "truncate"])  # which is much like flip
def test_harm_is_mended_or_told(place, kind):
    if kind == "full" and os.getuid() != 0:
        pytest.skip("a small disk takes root")
    if kind == "deny" and os.getuid() == 0 and not shutil.which(PLAIN_USER[0]):
        pytest.skip(f"no {PLAIN_USER[0]}, without which root reads what may not be read")
    counts = harm(place, [kind], 1, random.Random(1))
    assert sum(counts.values()) == 1
