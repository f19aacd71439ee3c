"""bench/long_lists.py on a short list: each step runs, on the same trials."""

from pathlib import Path

import pytest

from bench import long_lists


@pytest.mark.slow
def test_each_step_leaves_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "UTTS", 100)
    monkeypatch.setattr(long_lists, "SPEAKERS", 20)
    monkeypatch.setattr(long_lists, "MOST", 500)
    long_lists.make_lists(tmp_path, 1_000)
    found = long_lists.steps_of(tmp_path)
    assert all(seconds > 0 and mib > 10 for seconds, mib in found.values()) and len(found) == 6
    trials = (tmp_path / "data" / long_lists.NAME).read_text().splitlines()
    assert len(trials) == 1_000 and trials[:500] == trials[500:]
    assert sum(line.endswith(" target") for line in trials) >= 10
    fused = (tmp_path / "fused.score").read_text().splitlines()
    assert [line.split()[:2] for line in fused] == [line.split()[:2] for line in trials]
