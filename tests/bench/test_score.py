"""bench/score.py where pyarrow, the floor of its readers, is not installed."""

import json
import sys

import pytest

from bench import score


def test_readers_are_measured_without_a_floor_if_pyarrow_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(score, "best_seconds", lambda *functions, clock: [1.0 for run in functions if run()])
    score.bench_reading(200, 50)
    shown = capsys.readouterr()
    assert ["floor_ratio" in json.loads(line) for line in shown.out.splitlines()] == 3 * [False]
    assert shown.err == "score.py: no floor of the readers: pip install pyarrow\n"
