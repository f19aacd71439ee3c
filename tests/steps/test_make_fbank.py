"""steps/make_fbank.sh: the features, any nj, made again when out of date, bad input, and killed at any moment."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest
import soundfile
import torch
import yaml

from steps import make_fbank
from sv.audio.features import Fbank, dither_noise
from sv.audio.files import read_wav
from sv.config import FbankConfig
from sv.errors import UserError
from sv.io import read_matrix, read_table, sha256_of, write_table

Run = Callable[..., subprocess.CompletedProcess[str]]
Step = Callable[..., None]

RATE = 16000


def make_data(data: Path, count: int = 7, seconds: float = 0.5) -> Path:
    """WAV and FLAC files of noise of several lengths, and a speed copy of the first."""
    wavs = {}
    rng = np.random.default_rng(0)
    data.mkdir(parents=True)
    for index in range(count):
        path = data / f"audio {index}.{'wav' if index % 2 else 'flac'}"
        soundfile.write(path, rng.normal(0, 0.1, int(RATE * (seconds + 0.1 * (index % 5)))).astype(np.float32), RATE)
        wavs[f"spk{index % 2}/{index:04d}.wav"] = str(path)
    wavs["sp0.9-spk0/0000.wav"] = f"sox -t flac '{wavs['spk0/0000.wav']}' -t wav - speed 0.9 |"
    write_tables(data, wavs)
    return data


def write_tables(data: Path, wavs: dict[str, str]) -> None:
    write_table(data / "wav.scp", wavs)
    utt2spk = {utt: utt.split("/")[0] for utt in wavs}
    write_table(data / "utt2spk", utt2spk)
    spks = sorted(set(utt2spk.values()))
    write_table(data / "spk2utt", {spk: " ".join(sorted(u for u in wavs if utt2spk[u] == spk)) for spk in spks})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


@pytest.fixture
def step(root: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """steps/make_fbank.py within this process: begin, part and join as make_fbank.sh calls them."""
    spec = importlib.util.spec_from_file_location("make_fbank", root / "steps" / "make_fbank.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(data: Path, nj: int = 2, *options: object, actions: str = "begin part join") -> None:
        words = [str(data), str(data / "fbank"), "--num-parts", str(nj), *map(str, options)]
        for action in actions.split():
            for part in range(1, nj + 1) if action == "part" else [1]:
                monkeypatch.setattr(sys, "argv", ["make_fbank.py", action, *words, "--part", str(part)])
                module.main()

    return call


def arks(data: Path) -> bytes:
    """The archives one behind the other."""
    paths = sorted((data / "fbank").glob("fbank.*.ark"), key=lambda path: int(path.name.split(".")[1]))
    return b"".join(path.read_bytes() for path in paths)


def snapshot(data: Path) -> dict[str, str]:
    """Checksums of all that a user reads."""
    names = ["feats.scp", "utt2num_frames", "utt2dur", "fbank.yaml"]
    paths = [*(data / name for name in names), *(data / "fbank").glob("fbank.*")]
    return {path.name: sha256_of(path) for path in paths}


def expected(utt: str, spec: str, dither: bool) -> np.ndarray:
    waveform = torch.from_numpy(read_wav(spec, RATE))[None]
    noise = dither_noise(utt, waveform.shape[1])[None] if dither else None
    return Fbank(FbankConfig())(waveform, noise)[0].numpy()


@pytest.mark.slow
def test_features_tables_and_a_second_run(run: Run, data: Path, tmp_path: Path) -> None:
    result = run("steps/make_fbank.sh", "--nj", 3, "--dither", "true", data, tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    wavs, feats = read_table(data / "wav.scp"), read_table(data / "feats.scp")
    assert list(feats) == list(wavs)
    by_kaldiio = kaldiio.load_scp(str(data / "feats.scp"))
    for utt, spec in wavs.items():
        fbank, matrix = expected(utt, spec, dither=True), read_matrix(feats[utt])
        assert np.abs(matrix - fbank).max() < 1e-3  # of two bytes a value
        assert np.allclose(by_kaldiio[utt], matrix, atol=1e-5, rtol=0)
    with kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{data / 'feats.scp'}") as reader:
        for utt in wavs:
            assert np.allclose(reader[utt], by_kaldiio[utt], atol=1e-5, rtol=0)
    frames = {utt: str(len(by_kaldiio[utt])) for utt in wavs}
    assert read_table(data / "utt2num_frames") == frames
    assert read_table(data / "utt2dur") == {utt: f"{len(read_wav(wavs[utt], RATE)) / RATE:.6f}" for utt in wavs}
    assert yaml.safe_load((data / "fbank.yaml").read_text()) == FbankConfig().model_dump()
    assert not list((tmp_path / "arks").glob("*.tmp"))

    before = (data / "feats.scp").stat().st_mtime_ns
    result = run("steps/make_fbank.sh", "--nj", 2, "--dither", "true", data, tmp_path / "arks")
    assert result.returncode == 0 and "is there already" in result.stderr
    assert (data / "feats.scp").stat().st_mtime_ns == before


@pytest.mark.parametrize("dither", ["true", "false"])
def test_any_nj_gives_the_same_archives(step: Step, tmp_path: Path, dither: str) -> None:
    contents, tables = set(), set()
    data = make_data(tmp_path / "data")
    for nj in (1, 2, 5, 8):
        for path in (data / "fbank").glob("*"):
            path.unlink()
        (data / ".done.fbank").unlink(missing_ok=True)
        step(data, nj, "--dither", dither)
        contents.add(arks(data))
        tables.add((data / "utt2dur").read_text() + (data / "utt2num_frames").read_text())
    assert len(contents) == len(tables) == 1


def test_no_dither_unless_asked_for(step: Step, data: Path) -> None:
    step(data)
    assert yaml.safe_load((data / "fbank.yaml").read_text())["dither"] == 0.0
    utt, location = next(iter(read_table(data / "feats.scp").items()))
    assert np.abs(read_matrix(location) - expected(utt, read_table(data / "wav.scp")[utt], dither=False)).max() < 1e-3


def test_complete_features_are_made_again_only_when_out_of_date(
    step: Step, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def parts_to_run(nj: int = 2, *options: object) -> str:
        capsys.readouterr()
        step(data, nj, *options, actions="begin")
        return capsys.readouterr().out.strip()

    step(data)
    first = snapshot(data)
    assert parts_to_run() == parts_to_run(5) == parts_to_run(2, "--verify", "true") == "0"
    assert snapshot(data) == first

    config = tmp_path / "povey.yaml"
    config.write_text("dataset_args: {fbank_args: {window: povey}}\n")
    assert parts_to_run(2, "--config", config) == "2"
    assert not (data / "feats.scp").exists()  # no old tables beside new archives
    assert not list((data / "fbank").glob("fbank.*"))
    step(data, 2, "--config", config)
    assert yaml.safe_load((data / "fbank.yaml").read_text())["window"] == "povey"
    assert snapshot(data)["fbank.1.ark"] != first["fbank.1.ark"]

    step(data)
    assert snapshot(data) == first
    wavs = read_table(data / "wav.scp")
    wavs["spk1/0001.wav"], wavs["spk1/0003.wav"] = wavs["spk1/0003.wav"], wavs["spk1/0001.wav"]
    write_tables(data, wavs)
    assert parts_to_run() == "2"
    assert (data / "fbank" / "fbank.1.ark").exists()  # the part that has neither
    step(data)
    assert snapshot(data)["fbank.2.ark"] != first["fbank.2.ark"]


def test_a_damaged_archive_is_made_again(step: Step, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step(data)
    first = snapshot(data)
    ark = data / "fbank" / "fbank.2.ark"
    with open(ark, "r+b") as f:
        f.truncate(ark.stat().st_size - 1)
    step(data)
    assert snapshot(data) == first
    with open(ark, "r+b") as f:
        f.seek(100)
        f.write(b"\xff\xff")
    step(data, 2, "--verify", "true")
    assert snapshot(data) == first


def test_foreign_features_are_kept_aside(step: Step, data: Path) -> None:
    (data / "feats.scp").write_text("spk0/0000.wav elsewhere.ark:5\n")
    step(data)
    assert (data / ".backup" / "feats.scp").read_text() == "spk0/0000.wav elsewhere.ark:5\n"
    assert len(read_table(data / "feats.scp")) == 8


def test_old_parts_and_what_a_killed_job_left_are_removed(step: Step, data: Path) -> None:
    step(data, 5)
    (data / "fbank" / ".fbank.1.ark.12345.tmp").write_bytes(b"half")
    (data / "fbank" / "notes.txt").write_text("mine")
    (data / "feats.scp").unlink()
    step(data, 2)
    names = {path.name for path in (data / "fbank").iterdir()}
    kinds = ("ark", "scp", "utt2num_frames", "utt2dur")
    parts = {f"fbank.{part}.{kind}" for part in (1, 2) for kind in kinds} | {
        ".done.fbank.1",
        ".done.fbank.2",
        ".owner.fbank",
    }
    assert names == parts | {"notes.txt"}


def test_segments(step: Step, data: Path) -> None:
    wavs = read_table(data / "wav.scp")
    (data / "segments").write_text(
        "spk0/a spk0/0000.wav 0.1 0.3\nspk0/b sp0.9-spk0/0000.wav 0.05 0.4\nspk1/c spk1/0001.wav 0.2 0.9\n"
    )
    step(data)
    feats = read_table(data / "feats.scp")
    assert list(feats) == ["spk0/a", "spk0/b", "spk1/c"]
    assert read_table(data / "utt2dur") == {"spk0/a": "0.200000", "spk0/b": "0.350000", "spk1/c": "0.400000"}
    fbank = Fbank(FbankConfig())
    waveform = read_wav(wavs["sp0.9-spk0/0000.wav"], RATE)[800:6400]
    assert np.abs(read_matrix(feats["spk0/b"]) - fbank(torch.from_numpy(waveform)[None])[0].numpy()).max() < 1e-3


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (399, r"spk1/0003\.wav: 0\.0249 s are less than one frame of 25 ms; remove it from .*wav\.scp and run tools/"),
        (0, r"spk1/0003\.wav: .*audio 3\.wav: no samples"),
    ],
)
def test_too_short_utterance_is_named(step: Step, data: Path, samples: int, message: str) -> None:
    soundfile.write(data / "audio 3.wav", np.zeros(samples, dtype=np.float32), RATE)
    with pytest.raises(UserError, match=message):
        step(data)
    assert not (data / "feats.scp").exists()
    assert not (data / "fbank" / "fbank.2.ark").exists()


def test_samples_too_large_for_features_are_named(step: Step, data: Path) -> None:
    wavs = read_table(data / "wav.scp") | {"spk1/0001.wav": str(data / "loud.wav")}
    soundfile.write(
        data / "loud.wav", np.full(8000, 1e30, np.float32) * np.sign(np.sin(np.arange(8000))), RATE, "FLOAT"
    )
    write_table(data / "wav.scp", wavs)
    with pytest.raises(UserError, match=r"spk1/0001\.wav: NaN or infinite values"):
        step(data)


def test_several_bad_utterances_are_all_named(step: Step, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "audio 2.flac").unlink()
    (data / "audio 4.flac").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 8 utterances failed, .*first: spk0/0002\.wav: .*audio 2\.flac does"):
        step(data, 1)
    assert "spk0/0004.wav" in caplog.text and "audio 4.flac: empty file" in caplog.text


def test_commands_are_refused_unless_allowed(step: Step, data: Path) -> None:
    wavs = read_table(data / "wav.scp")
    path = wavs["spk1/0001.wav"]
    write_table(data / "wav.scp", wavs | {"spk1/0001.wav": f"cat '{path}' |"})
    with pytest.raises(UserError, match=r"spk1/0001\.wav: cat .* only with --allow-pipes true"):
        step(data)
    step(data, 2, "--allow-pipes", "true")
    matrix = read_matrix(read_table(data / "feats.scp")["spk1/0001.wav"])
    assert np.abs(matrix - expected("", path, dither=False)).max() < 1e-3


def test_full_disk_is_seen_before_anything_is_written(step: Step, data: Path) -> None:
    write_table(data / "utt2dur", dict.fromkeys(read_table(data / "wav.scp"), 1e10))
    with pytest.raises(UserError, match=r"fbank: about 1\.28e\+06 GB are needed, .* GB are free; free some"):
        step(data)
    assert not list((data / "fbank").glob("fbank.*"))


def test_a_full_disk_leaves_the_features_that_are_there(step: Step, data: Path) -> None:
    step(data)
    before = (data / "feats.scp").read_text()
    write_table(data / "utt2dur", dict.fromkeys(read_table(data / "wav.scp"), 1e10))
    with pytest.raises(UserError, match="GB are free"):
        step(data, 2, "--dither", "true")
    assert (data / "feats.scp").read_text() == before
    assert len(list((data / "fbank").glob("fbank.*.ark"))) == 2


def test_join_refuses_a_missing_part(step: Step, data: Path) -> None:
    step(data, actions="begin part")
    (data / "fbank" / "fbank.2.utt2dur").unlink()
    with pytest.raises(UserError, match=r"part 2 of 2 .*fbank\.2\.utt2dur is missing; run the same command again"):
        step(data, actions="join")
    assert not (data / "feats.scp").exists()


@pytest.mark.parametrize("kept", [0.2, 0.95])
@pytest.mark.slow
def test_truncated_audio_fails_the_recipe_in_one_line(run: Run, data: Path, kept: float) -> None:
    path = data / "audio 3.wav"
    with open(path, "r+b") as f:
        f.truncate(int(kept * path.stat().st_size))
    result = run("steps/make_fbank.sh", "--nj", 2, data)
    assert result.returncode != 0
    assert "spk1/0003.wav" in result.stderr and "audio 3.wav: truncated" in result.stderr
    assert "make_fbank.2.log" in result.stderr and "Traceback" not in result.stderr
    assert not (data / "feats.scp").exists()


def test_usage(run: Run) -> None:
    result = run("steps/make_fbank.sh")
    assert result.returncode == 2 and "Usage: steps/make_fbank.sh" in result.stderr
    result = run("steps/make_fbank.sh", "--njj", 3, "data")
    assert result.returncode == 2 and "--nj" in result.stderr


def end_session(leader: int) -> None:
    """SIGKILL for every process that the command started, whatever group it is in."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == leader:  # session id
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.slow
def test_killed_anywhere_and_run_again_it_ends_the_same(root: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=40, seconds=10)
    script = f'cd "{root}" && . ./path.sh && exec steps/make_fbank.sh --nj 2 --cmd "run.pl --max-jobs-run 1" "$0"'
    command = ["bash", "-c", script, str(data)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    whole = snapshot(data)
    for path in [data / "feats.scp", *data.glob(".done*"), *data.glob("fbank/[.f]*"), *data.glob("fbank/log/*")]:
        path.unlink()
    signs = [".fbank.1.ark.*.tmp", ".done.fbank.1", ".fbank.2.scp.*.tmp"]
    for sign in signs:  # each run goes a little further than the one before
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not list((data / "fbank").glob(sign)):
            time.sleep(0.002)
        assert process.poll() is None, f"ended before {sign} was seen"
        end_session(process.pid)
        process.wait()
        assert not (data / "feats.scp").exists()
        for log in (data / "fbank" / "log").iterdir():
            log.unlink()
    kept = (data / "fbank" / "fbank.1.ark").stat().st_mtime_ns
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert snapshot(data) == whole
    assert (data / "fbank" / "fbank.1.ark").stat().st_mtime_ns == kept  # the part that was whole


@pytest.mark.slow
def test_an_ark_folder_serves_one_data_dir(run: Run, data: Path, tmp_path: Path) -> None:
    other = make_data(tmp_path / "other", count=3)
    assert run("steps/make_fbank.sh", "--nj", 1, data, tmp_path / "arks").returncode == 0
    before = sha256_of(tmp_path / "arks" / "fbank.1.ark")
    result = run("steps/make_fbank.sh", "--nj", 1, other, tmp_path / "arks")
    assert result.returncode == 1
    assert f"arks holds the fbank archives of {data}; give {other} a folder of its own" in result.stderr
    assert sha256_of(tmp_path / "arks" / "fbank.1.ark") == before


@pytest.mark.slow
def test_augmented_features_are_the_same_for_any_split_and_of_the_audio_that_is_told(
    step: Step, data: Path, tmp_path: Path
) -> None:
    noise, rng = tmp_path / "noise", np.random.default_rng(0)
    noise.mkdir()
    for name in ("a", "b"):
        soundfile.write(noise / f"{name}.wav", rng.normal(0, 0.1, 2 * RATE), RATE)
    write_table(noise / "wav.scp", {f"noise/{name}": noise / f"{name}.wav" for name in ("a", "b")})
    options = ("--augment", "noise", "--noise-data", noise)
    step(data, 3, *options)
    three = read_index_features(data)
    told = read_table(data / "utt2augment")
    step(data, 1, *options)
    assert read_table(data / "utt2augment") == told and set(told) == set(read_table(data / "wav.scp"))
    for utt, features in read_index_features(data).items():
        np.testing.assert_array_equal(features, three[utt])
        kind, snr_db, name = told[utt].split()
        assert kind == "noise" and 0 <= float(snr_db) <= 15 and name in ("noise/a", "noise/b")
    step(data, 1, "--augment", "noise", "--noise-data", noise, actions="begin")  # nothing to do
    words = ["begin", str(data), str(data / "fbank"), *map(str, options)]
    assert not make_fbank.read_task(make_fbank.parse(words))[0].mark().stale()
    (noise / "b.wav").write_bytes((noise / "a.wav").read_bytes())  # of the same size
    assert "options differ" in make_fbank.read_task(make_fbank.parse(words))[0].mark().stale()
    clean = {utt: expected(utt, spec, False) for utt, spec in read_table(data / "wav.scp").items()}
    assert all(three[utt].mean() > clean[utt].mean() for utt in clean)  # noise fills the gaps
    with pytest.raises(UserError, match=r"the types that have a weight are music, and none of them is in noise_data"):
        step(data, 1, "--augment", "music", "--noise-data", noise)


def read_index_features(data: Path) -> dict[str, np.ndarray]:
    return {utt: read_matrix(location) for utt, location in read_table(data / "feats.scp").items()}


@pytest.mark.slow
def test_called_as_kaldis_script(run: Run, data: Path, tmp_path: Path) -> None:
    result = run("steps/make_fbank.sh", "--nj", 2, data, tmp_path / "log", tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["make_fbank.1.log", "make_fbank.2.log"]
    assert {Path(value.rsplit(":", 1)[0]).parent for value in read_table(data / "feats.scp").values()} == {
        tmp_path / "arks"
    }
