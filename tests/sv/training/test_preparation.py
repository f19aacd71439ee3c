"""Data and options that are refused before a training begins."""

import shutil
from functools import partial

import numpy as np
import pytest
import soundfile
import torch

from sv.config import load_config
from sv.errors import UserError
from sv.io import read_table, write_table
from sv.training.dataset import read_data
from sv.training.distributed import World
from sv.training.plan import plan_training
from sv.training.preparation import Preparation
from sv.training.run import train

WORLD = World(0, 1, torch.device("cpu"))


def test_another_configuration_or_other_data_are_refused(data_dir, make_data, make_config, tmp_path):
    exp = tmp_path / "exp"
    quick = {"num_epochs": 1, "margin_update": {"increase_type": "fixed"}}
    train(make_config(**quick), data_dir, exp, WORLD)
    with pytest.raises(
        UserError, match=r"begun with another configuration: seed was 42, now 43; give the same options"
    ):
        train(make_config(**quick, seed=43), data_dir, exp, WORLD)
    with pytest.raises(UserError, match=r"loss_args.t was 3.0, now 2.0"):
        train(make_config(**quick, loss_args={"t": 2.0}), data_dir, exp, WORLD)
    with pytest.raises(UserError, match=r"num_epochs was 1, now 2"):
        train(make_config(**{**quick, "num_epochs": 2}), data_dir, exp, WORLD)
    other = make_data(tmp_path / "other", utts=9)
    with pytest.raises(UserError, match=r"begun with other data than .*other .*another exp dir \(--exp-dir of"):
        train(make_config(**quick), other, exp, WORLD)
    free = make_config(**quick, num_avg=1, log_batch_interval=1, keep_checkpoints=5)
    train(free, data_dir, exp, WORLD)
    assert load_config(exp / "config.yaml").num_avg == 1


def test_models_without_checkpoints_are_not_mixed_with_another_configuration(data_dir, make_config, tmp_path):
    quick = {"num_epochs": 1, "margin_update": {"increase_type": "fixed"}}
    train(make_config(**quick), data_dir, tmp_path, WORLD)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(UserError, match="seed was 42, now 43"):
        train(make_config(**quick, seed=43), data_dir, tmp_path, WORLD)


