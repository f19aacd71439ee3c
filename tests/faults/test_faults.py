"""A small mini run, killed, damaged, denied, stopped, goes on or tells.

Many more faults: python3 -m tests.faults.damage, python3 -m tests.faults.kills.
"""

import os
import random
import shutil
from collections import Counter

import pytest

from tests.faults.damage import KINDS, PLAIN_USER, harm
from tests.faults.kills import run_killed
from tests.faults.runs import Place, fingerprint

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place.prepare(tmp_path_factory.mktemp("faults") / "all")


def test_six_kills_change_nothing(place):
    """In the stages that make something: corpus, features, training, embeddings, PLDA and calibration."""
    counts, different = run_killed(place, Counter({0: 1, 2: 1, 3: 2, 4: 1, 7: 1}).__getitem__, seed=1)
    assert sum(counts.values()) == 6
    assert counts["ended before"] <= 2
    assert len(fingerprint(place.calm)) > 50
    assert different == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "truncate"])  # which is much like flip
def test_harm_is_mended_or_told(place, kind):
    if kind == "full" and os.getuid() != 0:
        pytest.skip("a small disk takes root")
    if kind == "deny" and os.getuid() == 0 and not shutil.which(PLAIN_USER[0]):
        pytest.skip(f"no {PLAIN_USER[0]}, without which root reads what may not be read")
    counts = harm(place, [kind], 1, random.Random(1))
    assert sum(counts.values()) == 1
