"""Copies of a test set in noise, in a room, over the telephone and cut short."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.augment import reverberate
from sv.audio.telephone import telephone
from sv.data.noises import around_peak
from sv.io import DataDir, read_table

RATE = 16000
TOOL = "local/degrade_data.py"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two speakers with an utterance of 1.5 s and one of 0.5 s, a trial list, durations that will not hold."""
    out, rng = tmp_path / "test", np.random.default_rng(1)
    wavs = {}
    for spk in ("a", "b"):
        for name, seconds in (("long", 1.5), ("short", 0.5)):
            path = tmp_path / "audio" / f"{spk}-{name}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.05, int(seconds * RATE)), RATE, subtype="FLOAT")
            wavs[f"{spk}-{name}"] = path
    utt2spk = {utt: utt[0] for utt in wavs}
    DataDir.write(
        out, {"wav.scp": wavs, "utt2spk": utt2spk, "utt2dur": dict.fromkeys(wavs, 9.0), "spk2gender": {"a": "f"}}
    )
    (out / "trials").mkdir()
    (out / "trials" / "H.kaldi").write_text("a-long b-long nontarget\na-long a-short target\n")
    return out


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, Path]:
    """A folder of noise with music beside it, and one of rooms."""
    rng, folders = np.random.default_rng(2), {"noises": ("noise/n", "music/m"), "rirs": ("rir/r",)}
    for folder, names in folders.items():
        lines = []
        for name in names:
            path = tmp_path / folder / f"{name.replace('/', '-')}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 2000) * np.exp(-np.arange(2000) / 300), RATE, subtype="FLOAT")
            lines.append(f"{name}.wav {path}\n")
        (tmp_path / folder / "wav.scp").write_text("".join(lines))
    return {folder: tmp_path / folder for folder in folders}


def read(folder: Path) -> dict[str, np.ndarray]:
    return {utt: soundfile.read(path)[0] for utt, path in read_table(folder / "wav.scp").items()}


