"""Features in parts: any number of jobs, made again when out of date, bad input, a full disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from sv.audio.features import Fbank
from sv.audio.files import read_wav
from sv.config import Config, FbankConfig, parse_config
from sv.data.fbank_parts import FbankParts
from sv.errors import UserError
from sv.io import read_matrix, read_scp, read_table, write_table
from tests.sv.data.noise_corpus import RATE, expected, make_data, snapshot, write_tables


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


def parts_of(data: Path, nj: int = 2, **options: Any) -> FbankParts:
    return FbankParts(data_dir=data, ark_dir=data / "fbank", num_jobs=nj, **{"system": Config(), **options})


def make(data: Path, nj: int = 2, *, verify: bool = False, **options: Any) -> None:
    """Do what the step does."""
    jobs = parts_of(data, nj, **options).begin(verify=verify)
    for job in range(1, jobs + 1):
        parts_of(data, jobs, **options).run(job)
    if jobs:
        parts_of(data, jobs, **options).finish()


def arks(data: Path) -> bytes:
    """Return the archives, concatenated."""
    paths = sorted((data / "fbank").glob("fbank.*.ark"), key=lambda path: int(path.name.split(".")[1]))
    return b"".join(path.read_bytes() for path in paths)


@pytest.mark.parametrize("dither", [True, False])
def test_any_nj_gives_the_same_archives(tmp_path: Path, dither: bool) -> None:
    contents, tables = set(), set()
    data = make_data(tmp_path / "data")
    for nj in (1, 2, 5, 8):
        for path in (data / "fbank").glob("*"):
            path.unlink()
        (data / ".done.fbank").unlink(missing_ok=True)
        make(data, nj, dither=dither)
        contents.add(arks(data))
        tables.add((data / "utt2dur").read_text() + (data / "utt2num_frames").read_text())
    assert len(contents) == len(tables) == 1


def test_no_dither_unless_asked_for(data: Path) -> None:
    make(data)
    assert yaml.safe_load((data / "fbank.yaml").read_text())["dither"] == 0.0
    utt, location = next(iter(read_scp(data / "feats.scp").items()))
    assert np.abs(read_matrix(location) - expected(utt, read_table(data / "wav.scp")[utt], dither=False)).max() < 1e-3


def test_complete_features_are_made_again_only_when_out_of_date(data: Path) -> None:
    make(data)
    first = snapshot(data)
    assert parts_of(data).begin() == parts_of(data, 5).begin() == parts_of(data).begin(verify=True) == 0
    assert snapshot(data) == first

    povey = parse_config({"dataset_args": {"fbank_args": {"window": "povey"}}}, "test")
    assert parts_of(data, system=povey).begin() == 2
    assert not (data / "feats.scp").exists()  # no old tables beside new archives
    assert not list((data / "fbank").glob("fbank.*"))
    make(data, system=povey)
    assert yaml.safe_load((data / "fbank.yaml").read_text())["window"] == "povey"
    assert snapshot(data)["fbank.1.ark"] != first["fbank.1.ark"]

    make(data)
    assert snapshot(data) == first
    wavs = read_table(data / "wav.scp")
    wavs["spk1/0001.wav"], wavs["spk1/0003.wav"] = wavs["spk1/0003.wav"], wavs["spk1/0001.wav"]
    write_tables(data, wavs)
    assert parts_of(data).begin() == 2
    assert (data / "fbank" / "fbank.1.ark").exists()  # the part that has neither
    make(data)
    assert snapshot(data)["fbank.2.ark"] != first["fbank.2.ark"]


def test_segments(data: Path) -> None:
    wavs = read_table(data / "wav.scp")
    (data / "segments").write_text(
        "spk0/a spk0/0000.wav 0.1 0.3\nspk0/b sp0.9-spk0/0000.wav 0.05 0.4\nspk1/c spk1/0001.wav 0.2 0.9\n"
    )
    make(data)
    feats = read_scp(data / "feats.scp")
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
def test_too_short_utterance_is_named(data: Path, samples: int, message: str) -> None:
    soundfile.write(data / "audio 3.wav", np.zeros(samples, dtype=np.float32), RATE)
    with pytest.raises(UserError, match=message):
        make(data)
    assert not (data / "feats.scp").exists()
    assert not (data / "fbank" / "fbank.2.ark").exists()


def test_samples_too_large_for_features_are_named(data: Path) -> None:
    wavs = read_table(data / "wav.scp") | {"spk1/0001.wav": str(data / "loud.wav")}
    soundfile.write(
        data / "loud.wav", np.full(8000, 1e30, np.float32) * np.sign(np.sin(np.arange(8000))), RATE, "FLOAT"
    )
    write_table(data / "wav.scp", wavs)
    with pytest.raises(UserError, match=r"spk1/0001\.wav: NaN or infinite values"):
        make(data)


def test_commands_are_refused_unless_allowed(data: Path) -> None:
    wavs = read_table(data / "wav.scp")
    path = wavs["spk1/0001.wav"]
    write_table(data / "wav.scp", wavs | {"spk1/0001.wav": f"cat '{path}' |"})
    with pytest.raises(UserError, match=r"spk1/0001\.wav: cat .* only with --allow-pipes true"):
        make(data)
    make(data, allow_pipes=True)
    matrix = read_matrix(read_scp(data / "feats.scp")["spk1/0001.wav"])
    assert np.abs(matrix - expected("", path, dither=False)).max() < 1e-3


def test_a_full_disk_leaves_the_features_that_are_there(data: Path) -> None:
    make(data)
    before = (data / "feats.scp").read_text()
    write_table(data / "utt2dur", dict.fromkeys(read_table(data / "wav.scp"), 1e10))
    with pytest.raises(UserError, match="GB are free"):
        make(data, dither=True)
    assert (data / "feats.scp").read_text() == before
    assert len(list((data / "fbank").glob("fbank.*.ark"))) == 2


@pytest.mark.slow
def test_augmented_features_are_the_same_for_any_split_and_of_the_audio_that_is_told(
    data: Path, tmp_path: Path
) -> None:
    noise, rng = tmp_path / "noise", np.random.default_rng(0)
    noise.mkdir()
    for name in ("a", "b"):
        soundfile.write(noise / f"{name}.wav", rng.normal(0, 0.1, 2 * RATE), RATE)
    write_table(noise / "wav.scp", {f"noise/{name}": noise / f"{name}.wav" for name in ("a", "b")})
    options: dict[str, Any] = {"augment": "noise", "noise_data": str(noise)}
    make(data, 3, **options)
    three = read_index_features(data)
    told = read_table(data / "utt2augment")
    make(data, 1, **options)
    assert read_table(data / "utt2augment") == told and set(told) == set(read_table(data / "wav.scp"))
    for utt, features in read_index_features(data).items():
        np.testing.assert_array_equal(features, three[utt])
        kind, snr_db, name = told[utt].split()
        assert kind == "noise" and 0 <= float(snr_db) <= 15 and name in ("noise/a", "noise/b")
    assert not parts_of(data, **options).stale()
    (noise / "b.wav").write_bytes((noise / "a.wav").read_bytes())  # of the same size
    assert "options differ" in parts_of(data, **options).stale()
    clean = {utt: expected(utt, spec, False) for utt, spec in read_table(data / "wav.scp").items()}
    assert all(three[utt].mean() > clean[utt].mean() for utt in clean)  # noise fills the gaps
    with pytest.raises(UserError, match=r"the types that have a weight are music, and none of them is in noise_data"):
        make(data, 1, augment="music", noise_data=str(noise))


@pytest.mark.slow
def test_mixed_augmentation_draws_a_kind_for_each_utterance(data: Path, noise_dir: Path, rir_dir: Path) -> None:
    system = parse_config({"dataset_args": {"augment_args": {"music": 0.0, "babble": 0.0, "noise": 3.0}}}, "test")
    options: dict[str, Any] = {"system": system, "noise_data": str(noise_dir), "reverb_data": str(rir_dir)}
    make(data, 2, augment="mixed", **options)
    told = {utt: what.split() for utt, what in read_table(data / "utt2augment").items()}
    assert {words[0] for words in told.values()} == {"noise", "reverb"}
    assert set(told) == set(read_table(data / "wav.scp"))


def read_index_features(data: Path) -> dict[str, np.ndarray]:
    return {utt: read_matrix(location) for utt, location in read_scp(data / "feats.scp").items()}