def test_models_without_checkpoints_are_complete_or_refused_but_never_trained_over(data_dir, make_config, tmp_path):
    config = make_config(num_epochs=2, margin_update={"increase_type": "fixed"})
    train(config, data_dir, tmp_path, WORLD)
    shutil.rmtree(tmp_path / "checkpoints")
    models = tmp_path / "models"
    first, last, mean = models / "model_1.pt", models / "model_2.pt", models / "avg_model.pt"
    content = mean.read_bytes(), last.read_bytes()
    train(config, data_dir, tmp_path, WORLD)
    assert (mean.read_bytes(), last.read_bytes()) == content
    assert plan_training(config, data_dir, tmp_path).state() == "complete (2 epochs)"
    told = f"{tmp_path} holds a model but no checkpoints, so training cannot continue; .* or remove {models}"
    for lost in (last, first):  # then the mean is alone, as after an import
        lost.unlink()
        for begin in (plan_training, partial(train, world=WORLD)):
            with pytest.raises(UserError, match=told):
                begin(config, data_dir, tmp_path)
    mean.rename(first)  # all that a training has that was killed before its first checkpoint
    assert plan_training(config, data_dir, tmp_path).state() == "not begun"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset_args": {"min_num_frames": 60, "fbank_args": {"num_mel_bins": 16}}},
            "all 48 utterances are shorter than 60",
        ),
        ({"dataloader_args": {"batch_size": 64}}, "48 utterances to train on, fewer than a batch of 64"),
        (
            {"dataset_args": {"num_frms": 20, "min_num_frames": 9, "fbank_args": {"num_mel_bins": 20}}},
            "dimension 16 .CM2., the configuration says 20 mel bins",
        ),
        ({"heldout_speakers": 7}, "heldout_speakers is 7, but .* has 8 speakers"),
        (
            {"loss": "ge2e", "dataloader_args": {"batch_size": 14}},
            "a batch of 14 is 7 speakers x 2 utterances, and there are 6 speakers; set a smaller",
        ),
    ],
)
def test_data_that_do_not_fit_get_one_line(data_dir, make_config, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(make_config(**changes), data_dir, tmp_path, WORLD)


def test_another_front_end_than_that_of_the_features_is_refused(make_data, make_config, tmp_path):
    data = make_data(tmp_path / "data")
    (data / "fbank.yaml").write_text("num_mel_bins: 16\nwindow: povey\ndither: 0.0\n")
    with pytest.raises(
        UserError, match=r"fbank.yaml: window is povey, but hamming in .*/exp/system.yaml; make the features again"
    ):
        train(make_config(), data, tmp_path / "exp", WORLD)
    (data / "fbank.yaml").write_text("[")
    with pytest.raises(UserError, match=r"fbank.yaml: not YAML"):
        train(make_config(), data, tmp_path / "exp", WORLD)


def test_features_of_another_front_end_do_not_keep_waveforms_from_training(make_config, tmp_path):
    waves = {f"s{number // 2}-{number}": tmp_path / f"{number}.wav" for number in range(6)}
    for path in waves.values():
        soundfile.write(path, np.zeros(8000), 16000)
    write_table(tmp_path / "wav.scp", waves)
    write_table(tmp_path / "utt2spk", {utt: utt[:2] for utt in waves})
    (tmp_path / "fbank.yaml").write_text("num_mel_bins: 40\n")
    args = {"num_frms": 20, "min_num_frames": 10, "aug_prob": 0.0, "fbank_args": {"num_mel_bins": 16}}
    config = make_config(train_feats="online", heldout_speakers=0, dataset_args=args)
    prepared = Preparation(config, read_data(config, tmp_path), tmp_path / "exp", WORLD)
    assert prepared.speakers == ["s0", "s1", "s2"]


def with_single_utterances(folder, make_data, speakers):
    """Return a data dir in which some speakers have lost all utterances but one."""
    data = make_data(folder, utts=4)
    for name in ("feats.scp", "utt2spk", "utt2num_frames"):
        table = read_table(data / name)
        write_table(
            data / name, {utt: v for utt, v in table.items() if utt[:5] not in speakers or utt.endswith("00.wav")}
        )
    return data


def prepared(make_config, data, folder, **changes):
    loader = {"batch_size": 4, "num_workers": 1}
    config = make_config(**{"heldout_speakers": 0, "dataloader_args": loader, **changes})
    return Preparation(config, read_data(config, data), folder, WORLD)


@pytest.mark.parametrize("loss", ["ge2e", "triplet", "prototypical", "angular_prototypical"])
def test_speakers_with_a_single_utterance_are_left_out_of_metric_losses(make_data, make_config, tmp_path, caplog, loss):
    data = with_single_utterances(tmp_path / "data", make_data, {"spk01", "spk05"})
    utts = prepared(make_config, data, tmp_path, loss=loss).sampler(4).utts
    assert {read_data(make_config(), data).index.utts[row][:5] for row in utts} == {
        f"spk0{n}" for n in (0, 2, 3, 4, 6, 7)
    }
    assert f"2 of 8 speakers have a single utterance and are left out, since loss {loss} compares" in caplog.text
    assert len(prepared(make_config, data, tmp_path, loss="softmax").sampler(4).utts) == 6 * 4 + 2


def test_copies_of_one_recording_are_a_single_utterance(make_data, make_config, tmp_path, caplog):
    data = make_data(tmp_path / "data", utts=4)
    write_table(data / "utt2uniq", {f"spk03/0{n}.wav": "spk03/00.wav" for n in range(4)})
    assert len(prepared(make_config, data, tmp_path, loss="ge2e").sampler(4).utts) == 7 * 4
    assert "1 of 8 speakers have a single utterance and are left out" in caplog.text and "is spk03" in caplog.text


def test_metric_losses_need_speakers_with_two_utterances(make_data, make_config, tmp_path):
    data = with_single_utterances(tmp_path / "data", make_data, {f"spk0{n}" for n in range(8)})
    with pytest.raises(UserError, match="no speaker has two utterances or more, which loss ge2e compares; train with"):
        prepared(make_config, data, tmp_path, loss="ge2e").sampler(4)


def test_the_data_dir_may_list_who_is_held_out(make_data, make_config, tmp_path):
    data = make_data(tmp_path / "listed")
    speakers = sorted(set(read_table(data / "utt2spk").values()))
    (data / "heldout_spk").write_text(f"{speakers[3]}\n{speakers[1]}\n")
    found = prepared(make_config, data, tmp_path, heldout_speakers=5)
    assert found.heldout == [speakers[1], speakers[3]] and not {speakers[1], speakers[3]} & set(found.speakers)
    assert prepared(make_config, data, tmp_path, heldout_speakers=0).heldout == []
    for few in ("", f"{speakers[3]}\n" * 2):
        (data / "heldout_spk").write_text(few)
        with pytest.raises(UserError, match=r"heldout_spk lists [01] speakers; list two or more, or set heldout_spe"):
            prepared(make_config, data, tmp_path, heldout_speakers=5)
    (data / "heldout_spk").write_text("nobody\n")
    with pytest.raises(UserError, match=r"heldout_spk: 'nobody' is not a speaker of .*listed; list only its own"):
        prepared(make_config, data, tmp_path, heldout_speakers=5)
