"""One process at a time in a folder."""

import os

import pytest

from sv.errors import UserError
from sv.training.lock import folder_lock


def test_the_second_is_told_who_holds_it_and_gets_it_afterwards(tmp_path):
    with folder_lock(tmp_path / "exp", "trained"):
        with (
            pytest.raises(UserError, match=rf"exp is being trained by process {os.getpid()} on .* since 20"),
            folder_lock(tmp_path / "exp", "trained"),
        ):
            pass
        assert str(os.getpid()) in (tmp_path / "exp" / ".lock").read_text()
    with folder_lock(tmp_path / "exp", "trained"):
        pass
