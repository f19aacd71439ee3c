"""Blocks of plain values."""

import pytest

from sv.io.nested_keys import first_difference, flatten, merge, numbers_as_float, unflatten

TREE = {"a": 1, "b": {"c": [2], "d": {"e": None}}}
FLAT = {"a": 1, "b.c": [2], "b.d.e": None}


def test_blocks_become_dotted_keys_and_back():
    assert flatten({**TREE, "empty": {}}) == FLAT
    assert unflatten(FLAT) == TREE


def test_merging_changes_single_keys_of_blocks_and_leaves_both_trees_alone():
    base, changes = {"a": {"x": 1, "y": 2}, "b": {"x": 1}}, {"a": {"y": 3}, "b": 4, "c": {"z": 5}}
    assert merge(base, changes) == {"a": {"x": 1, "y": 3}, "b": 4, "c": {"z": 5}}
    assert (base, changes) == ({"a": {"x": 1, "y": 2}, "b": {"x": 1}}, {"a": {"y": 3}, "b": 4, "c": {"z": 5}})


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("2E3", 2000.0), ("1element", "1element"), ("e5", "e5")])
def test_text_with_an_exponent_becomes_a_number(text, value):
    assert numbers_as_float({"a": {"b": text}}) == {"a": {"b": value}}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"a": {"b": 1}, "c": 2}, None),
        ({"a": {"b": 3}, "c": 2}, ("a.b", 1, 3)),
        ({"a": {"b": 1}, "c": 9}, None),
        ({"a": {"b": 1}, "c": 2, "d": None}, ("d", "absent", None)),
    ],
)
def test_first_difference_is_that_of_a_key_that_is_not_free(other, found):
    assert first_difference({"a": {"b": 1}, "c": 2}, other, {"c"}) == found
