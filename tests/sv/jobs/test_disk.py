import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.jobs.disk import check_free, format_bytes, nearest_folder

Usage = namedtuple("Usage", "total used free")


def test_formatted_sizes():
    assert (format_bytes(3.21e9), format_bytes(4.1e7)) == ("3.21 GB", "41 MB")


def test_folders_of_one_disk_share_what_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 5e9))
    check_free({tmp_path / "a": 3e9, tmp_path / "b": 2e9})
    check_free({tmp_path / "a": 7e9, tmp_path / "b": -2e9})
    with pytest.raises(UserError, match="a and 1 more on its disk: about 6 GB are needed, 5 GB are free"):
        check_free({tmp_path / "a": 3e9, tmp_path / "b": 3e9})


def test_each_disk_is_looked_at_alone(tmp_path, monkeypatch):
    other = Path("/dev/shm")
    if other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one disk")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1e9 if path == other else 5e9))
    check_free({tmp_path: 5e9, other / "not there": 1e9})
    with pytest.raises(UserError, match="not there: about 2 GB are needed, 1 GB are free"):
        check_free({tmp_path: 1e9, other / "not there": 2e9})


def test_the_nearest_folder_that_is_there(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert nearest_folder(tmp_path) == tmp_path
