"""A damaged MP3 gets our one line, and none of libmpg123's."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.files import read_wav
from sv.audio.mute_mpg123 import MUTE_MPG123
from sv.errors import UserError


def test_a_damaged_mp3_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 64000), 16000)
    content = bytearray(path.read_bytes())
    for place in range(2000, len(content), 300):
        content[place : place + 40] = np.random.default_rng(place).bytes(40)
    path.write_bytes(content)
    with soundfile.SoundFile(path) as f:
        f.read()
    assert "Note: " in capfd.readouterr().err  # without us
    with pytest.raises(UserError, match="truncated"):
        read_wav(str(path), 16000)
    assert capfd.readouterr().err == ""


def test_other_lines_come_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with MUTE_MPG123, MUTE_MPG123:
        os.write(2, b"Note: Trying to resync...\n12:00 train.py: epoch 1\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "12:00 train.py: epoch 1\nafter\n"
