"""bench/training.py with its smallest sizes, on the CPU."""

import json
import re
import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_every_row_trains_and_the_first_is_the_reference(run: Run) -> None:
    done = run("python3", "bench/training.py", "--quick", "--num-workers", 1, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    lines, _, table = done.stdout.partition("\n\n")
    figures = [json.loads(line) for line in lines.splitlines()]
    assert [figure["case"].partition(",")[0] for figure in figures] == ["arks"] * 4 + ["online"]
    assert figures[0]["ratio"] == 1 and all(figure["ratio"] > 0 and 0 <= figure["wait"] <= 1 for figure in figures)
    rows = re.findall(r"\| (\S.*?) \| (\d+) \| (\d+\.\d\d) \| (\d+\.\d) % \|", table)
    assert [name for name, *_ in rows] == [figure["case"] for figure in figures]
