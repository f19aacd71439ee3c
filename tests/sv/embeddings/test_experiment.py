"""The content of an experiment folder, and the features that its system takes."""

from pathlib import Path
from typing import Literal

import pytest

from sv.config import FbankConfig
from sv.embeddings.experiment import (
    check_front_end,
    check_same_speakers,
    find_model,
    how_to_read,
    read_config,
    read_system,
    warn_of_trained_speakers,
)
from sv.errors import UserError
from sv.io import write_table


def test_features_may_differ_from_those_of_the_system_in_dither_alone(tmp_path: Path) -> None:
    config, fbank = tmp_path / "exp" / "config.yaml", FbankConfig(num_mel_bins=40)
    (tmp_path / "fbank.yaml").write_text("num_mel_bins: 40\ndither: 0.0\n")
    check_front_end(tmp_path, fbank, config)
    (tmp_path / "fbank.yaml").write_text("num_mel_bins: 40\nsample_rate: 8000\n")
    remedy = f"steps/make_fbank.sh --config {config} {tmp_path}"
    with pytest.raises(
        UserError, match=f"sample_rate is 8000, but 16000 in {config}; make the features again: {remedy}"
    ):
        check_front_end(tmp_path, fbank, config)


@pytest.mark.parametrize(
    ("files", "window", "expected"),
    [
        ({"feats.scp", "wav.scp", "fbank.yaml"}, "povey", "ark"),
        ({"feats.scp", "wav.scp"}, "povey", "ark"),  # with the warning that their settings are not known
        ({"feats.scp", "wav.scp", "fbank.yaml"}, "hamming", "online"),
        ({"wav.scp"}, "povey", "online"),
        ({"feats.scp", "shard.list", "fbank.yaml"}, "hamming", "shard"),
    ],
)
def test_features_of_the_front_end_are_read_and_others_computed(
    tmp_path: Path, files: set[str], window: Literal["povey", "hamming"], expected: str
) -> None:
    for name in files:
        (tmp_path / name).write_text("window: povey\ndither: 0.0\n")
    assert how_to_read(tmp_path, FbankConfig(window=window)) == expected


def test_features_of_unknown_settings_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_front_end(tmp_path, FbankConfig(), tmp_path / "config.yaml")
    assert f"{tmp_path}/fbank.yaml does not exist: cannot check" in caplog.text


def test_test_speakers_that_were_trained_on_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_table(tmp_path / "utt2spk", {"c-1": "c", "c-2": "c", "b-1": "b", "x-1": "x"})
    warn_of_trained_speakers(tmp_path, tmp_path)  # a model of unknown speakers
    write_table(tmp_path / "spk2id", {"a": "0", "sp0.9-x": "1"})
    warn_of_trained_speakers(tmp_path, tmp_path)
    assert not caplog.records
    write_table(tmp_path / "spk2id", {"a": "0", "c": "1", "b": "2"})
    warn_of_trained_speakers(tmp_path, tmp_path)
    assert caplog.messages == [
        f"{tmp_path}: 2 of 3 test speakers, such as b, were trained on ({tmp_path}/spk2id): "
        "results on them are too good; test on other speakers"
    ]


def test_a_folder_of_systems_names_one_of_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / "exp" / name).mkdir(parents=True)
        (tmp_path / "exp" / name / "config.yaml").touch()
    for folder in (tmp_path, tmp_path / "exp"):
        with pytest.raises(UserError, match=f"give the folder of one system, such as {tmp_path}/exp/a$"):
            read_config(folder)


def test_what_a_folder_lacks_is_named_with_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config.yaml does not exist; train the system first \(stage 3\)"):
        read_config(tmp_path)
    with pytest.raises(UserError, match=r"system.yaml does not exist; make it with steps/make_system.py"):
        read_system(tmp_path)
    with pytest.raises(UserError, match=r"avg_model.pt does not exist; train the system \(stage 3\), or import it"):
        find_model(tmp_path)
    with pytest.raises(UserError, match=r"own.pt does not exist; give an existing file with --model"):
        find_model(tmp_path, tmp_path / "own.pt")


def test_a_system_of_other_speakers_is_refused(tmp_path: Path) -> None:
    check_same_speakers(tmp_path, ["a"])  # not trained yet
    (tmp_path / "heldout_spk").write_text("a\nsp9-x\n")  # nobody is called x, so sp9-x is no copy
    copies = [f"{copy}{name}" for copy in ("", "sp0.9-", "sp1.1-") for name in "bcd"]
    (tmp_path / "spk2id").write_text("".join(f"{name} {row}\n" for row, name in enumerate(copies)))
    check_same_speakers(tmp_path, ["b", "a", "c", "d", "sp9-x"])
    told = r"trained with 5 speakers .*; this corpus gives 3 .*, and 2 are in both; give another --exp-dir"
    with pytest.raises(UserError, match=told):
        check_same_speakers(tmp_path, ["a", "b", "e"])
