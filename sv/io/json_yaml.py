"""Plain values from JSON and YAML files, whatever stands in them."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

_MAX_DEPTH = 100
_MAX_VALUES = 100_000
_TOO_DEEP = "too many brackets in brackets"


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: no JSON, no UTF-8, or brackets in brackets beyond reason; what is wrong, in one line.
        OSError: it can not be opened.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds; no objects are made of it.

    Raises:
        ValueError: no YAML, no UTF-8, or brackets in brackets or aliases beyond reason; what is wrong, in one line.
        OSError: it can not be opened.
    """
    return parse_yaml(Path(path).read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """What a YAML text holds; ValueError as `read_yaml`."""
    if _bracket_depth(text) > _MAX_DEPTH:  # PyYAML's time grows with its square
        raise ValueError(_TOO_DEEP)
    try:
        tree = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    _check_size(tree)
    return tree


def _bracket_depth(text: str) -> int:
    """How deep brackets stand in brackets, at most; more if some stand in quotes."""
    depth = most = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        most = max(most, depth)
    return most


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
