"""steps/prepare_features.sh: the disk is compared with all sets together, and one set of jobs makes all of them."""

import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import make_fbank, prepare_features
from sv.errors import UserError
from sv.io import DataDir, read_table, write_table

BYTES_PER_SET = 2 * 80 * 100 * 20.0  # two bytes a value, 80 mels, 100 frames a second
Usage = namedtuple("Usage", "total used free")
Run = Callable[..., subprocess.CompletedProcess[str]]
COPIES = {"0.5": "perturb_data_dir_speed.sh", "2.0": "perturb_data_dir_speed.sh", "noise": "augment_data_dir.sh"}


def make_data(folder: Path) -> Path:
    """20 s of noise in 10 files."""
    folder.mkdir()
    wavs = {f"a-{number}": str(folder / f"{number}.wav") for number in range(10)}
    for number, path in enumerate(wavs.values()):
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(32000), 16000)
    DataDir.write(folder, {"wav.scp": wavs, "utt2spk": dict.fromkeys(wavs, folder.name)})
    return folder


def make_noises(folder: Path) -> None:
    """Write a folder of noise as local/prepare_noises.py does."""
    folder.mkdir()
    soundfile.write(folder / "n.wav", 0.1 * np.random.default_rng(9).standard_normal(16000), 16000)
    write_table(folder / "wav.scp", {"noise/n": folder / "n.wav"})


@pytest.fixture
def config(root: Path) -> Path:
    return root / "egs" / "mini" / "conf" / "resnet_small.yaml"


@pytest.fixture
def begin(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """prepare_features.py begin of data/test, data/train and its copies, on a disk with so many bytes free."""
    for name in ("train", "test"):
        make_data(tmp_path / name)
    make_noises(tmp_path / "noises")

    def call(free: float, *sets: object, train_feats: str = "ark") -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free))
        system = tmp_path / "system.yaml"
        system.write_text(f"base: {config}\ntrain_feats: {train_feats}\n")
        words = ["begin", "--config", system, "--fbank", tmp_path / "fbank", "--noise-data", tmp_path / "noises"]
        monkeypatch.setattr(
            sys, "argv", ["prepare_features.py", *map(str, [*words, tmp_path / "test", *sets, "--num-parts", 2])]
        )
        prepare_features.main()

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "sets"),
    [("", 2.0), ("0.5 2.0", 2 + 2 + 0.5), ("noise", 3.0)],  # a slow copy is longer
)
def test_all_sets_together_are_needed(
    begin: Callable[..., None], run: Run, tmp_path: Path, kinds: str, sets: float
) -> None:
    given = [str(tmp_path / "train")]
    for kind in kinds.split():
        copy = tmp_path / f"train_{kind}"
        assert run(f"tools/{COPIES[kind]}", kind, tmp_path / "train", copy).returncode == 0
        given.append(f"{copy}:noise" if kind == "noise" else str(copy))
    message = rf"test and {len(given)} more on its disk: about .* are needed, .* are free; free some"
    with pytest.raises(UserError, match=message):
        begin(sets * BYTES_PER_SET - 1, *given)
    begin(sets * BYTES_PER_SET + 1, *given)


@pytest.mark.parametrize(("train_feats", "audio_bytes"), [("online", 0.0), ("shard", 2 * 16000 * 20.0)])
def test_waveforms_take_no_features_of_the_training_data(
    begin: Callable[..., None], tmp_path: Path, train_feats: str, audio_bytes: float
) -> None:
    sets = [tmp_path / "train"] if train_feats == "shard" else []
    begin(BYTES_PER_SET + audio_bytes + 1, *sets, train_feats=train_feats)
    with pytest.raises(UserError, match="are needed"):
        begin(BYTES_PER_SET + audio_bytes - 1, *sets, train_feats=train_feats)


