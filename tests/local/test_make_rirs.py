"""Synthetic rooms in a list, which is made once."""

import pytest

from sv.data.noises import Clips
from tests.local.noise_files import RATE


@pytest.mark.slow
def test_made_up_rooms_are_read_and_made_once(call, tmp_path):
    call("make_rirs", "--count", 3, tmp_path / "rirs")
    rooms = Clips(tmp_path / "rirs", ("rir",), RATE)
    assert len(rooms.ids) == 3 and rooms.whole(0, 0.0).any()
    before = (tmp_path / "rirs/wav/0001.wav").stat().st_mtime_ns
    call("make_rirs", "--count", 3, tmp_path / "rirs")
    assert (tmp_path / "rirs/wav/0001.wav").stat().st_mtime_ns == before
