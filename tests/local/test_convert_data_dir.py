"""Audio of any rate and number of channels, of a data dir or a folder, to what the features take."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.convert_data_dir import DirConversion
from sv.audio.files import read_wav
from sv.errors import UserError
from sv.io import DataDir, read_table

RATE = 44100


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def pitch(path: str) -> float:
    """Return the loudest frequency of a converted file, which must be 16 kHz mono."""
    waveform = read_wav(path, 16000)
    power = np.abs(np.fft.rfft(waveform))
    return float(power.argmax() * 16000 / len(waveform))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two stereo recordings of tones at 440 and 1000 Hz, and one of 8 kHz by a command."""
    folder = tmp_path / "data"
    wavs = {"ann-1": "a.wav", "ann-2": "b.flac"}
    for name in wavs.values():
        (folder / "old").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "old" / name, np.stack([tone(440), 0.5 * tone(1000)], axis=1), RATE)
    paths = {utt: str(folder / "old" / name) for utt, name in wavs.items()}
    DataDir.write(folder, {"wav.scp": paths, "utt2spk": dict.fromkeys(paths, "ann"), "spk2gender": {"ann": "f"}})
    (folder / "utt2dur").write_text("ann-1 0.5\nann-2 0.5\n")
    (folder / "trials").mkdir()
    (folder / "trials" / "O.kaldi").write_text("ann-1 ann-2 target\n")
    return folder


def convert(source: Path, dest: Path, jobs: int = 2, **options: object) -> int:
    """Do what the script does; return the number of jobs."""
    work = DirConversion(source=source, dest=dest, num_jobs=jobs, **options)  # type: ignore[arg-type]
    count = work.begin()
    for job in range(1, count + 1):
        work.run(job)
    if count:
        work.finish()
    return count


@pytest.mark.parametrize(("channel", "hertz"), [("mix", 440), ("1", 440), ("2", 1000)])
def test_a_data_dir_at_16_khz_of_one_channel(data: Path, tmp_path: Path, channel: str, hertz: float) -> None:
    new = tmp_path / "new"
    assert convert(data, new, channel=channel) == 2
    found = DataDir(new)
    assert found.utt2spk == {"ann-1": "ann", "ann-2": "ann"} and read_table(new / "spk2gender") == {"ann": "f"}
    assert [Path(path).name for path in found.wav_scp.values()] == ["ann-1.flac", "ann-2.flac"]
    assert [pitch(path) for path in found.wav_scp.values()] == pytest.approx([hertz, hertz], abs=2)
    assert soundfile.info(found.wav_scp["ann-1"]).frames == 8000
    assert (new / "trials" / "O.kaldi").is_file() and not (new / "utt2dur").exists()
    assert not (new / ".convert_audio").exists()
    assert convert(data, new, channel=channel) == 0  # is there already


def test_other_audio_gets_other_paths_so_that_its_features_are_made_anew(data: Path, tmp_path: Path) -> None:
    new, paths = tmp_path / "new", []
    other = {**read_table(data / "wav.scp"), "ann-1": str(data / "old" / "b.flac")}
    for options in ({"channel": "1"}, {"channel": "2"}, {"rate": 8000}, {"wavs": other}):
        if wavs := options.pop("wavs", None):
            DataDir.write(data, {"wav.scp": wavs})
        assert convert(data, new, **options) == 2
        paths.append(DataDir(new).wav_scp["ann-1"])
    assert len(set(paths)) == 4 and Path(paths[-1]).parent.parent == new / "audio"
    assert [path.name for path in (new / "audio").iterdir()] == [Path(paths[-1]).parent.name]  # the old is gone
    convert(data / "old", tmp_path / "tree")
    with pytest.raises(UserError, match="tree/audio has channel mix, not 2, and features of it would not be made anew"):
        convert(data / "old", tmp_path / "tree", channel="2")


def test_each_channel_becomes_an_utterance(data: Path, tmp_path: Path) -> None:
    convert(data, tmp_path / "new", channel="each", file_format="wav")
    found = DataDir(tmp_path / "new")
    assert list(found.wav_scp) == ["ann-1-ch1", "ann-1-ch2", "ann-2-ch1", "ann-2-ch2"]
    assert [pitch(path) for path in found.wav_scp.values()] == pytest.approx([440, 1000, 440, 1000], abs=2)
    assert set(found.utt2spk.values()) == {"ann"} and not (tmp_path / "new" / "trials").exists()


def test_segments_stay_and_their_recordings_are_converted(data: Path, tmp_path: Path) -> None:
    DataDir.write(data, {"utt2spk": {"ann-x": "ann"}, "segments": {"ann-x": "ann-2 0.1 0.4"}})
    convert(data, tmp_path / "new")
    assert DataDir(tmp_path / "new").segments == {"ann-x": ("ann-2", 0.1, 0.4)}
    with pytest.raises(UserError, match="has segments, which name no channel; give --channel 1, then 2"):
        convert(data, tmp_path / "other", channel="each")


