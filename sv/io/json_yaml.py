"""Plain values from JSON and YAML files, whatever their content."""

import json
from pathlib import Path
from typing import Any

import yaml

from sv.errors import UserError

_MAX_VALUES = 100_000
_TOO_DEEP = "too many brackets in brackets"


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: not JSON, not UTF-8, or nested too deeply; one line.
        OSError: it cannot be opened.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the `key: value` lines of a YAML file; none if it is empty.

    Raises:
        UserError: not YAML, not UTF-8, nested too deeply, or another thing than `key: value` lines.
        OSError: it cannot be opened.
    """
    try:
        tree = parse_yaml(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UserError(f"{path}: not YAML: {error}") from error
    if tree is not None and not isinstance(tree, dict):
        raise UserError(f"{path}: expected 'key: value' lines, found {type(tree).__name__}")
    return tree or {}


def parse_yaml(text: str) -> Any:
    """Parse a YAML text to plain values; no other objects are made.

    Raises:
        ValueError: not YAML, nested too deeply, or aliases of aliases; one line.
    """
    try:
        tree = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    _check_size(tree)
    return tree


def _check_size(tree: Any) -> None:
    """Refuse aliases of aliases, a few lines of which stand for billions of values, and a value within itself."""
    left, count = [tree], 0
    while left:
        node, count = left.pop(), count + 1
        if count > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES:,} values; are there aliases (*name) of aliases?")
        if isinstance(node, dict):
            left.extend(node.values())
        elif isinstance(node, list | tuple):
            left.extend(node)
