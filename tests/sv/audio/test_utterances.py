"""Utterances of a data dir: segments are parts of recordings, and last as long."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.files import read_wav
from sv.audio.utterances import Utterances, estimate_hours
from sv.errors import UserError
from sv.io import DataDir

RATE = 16000


@pytest.fixture
def segmented(tmp_path: Path) -> DataDir:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.linspace(0, 0.3, 16000) * np.sin(np.arange(16000) / 13), RATE, subtype="PCM_16")
    (tmp_path / "wav.scp").write_text(f"r1 {path}\nr2 sox -t wav {path} -t wav - speed 0.9 |\n")
    lines = ["u1 r1 0.1 0.35", "u2 r1 0.5 1.2", "u3 r2 0.5 1.0", "u4 r1 0.5 1.6", "u5 r3 0 1", "u6 r1 1.1 1.2"]
    lines += ["u7 r2 0.5 1.666667", "u8 r2 0.5 1.667"]  # the copy lasts 1.11 s, and 0.5 s are 0.5556 s
    (tmp_path / "segments").write_text("\n".join(lines) + "\n")
    return DataDir(tmp_path)


def test_segments_are_parts_of_recordings(segmented: DataDir) -> None:
    utterances = Utterances(segmented, RATE)
    whole = read_wav(segmented.wav_scp["r1"], RATE)
    assert utterances.ids == ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"]
    assert np.array_equal(utterances.read("u1"), whole[1600:5600])
    assert np.array_equal(utterances.read("u2"), whole[8000:])  # ends 0.2 s too late
    assert np.array_equal(utterances.read("u3"), read_wav(segmented.wav_scp["r2"], RATE)[8000:16000])
    assert np.array_equal(utterances.read("u7"), read_wav(segmented.wav_scp["r2"], RATE)[8000:])


def test_the_duration_of_a_segment_is_that_of_what_is_read(segmented: DataDir) -> None:
    utterances = Utterances(segmented, RATE)
    for utt in ("u1", "u2", "u3", "u7"):
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
    with pytest.raises(UserError, match=r"u8: .*samples 8000 to 26672 wanted, 17778 there"):
        utterances.read("u8")


def test_hours_are_estimated_from_durations_or_from_headers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE // 2), RATE)
    (tmp_path / "wav.scp").write_text("".join(f"u{n:02} {tmp_path}/a.wav\n" for n in range(10)) + "u99 gone.wav\n")
    assert estimate_hours(tmp_path, RATE, sample=4) == pytest.approx(11 * 0.5 / 3600)
    (tmp_path / "wav.scp").write_text("u1 cat a.wav |\n")
    assert estimate_hours(tmp_path, RATE) == 0
    (tmp_path / "utt2dur").write_text("u1 7200\n")
    assert estimate_hours(tmp_path, RATE) == 2
