"""Utterances of a data dir, whole and as segments."""

from pathlib import Path

import numpy as np
import pytest

from sv.audio.files import read_wav
from sv.audio.utterances import Utterances
from sv.errors import UserError
from sv.io import DataDir
from tests.sv.audio.test_files import RATE, tone, write


@pytest.fixture
def segmented(tmp_path: Path) -> DataDir:
    path = write(tmp_path / "a.wav", tone(16000) * np.linspace(0, 1, 16000, dtype=np.float32))
    (tmp_path / "wav.scp").write_text(f"r1 {path}\nr2 sox -t wav {path} -t wav - speed 0.9 |\n")
    lines = ["u1 r1 0.1 0.35", "u2 r1 0.5 1.2", "u3 r2 0.5 1.0", "u4 r1 0.5 1.6", "u5 r3 0 1", "u6 r1 1.1 1.2"]
    (tmp_path / "segments").write_text("\n".join(lines) + "\n")
    return DataDir(tmp_path)


def test_segments_are_parts_of_recordings(segmented: DataDir) -> None:
    utterances = Utterances(segmented, RATE)
    whole = read_wav(segmented.wav_scp["r1"], RATE)
    assert utterances.ids == ["u1", "u2", "u3", "u4", "u5", "u6"]
    assert np.array_equal(utterances.read("u1"), whole[1600:5600])
    assert np.array_equal(utterances.read("u2"), whole[8000:])  # ends 0.2 s too late
    assert np.array_equal(utterances.read("u3"), read_wav(segmented.wav_scp["r2"], RATE)[8000:16000])


def test_the_duration_of_a_segment_is_that_of_what_is_read(segmented: DataDir) -> None:
    utterances = Utterances(segmented, RATE)
    for utt in ("u1", "u2", "u3"):
        assert utterances.duration(utt) == len(utterances.read(utt)) / RATE


def test_segments_that_do_not_fit_name_the_utterance(segmented: DataDir) -> None:
    utterances = Utterances(segmented, RATE)
    with pytest.raises(
        UserError,
        match=r"u4: .*samples 8000 to 25600 wanted, 16000 there; bring it back",
    ):
        utterances.read("u4")
    with pytest.raises(UserError, match=r"u5: recording r3 is not in .*wav\.scp"):
        utterances.read("u5")
    with pytest.raises(UserError, match=r"u6: .*samples 17600 to 19200 wanted, 16000 there"):
        utterances.read("u6")
