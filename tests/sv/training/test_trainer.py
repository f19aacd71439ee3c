"""The loop: how a training goes on after any end, what stops it, and what it keeps."""

import json
import random
import struct
import time

import numpy as np
import pytest
import torch

from sv.config import parse_config
from sv.errors import UserError
from sv.io import read_table
from sv.training.checkpoint import load_tensors
from sv.training.distributed import World
from sv.training.run import train
from sv.training.trainer import Trainer
from tests.waiting import wait_until

WORLD = World(0, 1, torch.device("cpu"))


def records(exp_dir, *names):
    lines = [json.loads(line) for line in (exp_dir / "metrics.jsonl").read_text().splitlines()]
    return [[line.get(name) for name in names] for line in lines] if names else lines


LEARNED = ("kind", "epoch", "batch", "step", "lr", "margin", "loss", "accuracy", "heldout_eer", "best_epoch")


def same_result(exp_dir, other):
    """Models bit by bit, and what was learned when."""
    for path in sorted((exp_dir / "models").glob("*.pt")):
        assert path.read_bytes() == (other / "models" / path.name).read_bytes(), path.name
    assert records(exp_dir, *LEARNED) == records(other, *LEARNED)


@pytest.fixture(scope="session")
def undisturbed(start_training, data_dir, tmp_path_factory):
    """A training of a configuration that nothing disturbed, by its number of threads."""
    done = {}

    def get(config, threads=1):
        key = (config.model_dump_json(), threads)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("undisturbed") / "exp"
            process = start_training(config, data_dir, done[key], threads=threads)
            process.join()
            assert process.exitcode == 0
        return done[key]

    return get


def kill_and_go_on(start, moments, checkpoints):
    """Start again and again, kill some seconds after a file of each name has come, then let it end.

    Args:
        start: gives a running process.
        moments: (name of a file in `checkpoints`, seconds).

    Returns:
        the number of kills that hit.
    """
    hits = 0
    for name, delay in moments:
        process = start()
        while process.is_alive() and not any(checkpoints.glob(name)):
            time.sleep(0.0005)
        process.join(delay)
        hits += process.is_alive()
        process.kill()
        process.join()
    process = start()
    process.join()
    assert process.exitcode == 0
    return hits


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "seed"), [(1, 0), (2, 1)])
def test_killed_at_any_moment_it_ends_with_the_same_weights(
    start_training, undisturbed, data_dir, make_config, tmp_path, threads, seed
):
    config = make_config(save_minutes=1e-9, num_epochs=2)  # a checkpoint after each step
    expected = undisturbed(make_config(num_epochs=2), threads)
    draw = random.Random(seed)
    steps = sorted(draw.sample(range(1, 10), 4))  # of 12
    moments = [(f"step_{step:08d}.pt", draw.uniform(0, 0.02)) for step in steps]
    exp = tmp_path / "exp"
    hits = kill_and_go_on(lambda: start_training(config, data_dir, exp, threads=threads), moments, exp / "checkpoints")
    assert hits >= 2
    same_result(exp, expected)


@pytest.mark.slow
def test_killed_while_it_writes_a_checkpoint_it_ends_with_the_same_weights(
    start_training, undisturbed, data_dir, make_config, tmp_path
):
    exp = tmp_path / "exp"
    moments = [(name, 0.0) for name in (".step_*.pt.*.tmp", ".step_*.sha256.*.tmp", "step_00000012.pt")]
    hits = kill_and_go_on(
        lambda: start_training(make_config(save_minutes=1e-9), data_dir, exp), moments, exp / "checkpoints"
    )
    assert hits >= 2
    same_result(exp, undisturbed(make_config()))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["ge2e", "sphere"])
