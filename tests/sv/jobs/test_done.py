"""Marks of finished work."""

import pytest

from sv.errors import UserError
from sv.jobs import DoneMark, claim_folder


@pytest.fixture
def work(tmp_path):
    (tmp_path / "in").write_text("input")
    (tmp_path / "out").write_text("output")
    mark = DoneMark(tmp_path / "marks" / ".done.x", {"nj": 4, "dither": 1.0}, (tmp_path / "in",))
    mark.write([tmp_path / "out"])
    return mark


def test_finished_work_is_not_stale(work):
    assert work.stale() == ""
    assert work.stale(verify=True) == ""


def test_other_options_make_it_stale(work):
    other = DoneMark(work.path, {"nj": 4, "dither": 0.0}, work.inputs)
    assert "options differ" in other.stale()


def test_changed_or_missing_input_makes_it_stale(work):
    work.inputs[0].write_text("another")
    assert "inputs have changed" in work.stale()
    work.inputs[0].unlink()
    assert "inputs have changed" in work.stale()


def test_output_is_watched_by_size_and_on_request_by_content(work, tmp_path):
    (tmp_path / "out").write_text("OUTPUT")
    assert work.stale() == ""
    assert "is damaged" in work.stale(verify=True)
    (tmp_path / "out").write_text("outp")
    assert "has 4 bytes instead of 6" in work.stale()
    (tmp_path / "out").unlink()
    assert "is missing" in work.stale()


def test_missing_or_damaged_mark(work):
    work.path.write_text("{")
    assert "damaged" in work.stale()
    work.path.unlink()
    assert work.stale() == "not made yet"


def test_the_shell_sees_the_same(step, tmp_path):
    (tmp_path / "out").write_text("output")
    mark = [tmp_path / ".done", "--options", "a b", "--outputs", tmp_path / "out"]
    assert step("tools/done.py", "check", *mark).returncode == 3
    assert step("tools/done.py", "write", *mark).returncode == 0
    assert step("tools/done.py", "check", *mark).returncode == 0
    (tmp_path / "out").unlink()
    result = step("tools/done.py", "check", *mark)
    assert result.returncode == 3
    assert "out is missing" in result.stderr


def test_folder_that_was_renamed_is_finished_work(work, tmp_path):
    (tmp_path / "moved").mkdir()
    for name in ("in", "out", "marks"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = tmp_path / "moved"
    assert DoneMark(moved / "marks" / ".done.x", work.options, (moved / "in",)).stale(verify=True) == ""
    assert DoneMark.recorded(moved / "marks" / ".done.x").stale() == ""
    (moved / "in").write_text("another")
    assert "inputs have changed" in DoneMark.recorded(moved / "marks" / ".done.x").stale()


def test_copied_data_dir_owns_its_own_folder(tmp_path):
    for name in ("one", "copy"):
        (tmp_path / name / "fbank").mkdir(parents=True)
        (tmp_path / name / ".done").touch()
    claim_folder(tmp_path / "one" / "fbank", "fbank archives", ".owner", tmp_path / "one" / ".done")
    (tmp_path / "copy" / "fbank" / ".owner").write_bytes((tmp_path / "one" / "fbank" / ".owner").read_bytes())
    claim_folder(tmp_path / "copy" / "fbank", "fbank archives", ".owner", tmp_path / "copy" / ".done")
    with pytest.raises(UserError, match=f"fbank archives of {tmp_path}/one; give {tmp_path}/copy a folder"):
        claim_folder(tmp_path / "one" / "fbank", "fbank archives", ".owner", tmp_path / "copy" / ".done")