def tree(folder: Path) -> list[str]:
    """Return the paths of all files and folders below a folder, from there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_of_audio_keeps_its_tree(data: Path, tmp_path: Path) -> None:
    (data / "old" / "._a.wav").write_text("what macOS leaves")
    (data / "links").mkdir()
    (data / "links" / "ann").symlink_to(data / "old")
    convert(data / "links", tmp_path / "new")
    assert tree(tmp_path / "new" / "audio") == ["ann", "ann/a.flac", "ann/b.flac"]
    shutil.copy(data / "old" / "a.wav", data / "old" / "b.wav")
    with pytest.raises(UserError, match=r"b\.wav and .*b\.flac would both be b\.flac; move one away"):
        convert(data / "old", tmp_path / "other")


def test_a_folder_loses_the_audio_of_recordings_that_are_gone(data: Path, tmp_path: Path) -> None:
    source, bob, audio = data / "old", data / "old" / "bob", tmp_path / "new" / "audio"
    convert(source, tmp_path / "new")
    (source / "b.flac").rename(source / "c.flac")
    bob.mkdir()
    shutil.copy(source / "a.wav", bob / "a.wav")
    (bob / "b.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"bob/b\.wav: cannot be read as audio"):
        convert(source, tmp_path / "new", 1)
    assert tree(audio) == ["a.flac", "bob", "bob/a.flac", "c.flac"]
    shutil.rmtree(bob)
    convert(source, tmp_path / "new")
    assert tree(audio) == ["a.flac", "c.flac"]


def test_commands_run_with_allow_pipes(data: Path, tmp_path: Path) -> None:
    spec = read_table(data / "wav.scp")["ann-1"]
    (data / "wav.scp").write_text(f"ann-1 cat {spec} |\nann-2 {spec}\n")
    with pytest.raises(UserError, match=r"ann-1: .* only with --allow-pipes true"):
        convert(data, tmp_path / "new")
    convert(data, tmp_path / "new", allow_pipes=True)
    one, other = (read_wav(path, 16000) for path in DataDir(tmp_path / "new").wav_scp.values())
    assert np.array_equal(one, other)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_file_is_named_and_the_rest_is_kept(data: Path, tmp_path: Path, jobs: int) -> None:
    (data / "old" / "b.flac").write_bytes(b"no audio")
    with pytest.raises(UserError, match=r"^ann-2: .*b\.flac: cannot be read as audio"):
        convert(data, tmp_path / "new", jobs)
    assert not (tmp_path / "new" / "wav.scp").exists()
    soundfile.write(data / "old" / "b.flac", tone(300), RATE)
    convert(data, tmp_path / "new", jobs)
    with pytest.raises(UserError, match="has 1 channel; --channel 2 is not one of them"):
        convert(data, tmp_path / "new", jobs, channel="2")


def test_wrong_calls(data: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"rate": 16}, "--sample-rate 16: expected a rate in Hz from 1000 to 384000, such as 16000"),
        ({"channel": "left"}, "--channel is mix, each or a number from 1, not 'left'"),
        ({"dest": data}, "is both source and destination; name another destination"),
        ({"source": data / "old", "dest": data / "old" / "new"}, "old/new/audio is in .*/old, which is the source"),
        ({"source": tmp_path / "none"}, "none is no data dir, and no folder of audio; check the path"),
    ):
        with pytest.raises(UserError, match=message):
            convert(**{"source": data, "dest": tmp_path / "new", **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_script_reads_m4a_by_ffmpeg(
    data: Path, tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    m4a = data / "old" / "a.m4a"
    subprocess.run(["ffmpeg", "-v", "error", "-i", data / "old" / "a.wav", "-c:a", "aac", m4a], check=True)
    (data / "wav.scp").write_text(f"ann-1 {m4a}\nann-2 {data}/old/b.flac\n")
    result = run("local/convert_audio.sh", "--nj", 2, "--channel", 2, data, tmp_path / "new")
    assert result.returncode == 0, result.stderr
    paths = DataDir(tmp_path / "new").wav_scp.values()
    assert [pitch(path) for path in paths] == pytest.approx([1000, 1000], abs=2)
    assert run("tools/validate_data_dir.sh", "--no-feats", tmp_path / "new").returncode == 0
    again = run("local/convert_audio.sh", "--nj", 2, "--channel", 2, data, tmp_path / "new")
    assert again.returncode == 0 and "is there already" in again.stderr
    wrong = run("local/convert_audio.sh", "--channel", 2, data)
    assert wrong.returncode == 2 and "--channel and --allow-pipes take <source-dir> <dest-dir>" in wrong.stderr