def test_metric_losses_and_annealing_go_on_in_mid_epoch(data_dir, make_config, tmp_path, monkeypatch, loss):
    """The draws of a step, and the margin that the annealing gives, depend on the step alone."""
    config = make_config(loss=loss, save_minutes=1e-9, num_epochs=2)
    train(config, data_dir, tmp_path / "whole", WORLD)
    step = Trainer._step

    def until_the_ninth(trainer, batch):
        if trainer.place.step == 8:
            raise KeyboardInterrupt
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "_step", until_the_ninth)
    with pytest.raises(KeyboardInterrupt):
        train(config, data_dir, tmp_path / "ended", WORLD)
    monkeypatch.setattr(Trainer, "_step", step)
    train(config, data_dir, tmp_path / "ended", WORLD)
    same_result(tmp_path / "ended", tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_saves_and_ends(start_training, undisturbed, data_dir, make_config, tmp_path):
    exp = tmp_path / "exp"
    config = make_config()
    process = start_training(config, data_dir, exp)
    wait_until(lambda: (exp / "metrics.jsonl").is_file() and records(exp), process, pause=0.001)
    process.terminate()
    process.join()
    assert process.exitcode == 1
    assert "ended by SIGTERM at step" in (tmp_path / "exp.log").read_text()
    assert list((exp / "checkpoints").glob("*.pt"))
    process = start_training(config, data_dir, exp)
    process.join()
    same_result(exp, undisturbed(config))


@pytest.mark.slow
def test_a_damaged_last_checkpoint_falls_back_and_ends_the_same(
    start_training, undisturbed, data_dir, make_config, tmp_path
):
    exp = tmp_path / "exp"
    train(make_config(), data_dir, exp, WORLD)
    last = max((exp / "checkpoints").glob("*.pt"))
    with open(last, "r+b") as f:
        f.truncate(1000)
    process = start_training(make_config(), data_dir, exp)
    process.join()
    assert process.exitcode == 0
    assert f"{last.name} is damaged" in (tmp_path / "exp.log").read_text()
    same_result(exp, undisturbed(make_config()))


def spoil(make_data, folder, utts):
    """A data dir in which the range of some matrices is NaN, which is what one NaN makes of a CM2 matrix."""
    folder = make_data(folder)
    with open(folder / "feats.ark", "r+b") as f:
        for utt in utts:
            f.seek(int(read_table(folder / "feats.scp")[utt].rpartition(":")[2]) + len(b"\0BCM2 ") + 4)
            f.write(struct.pack("<f", float("nan")))
    return folder


def test_features_that_are_not_finite_stop_the_training_and_nothing_is_saved(make_data, make_config, tmp_path):
    data = spoil(make_data, tmp_path / "data", ["spk03/02.wav"])
    with pytest.raises(UserError, match=r"features are not finite at step \d+ \(epoch 1\): 1 of 8 .*: spk03/02.wav;"):
        train(make_config(heldout_speakers=0, save_minutes=1e-9), data, tmp_path / "exp", WORLD)
    for path in (tmp_path / "exp" / "checkpoints").glob("*.pt"):
        assert all(value.isfinite().all() for value in load_tensors(path)["model"].values())
    assert [path.name for path in (tmp_path / "exp" / "models").glob("*.pt")] == ["model_0.pt"]


def test_a_loss_that_overflows_stops_the_training(data_dir, make_config, tmp_path):
    config = make_config(scheduler_args={"initial_lr": 1e30, "warm_up_epoch": 0})
    with pytest.raises(
        UserError, match=r"the (loss|gradient) is not finite at step \d+ .* lower scheduler_args.initial_lr"
    ):
        train(config, data_dir, tmp_path, WORLD)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"precision": "fp16"}, {"optimizer": "AdamW"}])
