"""Bad utterances: counted once, listed, and too many of them."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.jobs.bad_utts import BadUtts, read_bad_utts


def test_each_is_told_once_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = BadUtts(10, 0.2, "left out")
    bad.write(tmp_path / "bad_utts")
    assert read_bad_utts(tmp_path / "bad_utts") == {}
    bad.add({"b": "b is\ntruncated"})
    bad.add({"b": "b is\ntruncated", "a": "a is empty"})
    assert caplog.text.count("cannot be read, and is left out: b is") == 1
    bad.write(tmp_path / "bad_utts")
    assert read_bad_utts(tmp_path / "bad_utts") == {"a": "a is empty", "b": "b is truncated"}
    with pytest.raises(
        UserError, match=r"3 of 10 utterances cannot be read, more than max_bad_share 0\.2 allows; .*: c$"
    ):
        bad.add({"c": "c"})
