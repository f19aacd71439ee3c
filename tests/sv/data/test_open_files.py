"""Files that stay open: opened once by any number of threads, and their limit."""

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sv.data.open_files import OpenFiles, allow_open_files
from sv.errors import UserError


def test_a_file_is_opened_once_by_any_number_of_threads(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    files = OpenFiles(paths, lambda path: f"{path} does not exist")
    with ThreadPoolExecutor(8) as pool:
        fds = set(pool.map(lambda _: files.fd(1), range(64)))
    (fd,) = fds
    assert os.pread(fd, 9, 0) == b"b" and os.pread(files.fd(0), 9, 0) == b"a"


def test_a_missing_file_has_the_message_of_its_user(tmp_path: Path) -> None:
    files = OpenFiles([tmp_path / "none"], lambda path: f"{path} does not exist; make it again")
    with pytest.raises(UserError, match="none does not exist; make it again"):
        files.fd(0)


def test_the_soft_limit_is_raised_up_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        allow_open_files(200)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        allow_open_files(400)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