def test_what_is_there_already_is_not_needed_again(
    begin: Callable[..., None], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = tmp_path / "train"

    def fbank(*words: str) -> None:
        given = [words[0], train, tmp_path / "fbank" / "train", "--config", config, "--dither", "true"]
        monkeypatch.setattr(sys, "argv", ["make_fbank.py", *map(str, given), "--num-parts", "2", *words[1:]])
        make_fbank.main()

    fbank("begin")
    fbank("part", "--part", "1")
    begin(1.5 * BYTES_PER_SET + 1, train)
    with pytest.raises(UserError, match="are needed"):
        begin(1.5 * BYTES_PER_SET - 1, train)
    fbank("part", "--part", "2")
    fbank("join")
    begin(BYTES_PER_SET + 1, train)
    with pytest.raises(UserError, match="are needed"):
        begin(BYTES_PER_SET - 1, train)


@pytest.mark.slow
def test_the_features_are_those_of_make_fbank_for_each_set(run: Run, config: Path, tmp_path: Path) -> None:
    train, test = make_data(tmp_path / "train"), make_data(tmp_path / "test")
    make_noises(tmp_path / "noises")
    (tmp_path / "rirs").mkdir()
    system = tmp_path / "system.yaml"
    system.write_text(f"train_feats: ark\nbase: {config}\n")
    options = ["--nj", 2, "--config", system, "--speeds", "0.9", "--augment", "noise"]
    options += ["--backend-augment", "noise"]  # the same copy
    done = run("steps/prepare_features.sh", *options, train, test)
    assert done.returncode == 0, done.stderr
    made = sorted(path for path in (tmp_path / "fbank").rglob("*.ark"))
    assert [path.parent.name for path in made[::2]] == ["test", "train", "train_noise", "train_sp0.9"]
    assert DataDir(tmp_path / "train_sp_aug").count_utts() == 30
    copies = {name: (tmp_path / f"train_{name}" / "copies").read_text() for name in ("sp_aug", "backend")}
    assert copies == {"sp_aug": "noise\nsp0.9\n", "backend": "noise\n"}
    assert sorted(DataDir(tmp_path / "train_backend").feats_scp) == sorted(
        [*(f"a-{number}" for number in range(10)), *(f"a-{number}-noise" for number in range(10))]
    )
    for dither, folder, augment in (("false", test, ()), ("true", tmp_path / "train_noise", ("--augment", "noise"))):
        words = ["--config", system, "--dither", dither, *augment, "--noise-data", tmp_path / "noises"]
        alone = run("steps/make_fbank.sh", "--nj", 2, *words, folder, tmp_path / "fbank" / folder.name)
        assert alone.returncode == 0 and "feats.scp is there already" in alone.stderr, alone.stderr
    times = {path: path.stat().st_mtime_ns for path in made}
    again = run("steps/prepare_features.sh", *options, train, test)
    assert again.returncode == 0 and again.stderr.count("feats.scp is there already") == 4
    assert times == {path: path.stat().st_mtime_ns for path in made}


@pytest.mark.slow
@pytest.mark.parametrize("train_feats", ["ark", "shard"])
def test_commands_in_wav_scp_run_with_allow_pipes(run: Run, tmp_path: Path, train_feats: str) -> None:
    sets = [make_data(tmp_path / name) for name in ("train", "test")]
    for data in sets:
        specs = read_table(data / "wav.scp")
        write_table(data / "wav.scp", {utt: f"cat {path} |" for utt, path in specs.items()})
    config = tmp_path / "system.yaml"
    config.write_text(f"train_feats: {train_feats}\ndataset_args:\n  vad: true\n")
    options = ["--nj", 1, "--config", config, "--check-audio", "false"]
    refused = run("steps/prepare_features.sh", *options, *sets)
    assert refused.returncode == 1 and "a command in wav.scp runs only with --allow-pipes true" in refused.stderr
    result = run("steps/prepare_features.sh", "--allow-pipes", "true", *options, *sets)
    assert result.returncode == 0, result.stderr
    assert list(read_table(sets[1] / "feats.scp")) == list(read_table(sets[1] / "wav.scp"))
    assert (sets[0] / ("feats.scp" if train_feats == "ark" else "shard.list")).is_file()
    assert list(read_table(sets[1] / "vad.scp")) == list(read_table(sets[1] / "wav.scp"))
    assert (sets[0] / "vad.scp").is_file() == (train_feats == "ark")
