"""The plan of a training agrees with the training."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from sv.errors import UserError
from sv.training.distributed import World
from sv.training.plan import plan_training
from sv.training.run import train

ALONE = World(0, 1, torch.device("cpu"))


def rows(plan):
    """(epoch or "end", learning rate, margin) of the table."""
    lines = plan.lines()
    begin = next(number for number, line in enumerate(lines) if line.split()[0] == "epoch")
    return [(words[0], float(words[1]), float(words[2])) for words in map(str.split, lines[begin + 1 :])]


@pytest.mark.slow
def test_schedules_and_iterations_are_those_of_the_training(data_dir, make_config, tmp_path):
    config = make_config(log_batch_interval=1)
    plan = plan_training(config, data_dir, tmp_path / "exp")
    assert plan.state() == "not begun"
    assert not (tmp_path / "exp").exists()
    assert "6 speakers, 48 utterances; 3 epochs of 6 iterations, batch 8 in all" in plan.lines()
    train(config, data_dir, tmp_path / "exp", ALONE)
    records = [json.loads(line) for line in (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()]
    firsts = {line["epoch"]: line for line in reversed(records) if line["batch"] == 1}
    expected = [(str(epoch), line["lr"], line["margin"]) for epoch, line in sorted(firsts.items())]
    expected.append(("end", records[-1]["lr"], records[-1]["margin"]))
    assert rows(plan) == [(name, float(f"{lr:.4g}"), float(f"{margin:.4g}")) for name, lr, margin in expected]


@pytest.mark.slow
def test_it_tells_how_far_a_training_has_come_and_its_disk(data_dir, make_config, tmp_path):
    config = make_config(save_epoch_interval=1, model_args={"m_channels": 8, "embed_dim": 64})
    train(config, data_dir, tmp_path, ALONE)
    plan = plan_training(config, data_dir, tmp_path)
    assert plan.state() == "complete (3 epochs)"
    written = sum(path.stat().st_size for path in tmp_path.glob("*/*.pt"))
    # More: the average, which stage 4 makes, and the checkpoint that is written while others are kept.
    assert written < plan.bytes() < 1.5 * written
    for path in sorted((tmp_path / "checkpoints").glob("*.pt"))[1:]:
        path.unlink()
    assert plan_training(config, data_dir, tmp_path).state() == "goes on at epoch 3, iteration 1"
    (tmp_path / "models" / "model_3.pt").unlink()
    assert not plan_training(config, data_dir, tmp_path).is_complete


def test_many_epochs_become_twenty_rows_at_most(data_dir, make_config, tmp_path):
    names = [name for name, _, _ in rows(plan_training(make_config(num_epochs=150), data_dir, tmp_path, num_procs=2))]
    assert names[:3] == ["1", "9", "17"] and names[-1] == "end" and len(names) <= 21


def test_a_full_disk_is_told_by_plan_and_training_before_the_first_step(data_dir, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e5))
    for begin in (plan_training, lambda *args: train(*args, ALONE)):
        with pytest.raises(UserError, match=r"exp: about .* MB are needed, 0.1 MB are free"):
            begin(make_config(), data_dir, tmp_path / "exp")
    assert not (tmp_path / "exp" / "models").exists()
