"""Bars are for terminals; jobs say in their logs how far they are, soon and then seldom."""

import time
from pathlib import Path

import pytest

from sv.io.progress import Tally, bar, byte_bar


def test_byte_bar_knows_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("12345")
    with byte_bar(tmp_path / "scores") as known, byte_bar(tmp_path / "none", "other") as other:
        assert (known.total, other.total) == (5, None)


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bar(range(3), "files")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_tally_speaks_after_one_second_then_two_and_four_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    caplog.set_level("INFO")
    tally = Tally(60)
    for _ in range(30):
        now += 1
        tally.add(2)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{count} of 60 are done" for count in (2, 6, 14, 30, 50, 60)]  # after 1, 3, 7, 15, 25 and 30 s
