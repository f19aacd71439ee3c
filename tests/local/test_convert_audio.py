import fcntl
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from local.convert_audio import Conversion, missing_files
from sv.errors import UserError
from sv.jobs.lock import process_start


@pytest.fixture(scope="module")
def m4a(tmp_path_factory):
    """A second of a tone at 44.1 kHz, stereo, as m4a with its index in front (so that a part of it can be read)."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    path = tmp_path_factory.mktemp("m4a") / "tone.m4a"
    source = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=1", "-ac", "2"]
    command = ["ffmpeg", "-nostdin", "-v", "error", *source, "-c:a", "aac", "-movflags", "+faststart", path]
    subprocess.run(command, check=True)
    return path.read_bytes()


@pytest.fixture
def corpus(tmp_path, m4a):
    root = tmp_path / "vox2"
    for utt in ("id00012/abc/00001", "id00012/abc/00002", "id00015/-x y/00001"):
        path = root / "dev" / "aac" / f"{utt}.m4a"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(m4a)
    return root


def files(root, ending):
    return sorted(str(path.relative_to(root)) for path in root.rglob(f"*.{ending}"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_the_tree_is_kept_and_the_audio_is_16_khz_mono(corpus, run, ending):
    result = run("local/convert_audio.sh", "--nj", 2, "--format", ending, corpus)
    assert result.returncode == 0, result.stderr
    assert files(corpus, ending) == [name.replace("aac", ending, 1)[:-3] + ending for name in files(corpus, "m4a")]
    samples, rate = soundfile.read(corpus / "dev" / ending / "id00012" / "abc" / f"00001.{ending}")
    assert rate == 16000 and samples.ndim == 1 and abs(len(samples) - 16000) < 2000
    power = np.square(np.abs(np.fft.rfft(samples)))
    assert power.argmax() * rate / len(samples) == pytest.approx(440, abs=2)
    assert "PCM_16" in soundfile.info(corpus / "dev" / ending / "id00012" / "abc" / f"00001.{ending}").subtype
    assert not (corpus / ".convert_audio").exists()


@pytest.mark.slow
def test_a_folder_of_the_users_own_is_left_alone(corpus, run):
    own = corpus / "convert" / "my_script.sh"
    own.parent.mkdir()
    own.write_text("mine\n")
    result = run("local/convert_audio.sh", corpus)
    assert result.returncode == 0, result.stderr
    assert own.read_text() == "mine\n"


@pytest.mark.slow
def test_what_is_there_is_kept_and_the_rest_is_made(corpus, run):
    assert run("local/convert_audio.sh", corpus).returncode == 0
    first, second = sorted((corpus / "dev" / "flac" / "id00012").rglob("*.flac"))
    first.unlink()
    second.write_bytes(b"kept")
    (first.parent / ".00001.flac.77.tmp").write_bytes(b"of a killed job")
    again = run("local/convert_audio.sh", corpus)
    assert again.returncode == 0 and "1 file to convert" in again.stderr
    assert soundfile.info(first).frames > 0 and second.read_bytes() == b"kept"
    assert "no m4a left to convert" in run("local/convert_audio.sh", corpus).stderr


@pytest.mark.slow
def test_another_folder(corpus, tmp_path, run):
    result = run("local/convert_audio.sh", "--out-dir", tmp_path / "out", corpus)
    assert result.returncode == 0, result.stderr
    assert len(files(tmp_path / "out" / "dev" / "flac", "flac")) == 3 and not files(corpus, "flac")
    assert "no m4a left" in run("local/convert_audio.sh", "--out-dir", tmp_path / "out", corpus).stderr


@pytest.mark.slow
def test_a_truncated_file_fails_the_script_and_is_named(corpus, m4a, run):
    bad = corpus / "dev" / "aac" / "id00015" / "-x y" / "00001.m4a"
    bad.write_bytes(m4a[: len(m4a) * 2 // 3])
    result = run("local/convert_audio.sh", "--nj", 1, corpus)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("convert_audio.py: error: 1 file could not be converted") and str(bad) in last
    assert (corpus / ".convert_audio" / "failed").read_text().startswith(f"{bad}: ffmpeg: ")
    assert len(files(corpus, "flac")) == 2  # the others are done
    assert not list(corpus.rglob("*.tmp"))


@pytest.mark.slow
def test_without_ffmpeg(corpus, tmp_path, root):
    command = [sys.executable, "local/convert_audio.py", "begin", corpus, corpus]
    env = {"PATH": str(tmp_path), "PYTHONPATH": str(root)}
    result = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "no ffmpeg" in result.stderr and "type: sudo apt-get install ffmpeg" in result.stderr
    assert not (corpus / ".convert_audio").exists()


def test_nothing_to_convert_needs_no_ffmpeg(tmp_path, run):
    (tmp_path / "dev" / "wav" / "id00012" / "abc").mkdir(parents=True)
    (tmp_path / "dev" / "wav" / "id00012" / "abc" / "00001.wav").touch()
    result = run("local/convert_audio.sh", tmp_path)
    assert result.returncode == 0 and not (tmp_path / ".convert_audio").exists()


def test_a_second_run_is_refused(tmp_path, run):
    (tmp_path / "vox2" / "dev" / "aac" / "id00012" / "abc").mkdir(parents=True)
    (tmp_path / "vox2" / "dev" / "aac" / "id00012" / "abc" / "00001.m4a").touch()
    with open(tmp_path / "vox2" / ".convert_audio.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(f"{os.uname().nodename} {os.getpid()} {process_start(os.getpid())} now now test", file=lock, flush=True)
        result = run("local/convert_audio.sh", tmp_path / "vox2")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert f"{tmp_path}/vox2 is being filled by process {os.getpid()} on" in result.stderr


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    """It stands for a corpus on a read-only disk: root, which may run the tests, writes to any other folder."""
    monkeypatch.setattr("shutil.which", lambda name: name)
    (tmp_path / "file").touch()
    remedy = r"\(Not a directory\); give another folder with --out-dir \(of a recipe: --audio-dir\)"
    with pytest.raises(UserError, match=f"{tmp_path}/file/vox2 cannot be written to {remedy}"):
        Conversion(corpus=tmp_path, out=tmp_path / "file" / "vox2").check()


def test_missing_corpus(tmp_path, run):
    result = run("local/convert_audio.sh", tmp_path / "nowhere")
    assert result.returncode == 1 and "nowhere does not exist" in result.stderr
    result = run("local/convert_audio.sh", tmp_path / "nowhere", tmp_path / "new")
    assert result.returncode == 1 and "nowhere is no data dir, and no folder of audio" in result.stderr
    assert not (tmp_path / "new").exists()


def test_usage(run):
    assert run("local/convert_audio.sh").returncode == 2
    result = run("local/convert_audio.sh", "--formt", "wav", "x")
    assert result.returncode == 2 and "--format" in result.stderr


def test_the_unused_test_part_is_not_converted(tmp_path):
    for part in ("dev", "test"):
        path = tmp_path / part / "aac" / "id00012" / "fffffffffff" / "00001.m4a"
        path.parent.mkdir(parents=True)
        path.touch()
    sources = [source for source, _ in missing_files(tmp_path, tmp_path, "flac")]
    assert sources == [str(tmp_path / "dev/aac/id00012/fffffffffff/00001.m4a")]
