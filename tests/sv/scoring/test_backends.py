"""The registry of back-ends: names, options and what follows from them."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.scoring.backends import BACKENDS, backend_lines, find_backends, flags, true_or_false, values_of
from sv.scoring.norm import METHODS


def test_help_needs_no_numpy() -> None:
    heavy = ["numpy", "scipy", "torch", "pydantic"]
    code = f"import sys, sv.scoring.backends; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_back_ends_are_found_by_name_each_once() -> None:
    assert find_backends("plda cos plda") == [BACKENDS["plda"], BACKENDS["cos"]]
    assert set(METHODS) < set(BACKENDS)
    with pytest.raises(UserError, match="unknown back-end 'pldaa'; did you mean 'plda'\\? known: cos, asnorm"):
        find_backends("cos pldaa")
    with pytest.raises(UserError, match="no back-end is named; known: cos, asnorm"):
        find_backends(" ")


@pytest.mark.parametrize("name", list(BACKENDS))
def test_every_entry_is_whole(name: str) -> None:
    backend = BACKENDS[name]
    assert f"  {name}" in backend_lines() and backend.title in backend_lines()
    label = backend.label.format(**values_of(backend.options, {}))
    assert label.startswith(name)
    assert backend.prefix.format(train="x", label=label).endswith("_") or name == "cos"
    made = [file.name for file in backend.needs if file.name == backend.made]
    assert len(made) == (backend.prepare is not None) and all(file.path for file in backend.needs)


def test_prefixes_tell_all_back_ends_apart() -> None:
    prefixes = {b.prefix.format(train="x", label=b.label.format(**values_of(b.options, {}))) for b in BACKENDS.values()}
    assert len(prefixes) == len(BACKENDS)


def test_options_of_the_command_line_are_those_of_the_back_ends() -> None:
    parser = argparse.ArgumentParser()
    for flag, about in flags("needs", "options", "training_options"):
        parser.add_argument(flag, **about)
    given = vars(parser.parse_args(["--top-n", "5", "--length-norm", "false", "--mean", "m.npy"]))
    assert given["top_n"] == 5 and given["length_norm"] is False and given["mean"] == Path("m.npy")
    assert values_of(BACKENDS["asnorm"].options, given) == {"top_n": 5}
    assert values_of(BACKENDS["plda"].options, {}) == {"normalize_length": True, "length_norm": True}
    assert "--lda-dim" not in dict(flags("needs", "options"))
    for word in ("yes", "1", "True"):
        with pytest.raises(ValueError, match=word):
            true_or_false(word)