@pytest.mark.parametrize("snr", [0.0, 5.0])
def test_noise_has_the_asked_power_and_the_lists_a_name_of_their_own(
    step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path, snr: float
) -> None:
    out = tmp_path / "noisy"
    made = step(TOOL, "--noises", sounds["noises"], "--snr", snr, data, "noise", out)
    assert made.returncode == 0, made.stderr
    clean = read(data)
    for utt, noisy in read(out).items():
        noise = noisy - clean[utt]
        assert 10 * np.log10(np.mean(clean[utt] ** 2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert (out / "trials" / "H_noise.kaldi").read_bytes() == (data / "trials" / "H.kaldi").read_bytes()
    assert (out / "spk2gender").read_text() == "a f\n"
    assert not (out / "utt2dur").exists()


def test_a_room_keeps_power_and_a_telephone_follows_it(
    step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "room"
    assert step(TOOL, "--rirs", sounds["rirs"], "--telephone", "true", data, "room", out).returncode == 0
    rir, peak = around_peak(soundfile.read(sounds["rirs"] / "rir-r.wav", dtype="float32")[0], RATE // 2)
    clean = torch.from_numpy(read(data)["a-short"]).float()[None]
    wanted = telephone(reverberate(clean, torch.from_numpy(rir)[None], torch.tensor([peak])), RATE)[0].numpy()
    np.testing.assert_allclose(read(out)["a-short"], wanted, atol=1e-3)


def test_parts_are_drawn_once_and_short_utterances_stay_whole(step: Callable, data: Path, tmp_path: Path) -> None:
    words, out = ("--seconds", "0.75", data, "cut"), tmp_path / "cut"
    assert step(TOOL, *words, out).returncode == 0
    clean, parts = read(data), read(out)
    assert {utt: len(part) for utt, part in parts.items()} == {
        "a-long": 12000, "a-short": 8000, "b-long": 12000, "b-short": 8000
    }  # fmt: skip
    starts = {
        np.argmin([np.abs(clean[utt][at : at + 50] - parts[utt][:50]).sum() for at in range(12001)])
        for utt in ("a-long", "b-long")
    }
    assert len(starts) == 2
    times = {path: path.stat().st_mtime_ns for path in (out / "degraded").iterdir()}
    assert "is there already" in step(TOOL, *words, out).stderr
    assert times == {path: path.stat().st_mtime_ns for path in (out / "degraded").iterdir()}
    before = set(read_table(out / "wav.scp").values())
    assert step(TOOL, "--seconds", "0.7", data, "cut", out).returncode == 0
    assert before.isdisjoint(read_table(out / "wav.scp").values())  # else features count as those of the new
    assert len(list((out / "degraded").iterdir())) == 4


def test_noise_comes_after_the_room(step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path) -> None:
    room = ["--rirs", sounds["rirs"]]
    assert step(TOOL, *room, data, "room", tmp_path / "room").returncode == 0
    assert step(TOOL, *room, "--noises", sounds["noises"], "--snr", 3, data, "n", tmp_path / "n").returncode == 0
    wet, noisy = read(tmp_path / "room"), read(tmp_path / "n")
    for utt, speech in wet.items():
        noise = noisy[utt] - speech
        assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("changed", ["noise", "seed", "recording", "table"])
def test_whatever_decides_a_copy_makes_it_anew(
    step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path, changed: str
) -> None:
    words, out = ["--noises", sounds["noises"], "--snr", 5, data, "n", tmp_path / "n"], tmp_path / "n"
    assert step(TOOL, *words).returncode == 0
    before, other = read_table(out / "wav.scp"), tmp_path / "other.wav"
    soundfile.write(other, np.random.default_rng(9).normal(0, 0.1, 3000), RATE, subtype="FLOAT")
    if changed == "noise":
        (sounds["noises"] / "wav.scp").write_text(f"noise/n.wav {other}\n")
    elif changed == "seed":
        words += ["--seed", 2]
    elif changed == "recording":
        DataDir.write(data, {"wav.scp": read_table(data / "wav.scp") | {"a-long": other}})
    else:
        (data / "spk2gender").write_text("a m\n")
    made = step(TOOL, *words)
    assert made.returncode == 0 and "is there already" not in made.stderr
    assert (read_table(out / "wav.scp") == before) == (changed == "table")
    assert (out / "spk2gender").read_bytes() == (data / "spk2gender").read_bytes()


def test_a_copy_that_failed_is_not_taken_for_the_one_before(step: Callable, data: Path, tmp_path: Path) -> None:
    out, last = tmp_path / "cut", Path(read_table(data / "wav.scp")["b-short"])
    assert step(TOOL, "--seconds", 0.5, data, "cut", out).returncode == 0
    content = last.read_bytes()
    last.write_bytes(b"damaged")
    assert step(TOOL, "--seconds", 0.4, data, "cut", out).returncode == 1
    last.write_bytes(content)
    assert "is there already" not in step(TOOL, "--seconds", 0.5, data, "cut", out).stderr
    assert all(len(part) == 8000 for part in read(out).values())


def test_loud_sound_becomes_quieter_and_is_not_clipped(
    step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path
) -> None:
    path = Path(read_table(data / "wav.scp")["a-long"])
    soundfile.write(path, 0.99 * np.sign(soundfile.read(path)[0]), RATE, subtype="FLOAT")
    assert step(TOOL, "--noises", sounds["noises"], "--snr", 0, data, "n", tmp_path / "n").returncode == 0
    loud = np.abs(read(tmp_path / "n")["a-long"])
    assert 0.99 < loud.max() < 1 and np.sum(loud > 0.998 * loud.max()) < 100


@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (2, [], "nothing to change; give --noises and --snr, --rirs, --telephone true or --seconds"),
        (2, ["--snr", "5"], "--noises DIR and --snr DB belong together; give both or none"),
        (2, ["--seconds", "-1"], "--seconds -1.0: give 0.1 or more"),
        (2, ["--seconds", "0"], "--seconds 0.0: give 0.1 or more"),
        (2, ["--seconds", "nan"], "--seconds nan: give 0.1 or more"),
        (2, ["--noises", "{here}/noises", "--snr", "inf"], "--snr inf: give a number of dB"),
        (1, ["--noises", "{here}/no", "--snr", "5"], "{here}/no/wav.scp does not exist; make it"),
        (1, ["--rirs", "{here}/noises"], "noise/n.wav: type 'noise' is not one of rir"),
    ],
)
def test_bad_input_is_one_line(
    step: Callable, data: Path, sounds: dict[str, Path], tmp_path: Path, status: int, words: list[str], told: str
) -> None:
    made = step(TOOL, *(word.format(here=tmp_path) for word in words), data, "x", tmp_path / "x")
    assert made.returncode == status
    assert told.format(here=tmp_path) in made.stderr and made.stderr.count("\n") == 1
    assert not (tmp_path / "x" / "wav.scp").exists()


def test_a_link_to_the_source_is_refused(step: Callable, data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    made = step(TOOL, "--seconds", 1, data, "x", tmp_path / "link")
    assert made.returncode == 1 and "is the data dir that is read; give another folder" in made.stderr
    assert len(read(data)) == 4


@pytest.mark.slow
def test_each_condition_gets_a_copy_with_features(run: Callable, data: Path, tmp_path: Path) -> None:
    made = run("local/degrade_data.sh", "--conditions", "telephone 1s", "--nj", 1, tmp_path, data)
    assert made.returncode == 0, made.stderr
    for condition in ("telephone", "1s"):
        copy = tmp_path / f"test_{condition}"
        assert set(read_table(copy / "feats.scp")) == set(DataDir(data).utts)
        assert (copy / "trials" / f"H_{condition}.kaldi").read_text() == (data / "trials" / "H.kaldi").read_text()
    assert not (tmp_path / "test_noises").exists()


def test_an_unknown_condition_is_one_line(run: Callable, data: Path, tmp_path: Path) -> None:
    made = run("local/degrade_data.sh", "--conditions", "rooms", tmp_path, data)
    told = "--conditions rooms: give noise<dB>, room, telephone or <seconds>s, as in noise5 and 2s"
    assert (made.returncode, made.stderr) == (2, f"degrade_data.sh: error: {told}\n")