def test_other_precisions_and_optimizers_train(data_dir, make_config, tmp_path, changes):
    lr = {"initial_lr": 0.01, "warm_up_epoch": 1} if "optimizer" in changes else {"initial_lr": 0.4, "warm_up_epoch": 1}
    margin = {"final_margin": 0.0}  # a growing one would raise the loss
    config = make_config(heldout_speakers=0, scheduler_args=lr, margin_update=margin, clip_grad_norm=20.0, **changes)
    train(config, data_dir, tmp_path, WORLD)
    losses = [loss for kind, loss in records(tmp_path, "kind", "loss") if kind == "epoch"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(start_training, data_dir, make_config, tmp_path, worlds):
    """Both have the same global batch. Batch norm is frozen, since each process would have its own statistics."""
    common = {"freeze_batch_norm": True, "num_epochs": 2, "scheduler_args": {"initial_lr": 0.2, "warm_up_epoch": 1}}
    one = make_config(**common, dataloader_args={"batch_size": 8, "num_workers": 0})
    two = make_config(**common, dataloader_args={"batch_size": 4, "num_workers": 1})
    processes = [start_training(one, data_dir, tmp_path / "one")]
    processes += [start_training(two, data_dir, tmp_path / "two", env=env) for env in worlds(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    result, expected = (load_tensors(tmp_path / name / "models" / "model_2.pt") for name in ("two", "one"))
    for key, value in expected.items():
        torch.testing.assert_close(result[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    names = ("kind", "step", "lr", "loss", "accuracy", "heldout_eer")
    for line, other in zip(records(tmp_path / "two", *names), records(tmp_path / "one", *names), strict=True):
        assert line[0] == other[0]
        assert line[1:] == [value if value is None else pytest.approx(value, rel=1e-4) for value in other[1:]]


@pytest.mark.slow
def test_a_training_of_one_process_goes_on_in_two(start_training, data_dir, make_config, tmp_path, worlds):
    exp = tmp_path / "exp"
    config = make_config(freeze_batch_norm=True, save_minutes=1e-9)
    process = start_training(config, data_dir, exp)
    wait_until(lambda: len(list((exp / "checkpoints").glob("*.pt"))) > 1, process, pause=0.001)
    process.kill()
    process.join()
    processes = [start_training(config, data_dir, exp, env=env) for env in worlds(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    log = (tmp_path / "exp.log").read_text()
    assert "processes were 1, now 2: the result will not be bit-identical" in log
    assert records(exp, "step")[-1] == [18]


@pytest.mark.slow
def test_a_killed_process_ends_the_others(start_training, data_dir, make_config, tmp_path, worlds):
    config = make_config(num_epochs=10**4, heldout_speakers=0)
    processes = [start_training(config, data_dir, tmp_path / "exp", env=env) for env in worlds(2)]
    wait_until((tmp_path / "exp" / "metrics.jsonl").is_file, *processes)
    processes[1].kill()
    processes[0].join(30)
    ended = processes[0].exitcode
    processes[0].kill()
    assert ended not in (None, 0)


def test_state_holds_tensors_and_plain_values_alone(data_dir, make_config, tmp_path):
    train(make_config(num_epochs=1, margin_update={"increase_type": "fixed"}), data_dir, tmp_path, WORLD)
    (path,) = (tmp_path / "checkpoints").glob("*.pt")
    state = load_tensors(path)

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values()), *map(kinds, value)) if value else set()
        return set().union(*map(kinds, value)) if isinstance(value, list | tuple) and value else {type(value)}

    assert kinds(state) <= {torch.Tensor, int, float, str, bool, type(None), list, tuple}
    assert parse_config(state["config"], "checkpoint").num_speakers == 6
    assert np.isfinite(state["schedules"]["lr"])


@pytest.fixture
def damaged_dir(make_data, tmp_path):
    """A data dir with one utterance whose header says another length than the tables."""
    folder = make_data(tmp_path / "damaged")
    return folder, damage(folder, 20)


def damage(folder, row):
    """Change the length in the header of an utterance, which is returned."""
    utt, location = (folder / "feats.scp").read_text().splitlines()[row].split()
    ark, offset = location.rsplit(":", 1)
    with open(folder / ark, "r+b") as f:
        f.seek(int(offset) + 15)
        f.write(struct.pack("<i", 7))
    return utt


@pytest.mark.slow
def test_a_bad_file_is_replaced_listed_and_the_same_after_a_break(damaged_dir, make_config, tmp_path, monkeypatch):
    folder, utt = damaged_dir
    config = make_config(max_bad_share=0.1, heldout_speakers=0)
    train(config, folder, tmp_path / "exp", WORLD)
    assert read_table(tmp_path / "exp" / "bad_utts").keys() == {utt}
    assert "feats.scp:21" in (tmp_path / "exp" / "bad_utts").read_text()
    assert "1 utterances could not be read and were replaced" in (tmp_path / "exp" / "train.log").read_text()

    def stop(trainer, batch, step=Trainer._step):
        step(trainer, batch)
        if trainer.place.step == 11:
            trainer._save()
            raise UserError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stop)
        with pytest.raises(UserError, match="stopped"):
            train(config, folder, tmp_path / "broken_off", WORLD)
    train(config, folder, tmp_path / "broken_off", WORLD)
    same_result(tmp_path / "exp", tmp_path / "broken_off")
    assert read_table(tmp_path / "broken_off" / "bad_utts").keys() == {utt}


def test_a_metric_loss_ends_when_a_speaker_can_not_be_read(make_data, make_config, tmp_path):
    folder = make_data(tmp_path / "data", utts=2)
    for row in (6, 7):
        damage(folder, row)
    compares = {"sampler": "pxk", "batch_size": 8}
    config = make_config(max_bad_share=0.5, heldout_speakers=0, loss="triplet", dataloader_args=compares)
    with pytest.raises(UserError, match=r"feats.scp:[78]: .*; spk03 has no other utterance that can be read"):
        train(config, folder, tmp_path / "exp", WORLD)


def test_more_bad_files_than_their_share_end_the_training(damaged_dir, make_config, tmp_path):
    folder, utt = damaged_dir
    with pytest.raises(UserError, match=rf"1 of 64 utterances cannot be read, more than max_bad_share 0\.01 .*{utt}"):
        train(make_config(heldout_speakers=0), folder, tmp_path / "exp", WORLD)
    assert read_table(tmp_path / "exp" / "bad_utts").keys() == {utt}


@pytest.mark.slow
def test_models_are_kept_by_interval_and_at_the_end(data_dir, make_config, tmp_path):
    train(make_config(num_epochs=5, save_epoch_interval=2, heldout_speakers=0), data_dir, tmp_path, WORLD)
    names = ["avg_model.pt", *(f"model_{n}.pt" for n in (0, 2, 4, 5))]
    assert sorted(path.name for path in (tmp_path / "models").glob("*.pt")) == names
