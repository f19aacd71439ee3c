"""The records of a training."""

import builtins
import json
import logging
import os
import re
import subprocess
import sys

import pytest
import torch

from sv.training.distributed import World
from sv.training.monitor import Clock, Meter, Monitor, cut_metrics

WORLD = World(0, 1, torch.device("cpu"))
VALUES = {
    "lr": 0.1,
    "margin": 0.2,
    "loss": 3.0,
    "accuracy": 50.0,
    "samples_per_second": 10.0,
    "data_wait": 0.01,
}


BAR = """
import sys, time
from pathlib import Path
from sv.training.monitor import Monitor
with Monitor(Path(sys.argv[1]), step=4, num_epochs=2, steps_per_epoch=4, tensorboard=False) as monitor:
    for step in range(1, 5):
        monitor.advance(2, step)
        time.sleep(0.5)
"""


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_meter_gives_means_of_the_epoch_and_of_the_steps_since_the_last_look():
    meter = Meter(WORLD)
    meter.add(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    assert meter.read_interval() == {"loss": 1.5, "accuracy": 50.0}
    meter.add(torch.tensor([6.0]), torch.tensor([True]))
    assert meter.read_interval() == {"loss": 6.0, "accuracy": 100.0}
    assert meter.read() == {"loss": 3.0, "accuracy": pytest.approx(200 / 3)}
    other = Meter(WORLD)
    other.load_state(meter.state())
    for m in (meter, other):
        m.add(torch.tensor([4.0]), torch.tensor([False]))
    assert meter.read() == other.read()
    assert meter.read_interval() == other.read_interval() == {"loss": 4.0, "accuracy": 0.0}
    meter.reset()
    assert meter.read() == {"loss": 0.0, "accuracy": 0.0}


def test_clock_counts_samples_and_time_spent_waiting():
    clock = Clock()
    clock.start("epoch", "interval")
    assert list(clock.waiting(iter([1, 2, 3]))) == [1, 2, 3]
    clock.count(30)
    assert clock.rates("interval")["samples_per_second"] > 0
    assert 0 <= clock.rates("interval")["data_wait"] <= 1
    clock.start("interval")
    assert clock.rates("interval")["samples_per_second"] == 0 < clock.rates("epoch")["samples_per_second"]


def test_metrics_and_tensorboard_hold_the_same(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Monitor(tmp_path, step=0, num_epochs=2, steps_per_epoch=4, tensorboard=True) as monitor:
        monitor.record("step", {"epoch": 1, "batch": 2, "step": 2, **VALUES})
        monitor.record("epoch", {"epoch": 1, "batch": 4, "step": 4, **VALUES, "heldout_eer": 7.5})
    step, epoch = lines(tmp_path / "metrics.jsonl")
    assert step == {"kind": "step", "epoch": 1, "batch": 2, "step": 2, **VALUES}
    board = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    for kind, values in (("step", step), ("epoch", epoch)):
        for name in (*VALUES, *(["heldout_eer"] if kind == "epoch" else [])):
            (scalar,) = board.Scalars(f"{kind}/{name}")
            assert (scalar.step, scalar.value) == (values["step"], pytest.approx(values[name]))


def test_the_eer_of_heldout_speakers_is_told_with_how_far_training_is(tmp_path, caplog):
    caplog.set_level("INFO")
    with Monitor(tmp_path, step=0, num_epochs=2, steps_per_epoch=4, tensorboard=False) as monitor:
        monitor.record("epoch", {"epoch": 1, "batch": 4, "step": 4, **VALUES})
        monitor.record("epoch", {"epoch": 2, "batch": 4, "step": 8, **VALUES, "heldout_eer": 7.5})
    told = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert told == ["epoch 2 of 2: held-out EER 7.50 %, loss 3"]


def test_the_terminal_is_told_of_each_tenth_of_a_training_and_the_log_of_all(tmp_path, caplog):
    caplog.set_level("INFO")
    with Monitor(tmp_path, step=0, num_epochs=120, steps_per_epoch=1, tensorboard=False) as monitor:
        for epoch in range(3, 121, 3):
            monitor.record("epoch", {"epoch": epoch, "batch": 1, "step": epoch, **VALUES, "heldout_eer": 7.5})
    said = [record for record in caplog.records if "held-out" in record.getMessage()]
    told = [record.getMessage().split()[1] for record in said if record.levelno > logging.INFO]
    assert len(said) == 40 and told == ["3", *(str(epoch) for epoch in range(12, 121, 12))]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["rows 24 cols 80", "rows 0 cols 80"])
def test_a_terminal_shows_one_bar_of_the_whole_training(root, tmp_path, size):
    (tmp_path / "x.py").write_text(BAR)
    words = ["script", "-qec", f"stty {size}; '{sys.executable}' '{tmp_path}/x.py' '{tmp_path}'", "/dev/null"]
    env = {**os.environ, "PYTHONPATH": str(root)}
    shown = subprocess.run(words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert re.search(r"epoch 2 of 2:  88%\|[^|]+\| [\d:]+, [\d:]+ left", shown), shown


def test_missing_tensorboard_is_told_and_harmless(tmp_path, monkeypatch, caplog):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    caplog.set_level("INFO")
    with Monitor(tmp_path, step=0, num_epochs=2, steps_per_epoch=4, tensorboard=True) as monitor:
        monitor.record("step", {"epoch": 1, "batch": 2, "step": 2, **VALUES})
    assert "TensorBoard is not installed" in caplog.text
    assert len(lines(tmp_path / "metrics.jsonl")) == 1


def test_what_comes_after_the_checkpoint_is_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    cut_metrics(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    cut_metrics(path, 0)
    assert path.read_text() == ""
    cut_metrics(tmp_path / "none", 0)
