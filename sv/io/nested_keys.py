"""Nested keys of YAML files, {"a": {"b": 1}}, and the same keys with dots, {"a.b": 1}: compare, merge, convert."""

from collections.abc import Mapping, Set
from typing import Any


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any], free: Set[str]) -> tuple[str, Any, Any] | None:
    """Return the first key, not in `free`, that differs between two configurations, and its two values."""
    flat, flat_other = flatten(one), flatten(other)
    for key in (*flat, *flat_other):
        value, other_value = flat.get(key, "absent"), flat_other.get(key, "absent")
        if key not in free and value != other_value:
            return key, value, other_value
    return None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn blocks of keys into dotted keys, {"a": {"b": 1}} into {"a.b": 1}; empty blocks are dropped."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into blocks, {"a.b": 1} into {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *blocks, key = name.split(".")
        block = tree
        for part in blocks:
            block = block.setdefault(part, {})
        block[key] = value
    return tree


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `changes`; a block changes only the keys that it has."""
    merged = dict(base)
    for key, value in changes.items():
        both_blocks = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both_blocks else value
    return merged


def numbers_as_float(value: Any) -> Any:
    """Turn 1e-4 into a number: without a dot, YAML 1.1 reads it as text."""
    if isinstance(value, dict):
        return {key: numbers_as_float(item) for key, item in value.items()}
    if isinstance(value, str):
        try:
            return float(value) if value[:1].isdigit() and "e" in value.lower() else value
        except ValueError:
            return value
    return value
