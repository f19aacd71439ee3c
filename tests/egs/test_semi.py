"""egs/speechocean762/run_semi.sh up to its first training: the system of a row, and the split with hidden labels."""

from pathlib import Path

import pytest

from sv.config import load_config
from sv.io import DataDir, read_table

SEMI = "egs/speechocean762/run_semi.sh"


def write_data(folder: Path, ark: str) -> None:
    """Write lists of 8 training speakers of two utterances; the features are not there."""
    utts = {f"s{spk}-{number}": f"s{spk}" for spk in range(8) for number in range(2)}
    tables = {"utt2spk": utts, "wav.scp": {utt: f"{utt}.wav" for utt in utts}}
    DataDir.write(folder / "train", {**tables, "feats.scp": {utt: f"{ark}:{row}" for row, utt in enumerate(utts)}})
    (folder / "train/fbank.yaml").write_text("num_mel_bins: 80\n")
    (folder / "test/trials").mkdir(parents=True, exist_ok=True)
    for name in ("feats.scp", "trials/H.kaldi"):
        (folder / "test" / name).touch()


def begin(run, folder: Path, row: str, *words: str) -> None:
    """Begin a row with 2 labelled and 2 held-out speakers; it ends since the test set has no utt2spk."""
    sizes = ["--labelled-speakers", 2, "--heldout-speakers", 2, "--seeds", 1, "--rows", f"{row} labelled-C"]
    done = run(SEMI, "--data", folder / "data", "--exp", folder / "exp", *sizes, *words)
    assert done.returncode and "test/utt2spk" in done.stderr, done.stderr


@pytest.mark.slow
def test_keys_of_the_user_come_last_and_a_long_training_scales_them(run, tmp_path: Path) -> None:
    write_data(tmp_path / "data", "/a.ark")
    begin(run, tmp_path, "labelled-C+long", "--set", "seed=7 num_epochs=10 margin_update.fix_start_epoch=7")
    config = load_config(tmp_path / "exp/2/labelled-C+long-seed1/system.yaml")
    assert config.seed == 7
    margin = config.margin_update  # (8 - 2) / 2 is 3 times as long
    assert (config.num_epochs, margin.increase_start_epoch, margin.fix_start_epoch) == (30, 12, 21)


@pytest.mark.slow
def test_a_split_is_made_again_with_other_features(run, tmp_path: Path) -> None:
    split = tmp_path / "data/semi/2-seed1"
    for ark in ("/a.ark", "/b.ark"):
        write_data(tmp_path / "data", ark)
        begin(run, tmp_path, "labelled-C")
        for part, number in (("train", 8), ("hidden", 8)):
            feats = read_table(split / part / "feats.scp")
            assert len(feats) == number and all(place.startswith(ark) for place in feats.values())
        made = (split / ".done").stat().st_mtime_ns
    begin(run, tmp_path, "labelled-C")
    assert (split / ".done").stat().st_mtime_ns == made  # of the same features
