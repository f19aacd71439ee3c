"""steps/list_models.py: rows, an unknown name, and no torch."""

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from sv.models.catalog import table

Step = Callable[..., subprocess.CompletedProcess[str]]


def test_step_prints_the_rows_asked_for(step: Step) -> None:
    done = step("steps/list_models.py", "ReDimNet", "resnet_small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "| `ReDimNet` |  |  | 192 | ReDimNet's authors |",
        "| `resnet_small` | 0.24 | 0.13 | 128 |  |",
    ]
    rows = [json.loads(line) for line in step("steps/list_models.py", "--json", "ReDimNet", "XVEC").stdout.splitlines()]
    assert [(row["name"], row["parameters"]) for row in rows] == [("ReDimNet", None), ("XVEC", 4_610_524)]


def test_unknown_name_lists_the_known_ones(step: Step) -> None:
    done = step("steps/list_models.py", "ResNet35")
    assert done.returncode == 2 and "unknown model 'ResNet35'; did you mean 'ResNet34'" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_the_list_is_told_without_torch(run: Step) -> None:
    done = run("env", "PYTHONPROFILEIMPORTTIME=1", "steps/list_models.py")
    assert done.returncode == 0 and done.stdout.splitlines() == list(table([]))
    assert re.search(r"\| +pydantic$", done.stderr, re.MULTILINE) and not re.search(
        r"\| +torch$", done.stderr, re.MULTILINE
    )
