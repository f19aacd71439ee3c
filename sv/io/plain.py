"""Plain values from JSON and YAML files, whatever stands in them."""

import json
from pathlib import Path
from typing import Any

import yaml


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: no JSON, no UTF-8, or brackets in brackets beyond reason; what is wrong, in one line.
        OSError: it can not be opened.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("too many brackets in brackets") from None


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds; no objects are made of it.

    Raises:
        ValueError: no YAML, no UTF-8, or brackets in brackets beyond reason; what is wrong, in one line.
        OSError: it can not be opened.
    """
    return parse_yaml(Path(path).read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """What a YAML text holds; ValueError as `read_yaml`."""
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("too many brackets in brackets") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
