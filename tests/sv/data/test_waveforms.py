"""Parts of waveforms from WAV and FLAC files, by wav.scp and by segments."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.data.waveforms import WavScpSource
from sv.errors import UserError
from sv.io import write_table

RATE = 16000


def make_dir(folder: Path, lengths: dict[str, int], suffix: str = ".wav", rate: int = RATE) -> Path:
    """Write a data dir of noise; an id is speaker, dash, number."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for utt, length in lengths.items():
        soundfile.write(folder / f"{utt}{suffix}", rng.uniform(-0.5, 0.5, length), rate, subtype="PCM_16")
    write_table(folder / "wav.scp", {utt: folder / f"{utt}{suffix}" for utt in lengths})
    write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in lengths})
    return folder


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_part_is_that_of_the_whole_file(tmp_path, suffix):
    source = WavScpSource(make_dir(tmp_path, {"b-1": 9000, "a-2": 5000, "a-1": 40000}, suffix))
    assert source.utts == ["a-1", "a-2", "b-1"]
    assert (source.speakers, source.speaker.tolist()) == (["a", "b"], [0, 0, 1])
    assert source.num_samples.tolist() == [40000, 5000, 9000]
    whole, _ = soundfile.read(tmp_path / f"a-1{suffix}", dtype="float32")
    part = source.read(0, 20123, 7000)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, whole[20123:27123])


def test_segments_are_parts_of_recordings(tmp_path):
    make_dir(tmp_path, {"a-rec": 3 * RATE})
    write_table(tmp_path / "segments", {"a-1": "a-rec 0.5 1.25", "a-2": "a-rec 2 3.3"})
    write_table(tmp_path / "utt2spk", {"a-1": "a", "a-2": "a"})
    source = WavScpSource(tmp_path)
    whole, _ = soundfile.read(tmp_path / "a-rec.wav", dtype="float32")
    assert source.num_samples.tolist() == [12000, 16000]  # the second one ends 0.3 s behind its recording
    np.testing.assert_array_equal(source.read(0, 100, 50), whole[8100:8150])
    write_table(tmp_path / "wav.scp", {"a-rec": f"sox -t wav {tmp_path}/a-rec.wav -t wav - speed 0.5 |"})
    write_table(tmp_path / "segments", {"a-1": "a-rec 1 2.5", "a-2": "a-rec 4 7"})
    assert WavScpSource(tmp_path).num_samples.tolist() == [24000, 32000]  # 1 s behind its recording: 0.5 s at speed 1
    write_table(tmp_path / "wav.scp", {"a-rec": tmp_path / "a-rec.wav"})
    write_table(tmp_path / "segments", {"a-1": "a-rec 0.5 1.25", "a-2": "a-rec 2 4"})
    with pytest.raises(
        UserError,
        match=r"a-2: .*a-rec.wav: samples 32000 to 64000 wanted, 48000 there; bring it back",
    ):
        WavScpSource(tmp_path)


def test_a_segment_is_never_longer_than_its_times_say(tmp_path):
    make_dir(tmp_path, {"a-rec": RATE + 5})
    write_table(tmp_path / "segments", {"a-1": "a-rec 0.5001 1.0003"})  # samples 8001.6 to 16004.8
    write_table(tmp_path / "utt2spk", {"a-1": "a"})
    assert WavScpSource(tmp_path).num_samples.tolist() == [8003]
    write_table(tmp_path / "utt2dur", {"a-1": "0.500250"})  # 8004 samples
    source = WavScpSource(tmp_path)
    assert source.num_samples.tolist() == [8003]
    assert len(source.read(0, 0, 8003)) == 8003


@pytest.mark.parametrize(("duration", "samples"), [("1.000125", 16002), ("1.0001", 16001), ("1.0", 15200), ("1", 8000)])
def test_durations_are_rounded_down_to_what_is_surely_there(tmp_path, duration, samples):
    make_dir(tmp_path, {"a-1": 16002})
    write_table(tmp_path / "utt2dur", {"a-1": duration})
    source = WavScpSource(tmp_path)
    assert source.num_samples.tolist() == [samples]
    assert len(source.read(0, 0, samples)) == samples


def test_bad_tables_and_files_are_named(tmp_path):
    folder = make_dir(tmp_path / "a", {"a-1": 900, "a-2": 900})
    write_table(folder / "utt2spk", {"a-1": "a"})
    with pytest.raises(UserError, match=r"wav.scp: a-2 is not in utt2spk; run tools/fix_data_dir.sh"):
        WavScpSource(folder)
    write_table(folder / "utt2spk", {"a-1": "a", "a-2": "a", "b-1": "b"})
    with pytest.raises(UserError, match=r"utt2spk: b-1 is not in wav.scp; run tools/fix_data_dir.sh"):
        WavScpSource(folder)
    write_table(folder / "utt2spk", {"a-1": "a"})
    write_table(folder / "wav.scp", {"a-1": "cat x.wav |"})
    with pytest.raises(UserError, match=r"wav.scp: a-1 is a command, which cannot be read in part"):
        WavScpSource(folder)
    write_table(folder / "wav.scp", {"a-1": folder / "none.wav"})
    with pytest.raises(UserError, match=r"a-1: .*none.wav does not exist"):
        WavScpSource(folder)
    with pytest.raises(UserError, match=r"a-1: .*8000 Hz, 16000 Hz expected"):
        WavScpSource(make_dir(tmp_path / "8k", {"a-1": 900}, rate=8000)).read(0, 0, 100)


def test_nan_in_a_waveform_is_named(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 900})
    samples = np.zeros(900, np.float32)
    samples[500] = np.nan
    soundfile.write(folder / "a-1.wav", samples, RATE, subtype="FLOAT")
    source = WavScpSource(folder)
    assert len(source.read(0, 0, 400)) == 400
    with pytest.raises(UserError, match=r"a-1: .*a-1.wav: NaN or infinite samples"):
        source.read(0, 400, 200)
