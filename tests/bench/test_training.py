"""bench/training.py with its smallest sizes, on the CPU."""

import re
import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_every_row_trains_and_the_first_is_the_reference(run: Run) -> None:
    done = run("python3", "bench/training.py", "--quick", "--num-workers", 1, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    rows = re.findall(r"\| (\S.*?) \| (\d+) \| (\d+\.\d\d) \| (\d+\.\d) % \|", done.stdout)
    assert [name.partition(",")[0] for name, *_ in rows] == ["arks"] * 4 + ["online"]
    assert rows[0][2] == "1.00" and all(float(ratio) > 0 and float(wait) <= 100 for *_, ratio, wait in rows)
