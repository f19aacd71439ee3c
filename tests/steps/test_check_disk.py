"""steps/check_disk.py: the disk is compared with all sets together, before any of them is made."""

import shutil
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import check_disk, make_fbank
from sv.errors import UserError
from sv.io import write_table

BYTES_PER_SET = 2 * 80 * 100 * 20.0  # two bytes a value, 80 mels, 100 frames a second
Usage = namedtuple("Usage", "total used free")


def make_data(folder: Path) -> Path:
    """20 s of noise in 10 files."""
    folder.mkdir()
    wavs = {f"a-{number}": str(folder / f"{number}.wav") for number in range(10)}
    for number, path in enumerate(wavs.values()):
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(32000), 16000)
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "utt2spk", dict.fromkeys(wavs, "a"))
    return folder


@pytest.fixture
def check(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """check_disk.py of data/train, its copies, and data/test, on a disk with so many bytes free."""
    for name in ("train", "test"):
        make_data(tmp_path / name)
    config = root / "egs" / "mini" / "conf" / "resnet_small.yaml"

    def call(free: float, *options: str) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free))
        words = ["--config", config, "--fbank", tmp_path / "fbank", "--nj", 2, *options]
        words += [tmp_path / "train", tmp_path / "test"]
        monkeypatch.setattr(sys, "argv", ["check_disk.py", *map(str, words)])
        check_disk.main()

    return call


@pytest.mark.parametrize(
    ("options", "count", "sets"),
    [
        ((), 2, 2.0),
        (("--speeds", "0.5 2.0"), 4, 2 + 2 + 0.5),  # a slow copy is longer
        (("--augment", "noise reverb"), 4, 4.0),
    ],
)
def test_all_sets_together_are_needed(
    check: Callable[..., None], options: tuple[str, ...], count: int, sets: float
) -> None:
    check(sets * BYTES_PER_SET + 1, *options)
    message = rf"train and {count - 1} more on its disk: about .* are needed, .* are free; free some"
    with pytest.raises(UserError, match=message):
        check(sets * BYTES_PER_SET - 1, *options)


@pytest.mark.parametrize(("train_feats", "audio_bytes"), [("online", 0.0), ("shard", 2 * 16000 * 20.0)])
def test_waveforms_take_no_features_of_the_training_data(
    check: Callable[..., None], train_feats: str, audio_bytes: float
) -> None:
    check(BYTES_PER_SET + audio_bytes + 1, "--train-feats", train_feats)
    with pytest.raises(UserError, match="are needed"):
        check(BYTES_PER_SET + audio_bytes - 1, "--train-feats", train_feats)


def test_what_is_there_already_is_not_needed_again(
    check: Callable[..., None], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = root / "egs" / "mini" / "conf" / "resnet_small.yaml"

    def fbank(*words: str) -> None:
        given = [words[0], tmp_path / "train", tmp_path / "fbank" / "train", "--config", config, "--dither", "true"]
        monkeypatch.setattr(sys, "argv", ["make_fbank.py", *map(str, given), "--num-parts", "2", *words[1:]])
        make_fbank.main()

    fbank("begin")
    fbank("part", "--part", "1")
    check(1.5 * BYTES_PER_SET + 1)
    with pytest.raises(UserError, match="are needed"):
        check(1.5 * BYTES_PER_SET - 1)
    fbank("part", "--part", "2")
    fbank("join")
    check(BYTES_PER_SET + 1)
    with pytest.raises(UserError, match="are needed"):
        check(BYTES_PER_SET - 1)
