"""Sizes of egs/own by the number of speakers: what fits, what is too small, and where the numbers come from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from local.plan_corpus import Sizes, choose_sizes
from local.prepare_folder import SEED, choose_test_speakers
from sv.errors import UserError
from sv.io import DataDir


@pytest.mark.parametrize(
    ("speakers", "utts", "sizes"),
    [
        (12, 20, Sizes(test=3, heldout=2, embed_dim=64, top_n=3, lda_dim=5, num_epochs=60)),
        (60, 10, Sizes(test=12, heldout=9, embed_dim=128, top_n=19, lda_dim=34, num_epochs=30)),
        (500, 10, Sizes(test=100, heldout=75, embed_dim=128, top_n=162, lda_dim=100, num_epochs=15)),
        (5000, 2, Sizes(test=100, heldout=100, embed_dim=128, top_n=300, lda_dim=100, num_epochs=15)),
    ],
)
def test_sizes_follow_from_the_number_of_speakers(speakers: int, utts: int, sizes: Sizes) -> None:
    assert choose_sizes({f"s{n}": utts for n in range(speakers)}) == sizes


def test_copies_make_epochs_longer_and_so_fewer() -> None:
    utts = {f"s{n}": 12 for n in range(14)}  # 9 speakers of 12 utterances: 108 crops, for 7680
    assert [choose_sizes(utts, copies=copies).num_epochs for copies in (0, 1, 2, 4)] == [120, 60, 30, 15]


@pytest.mark.parametrize("speakers", range(12, 300, 7))
def test_what_is_chosen_fits(speakers: int) -> None:
    sizes = choose_sizes({f"s{n}": 30 for n in range(speakers)})
    train = speakers - sizes.test - sizes.heldout
    assert sizes.test >= 3 and sizes.heldout >= 2 and train >= 6
    assert 2 <= sizes.top_n <= train and 0 < sizes.lda_dim < min(train, sizes.embed_dim)


@pytest.mark.parametrize(
    ("utts", "test", "message"),
    [
        ([20] * 8, 0, "8 speakers, 8 with two utterances or more: too few to train on"),
        ([20], 0, "^1 speaker, 1 with two utterances or more: too few"),
        ([1] * 60, 0, "60 speakers, 0 with two utterances or more: too few"),
        ([20] * 60, 48, "--test-speakers 48: of 60 speakers, 60 of .* 9 are to .* 6 to train on; give 45 at most$"),
        ([1] * 40 + [9] * 20, 12, "20 of them with two utterances .* give 11 at most$"),
        ([20] * 11, 4, "too few .* to test on 4; 12 are the least; import a trained model"),
        ([2] * 12, 0, "24 utterances of 12 speakers are too few to train on; about 92 are the least"),
        ([7] * 12, 0, "84 utterances of 12 speakers are too few to train on; about 92 are the least"),
        ([2] * 60, 0, "120 utterances of 60 speakers are too few to train on; about 132 are the least"),
    ],
)
def test_a_corpus_that_is_too_small_is_refused(utts: list[int], test: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_sizes({f"s{n}": number for n, number in enumerate(utts)}, test)


@pytest.mark.parametrize(("speakers", "message"), [(14, "WAVE holds 14 folders; give that one"), (1, "1 speaker, 1 ")])
def test_speakers_one_folder_too_deep_are_told(
    tmp_path: Path, step: Callable[..., Any], speakers: int, message: str
) -> None:
    for name in ["test/spk2utt", *(f"WAVE/SPEAKER{spk:04}/{utt}.wav" for spk in range(speakers) for utt in range(2))]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    refused = step("local/plan_corpus.py", "--corpus", tmp_path, "data")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1) and message in refused.stderr


def test_what_follows_from_the_speakers_that_are_held_out_follows_from_those_that_are_given() -> None:
    utts = {f"s{n}": 20 for n in range(60)}
    assert choose_sizes(utts, heldout=19) == Sizes(12, 19, embed_dim=128, top_n=14, lda_dim=25, num_epochs=15)
    assert choose_sizes(utts, heldout=42).lda_dim == 4 and choose_sizes(utts, heldout=0).heldout == 0
    with pytest.raises(UserError, match=r"heldout_speakers=43: of 60 .* 12 are to test on .*; give 42 at most$"):
        choose_sizes(utts, heldout=43)


def test_the_most_that_may_be_tested_on_is_taken() -> None:
    assert choose_sizes({f"s{n}": 20 for n in range(60)}, 45).test == 45


def test_sizes_of_a_folder_a_list_and_what_was_prepared_are_the_same(tmp_path: Path, step: Callable[..., Any]) -> None:
    utt2spk = {f"s{spk:02}/{utt}.wav": f"s{spk:02}" for spk in range(14) for utt in range(9)}
    for utt in utt2spk:
        (tmp_path / "corpus" / utt).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "corpus" / utt, np.zeros(160), 16000)
    (tmp_path / "list.csv").write_text("".join(f"corpus/{utt},{spk}\n" for utt, spk in utt2spk.items()))
    chosen = choose_test_speakers(utt2spk, 3, SEED)
    others = set(utt2spk.values()) - chosen
    of_folder = step("local/plan_corpus.py", "--corpus", tmp_path / "corpus", tmp_path / "data")
    assert of_folder.returncode == 0 and of_folder.stdout == f"3 2 32 4 7 120 false {' '.join(sorted(others))}\n"
    assert "14 speakers: 3 to test on, 2 to calibrate with, 9 to train on" in of_folder.stderr
    assert "9 speakers are few to train on, expect large errors" in of_folder.stderr
    assert step("local/plan_corpus.py", "--csv", tmp_path / "list.csv", "data").stdout == of_folder.stdout
    for name, speakers in (("train", others), ("test", chosen)):
        part = {utt: spk for utt, spk in utt2spk.items() if spk in speakers}
        DataDir.write(tmp_path / "data" / name, {"utt2spk": part})
    assert step("local/plan_corpus.py", "--prepared", "true", tmp_path / "data").stdout == of_folder.stdout


def test_files_that_are_left_out_do_not_count(tmp_path: Path, step: Callable[..., Any]) -> None:
    rates = {8000: range(14), 16000: range(14, 20)}
    for utt, rate in (
        (f"s{spk:02}/{n}.wav", rate) for rate, speakers in rates.items() for spk in speakers for n in range(9)
    ):
        (tmp_path / "corpus" / utt).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "corpus" / utt, np.zeros(rate // 20), rate)
    (tmp_path / "conf.yaml").write_text("{}")
    words = ["--corpus", tmp_path / "corpus", "--config", tmp_path / "conf.yaml", "--leave-out-bad", "true"]
    found = step("local/plan_corpus.py", *words, "--set", "dataset_args.fbank_args.sample_rate=8000", "data")
    assert found.returncode == 0 and found.stdout.startswith("3 2 32 4 7 120 false s"), found.stderr
    assert "54 of 180 utterances cannot be used, the first: " in found.stderr
    few = step("local/plan_corpus.py", *words, "data")
    assert few.returncode == 1 and "126 of 180" in few.stderr and "error: 6 speakers, 6 with two" in few.stderr
    none = step("local/plan_corpus.py", *words, "--set", "dataset_args.fbank_args.sample_rate=9000", "data")
    assert none.returncode == 1 and "error: 180 of 180 utterances cannot be used, the first: " in none.stderr


def test_no_corpus_and_none_prepared_are_one_line(tmp_path: Path, step: Callable[..., Any]) -> None:
    result = step("local/plan_corpus.py", tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1) and "give --corpus DIR, a folder" in result.stderr
    result = step("local/plan_corpus.py", "--prepared", "true", tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "train is not a data directory; prepare it first (stage 1)" in result.stderr
