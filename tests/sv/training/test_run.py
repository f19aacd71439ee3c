"""Whole trainings: what they leave, and what they do when they are complete."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sv.config import Config, load_config
from sv.errors import UserError
from sv.io import read_table
from sv.training.checkpoint import load_tensors
from sv.training.dataset import read_data
from sv.training.distributed import World
from sv.training.network import build_network
from sv.training.preparation import Preparation
from sv.training.run import _Run, train
from tests.waiting import wait_until

WORLD = World(0, 1, torch.device("cpu"))


def records(exp_dir, *names):
    lines = [json.loads(line) for line in (exp_dir / "metrics.jsonl").read_text().splitlines()]
    return [[line.get(name) for name in names] for line in lines] if names else lines


@pytest.mark.slow
def test_a_training_learns_and_leaves_its_files(data_dir, make_config, tmp_path, caplog):
    caplog.set_level("INFO")
    config = make_config(num_epochs=6)
    train(config, data_dir, tmp_path / "exp", WORLD)
    exp = tmp_path / "exp"
    epochs = [line for line in records(exp) if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1]["loss"] < 0.9 * epochs[0]["loss"]
    assert [line["epoch"] for line in epochs if "heldout_eer" in line] == [2, 4, 6]
    assert len(list((exp / "models").glob("model_*.pt"))) == 7
    last = [load_tensors(exp / "models" / f"model_{epoch}.pt") for epoch in (5, 6)]
    for key, value in load_tensors(exp / "models" / "avg_model.pt").items():
        expected = (last[0][key].double() + last[1][key]) / 2
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=0.5 * (not value.is_floating_point()))
    assert load_tensors(exp / "models" / "best.pt").keys() == load_tensors(exp / "models" / "model_6.pt").keys()
    assert len(list((exp / "checkpoints").glob("*.pt"))) == 2
    assert list(read_table(exp / "spk2id").values()) == ["0", "1", "2", "3", "4", "5"]
    heldout = (exp / "heldout_spk").read_text().split()
    assert len(heldout) == 2
    assert not set(heldout) & set(read_table(exp / "spk2id"))
    for words in (
        "effective learning rate: first 0, peak",
        "6 epochs of 6 iterations",
        "6 speakers to train on, 2 held out; 48 utterances; of so few held out, the EER says little",
    ):
        assert words in caplog.text
    train_log = (exp / "train.log").read_text()
    assert "held-out EER" in train_log


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_are_pinned_for_a_gpu_alone(
    device: str, data_dir: Path, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    config, world = make_config(), World(0, 1, torch.device(device))
    prepared = Preparation(config, read_data(config, data_dir), tmp_path, world)
    assert _Run(prepared)._inputs(prepared.sampler(8)).loader.pin is (device == "cuda")


def test_saved_configuration_alone_rebuilds_the_network(data_dir, make_config, tmp_path):
    train(make_config(num_epochs=1, margin_update={"increase_type": "fixed"}), data_dir, tmp_path, WORLD)
    net = build_network(load_config(tmp_path / "config.yaml"))
    net.load_flat(load_tensors(tmp_path / "models" / "model_1.pt"), "test")


def test_a_complete_training_does_nothing_but_mend_its_last_model(data_dir, make_config, tmp_path, caplog):
    caplog.set_level("INFO")
    config = make_config(num_epochs=1, margin_update={"increase_type": "fixed"})
    train(config, data_dir, tmp_path, WORLD)
    model = tmp_path / "models" / "model_1.pt"
    content = model.read_bytes()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    train(config, data_dir, tmp_path, WORLD)
    assert "training is complete (1 epochs); nothing to do" in caplog.text
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    model.write_bytes(b"")
    train(config, data_dir, tmp_path, WORLD)
    assert model.read_bytes() == content


def test_another_number_of_threads_is_told(data_dir, make_config, tmp_path, caplog):
    config = make_config(num_epochs=1, margin_update={"increase_type": "fixed"})
    train(config, data_dir, tmp_path, WORLD)
    torch.set_num_threads(2)
    train(config, data_dir, tmp_path, WORLD)
    assert "threads were 1, now 2: the result will not be bit-identical" in caplog.text


@pytest.mark.slow
def test_two_trainings_do_not_share_a_folder(start_training, data_dir, make_config, tmp_path):
    config = make_config(num_epochs=10**4, heldout_speakers=0)
    process = start_training(config, data_dir, tmp_path / "exp")
    wait_until((tmp_path / "exp" / "metrics.jsonl").is_file, process)
    with pytest.raises(UserError, match=rf"exp is being trained by process {process.pid} on"):
        train(config, data_dir, tmp_path / "exp", WORLD)
    process.terminate()
    process.join()


@pytest.mark.slow
def test_a_model_to_start_from_is_needed_only_at_the_start(data_dir, make_config, tmp_path):
    quick = {"num_epochs": 1, "margin_update": {"increase_type": "fixed"}}
    train(make_config(**quick), data_dir, tmp_path / "first", WORLD)
    model = tmp_path / "first" / "models" / "model_1.pt"
    train(make_config(**quick, model_init=str(model)), data_dir, tmp_path / "second", WORLD)
    first, second = load_tensors(model), load_tensors(tmp_path / "second" / "models" / "model_0.pt")
    assert all(value.equal(second[key]) for key, value in first.items())
    model.unlink()
    train(make_config(**quick, model_init=str(model)), data_dir, tmp_path / "second", WORLD)
    with pytest.raises(UserError, match=r"model_1.pt does not exist"):
        train(make_config(**quick, model_init=str(model)), data_dir, tmp_path / "third", WORLD)
    with pytest.raises(UserError, match=r"second was begun with another configuration: model_init was "):
        train(make_config(**quick), data_dir, tmp_path / "second", WORLD)


def test_lack_of_memory_names_what_to_lower(data_dir, make_config, tmp_path):
    huge = {"num_frms": 10**13, "min_num_frames": 10, "fbank_args": {"num_mel_bins": 16}}
    with pytest.raises(UserError) as error:
        train(make_config(dataset_args=huge), data_dir, tmp_path / "exp", WORLD)
    assert re.fullmatch(
        r"out of memory \(another [\d.]+ PiB wanted\); resnet_small in fp32 trains with 8 crops of 1\d+ frames "
        r"per process, on CPU \(.*\): lower dataloader_args.batch_size or dataset_args.num_frms, or set "
        r"precision=bf16; with many speakers and processes, split_head=true",
        str(error.value),
    )


def test_a_training_that_diverges_is_told(data_dir, make_config, tmp_path, caplog):
    wild = {"initial_lr": 1e4, "final_lr": 1e4, "warm_up_epoch": 0}
    still = {"weight_decay": 0.0, "momentum": 0.0, "nesterov": False}
    train(make_config(num_epochs=1, scheduler_args=wild, optimizer_args=still), data_dir, tmp_path / "exp", WORLD)
    assert "epoch 1: the network does not seem to learn: the loss is " in caplog.text
    assert "but the network has not learned: the loss is " in (tmp_path / "exp" / "train.log").read_text()
    assert "lower scheduler_args.initial_lr (now 10000)" in caplog.text
