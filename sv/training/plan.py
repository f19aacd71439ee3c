"""Plan a training without running it: how far it has come, its steps, schedules and disk space."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sv.config import Config
from sv.jobs.disk import check_free, format_bytes
from sv.training.averaging import is_model_due
from sv.training.checkpoint import find_damage
from sv.training.dataset import read_data
from sv.training.distributed import World
from sv.training.network import build_network
from sv.training.preparation import Preparation
from sv.training.schedules import Schedules, build_schedules
from sv.training.trainer import Place

_MAX_ROWS = 20  # in the table of epochs
_BYTES = 4  # of a parameter, and of each of its moments


@dataclass(frozen=True)
class TrainingPlan:
    """The plan of a training: what it has done, and what is left to do.

    Attributes:
        config: resolved, with the number of speakers.
        exp_dir: its folder.
        place: how far it has come; None if there is no checkpoint.
        is_complete: whether nothing is left to do.
        num_utts: utterances to train on.
        schedules: learning rate and margin of each step.
    """

    config: Config
    exp_dir: Path
    place: Place | None
    is_complete: bool
    num_utts: int
    schedules: Schedules

    def state(self) -> str:
        """Describe how far the training has come."""
        if self.is_complete:
            return f"complete ({self.config.num_epochs} epochs)"
        if self.place is None:
            return "not begun"
        return f"goes on at epoch {self.place.epoch}, iteration {self.place.step_in_epoch + 1}"

    def lines(self) -> list[str]:
        """Describe the plan, a line each; an unfinished training has a table of its epochs."""
        steps, batch = self.schedules.learning_rate.steps_per_epoch, self.schedules.learning_rate.global_batch
        found = [
            f"{self.exp_dir}: {self.state()}",
            f"{self.config.num_speakers} speakers, {self.num_utts} utterances; "
            f"{self.config.num_epochs} epochs of {steps} iterations, batch {batch} in all",
            f"disk: {format_bytes(self.bytes())} for models and checkpoints",
        ]
        return found if self.is_complete else found + self._table()

    def _table(self) -> list[str]:
        """Return lines with learning rate and margin at the beginning of epochs, and at the last step."""
        lr, margin, epochs = self.schedules.learning_rate, self.schedules.margin, self.config.num_epochs
        steps = lr.steps_per_epoch
        stride = -(-epochs // _MAX_ROWS)
        rows = [(str(epoch), (epoch - 1) * steps) for epoch in range(1, epochs + 1, stride)]
        rows.append(("end", epochs * steps - 1))
        head = f"{'epoch':>7} {'learning rate':>14} {'margin':>8}"
        return [head, *(f"{name:>7} {lr(step):>14.4g} {margin(step):>8.4g}" for name, step in rows)]

    def bytes(self) -> float:
        """Estimate the disk space of the whole training."""
        return training_bytes(self.config)


def training_bytes(config: Config) -> float:
    """Estimate the disk space of a whole training; `config` has the number of speakers."""
    with torch.device("meta"):
        size = _BYTES * sum(value.numel() for value in build_network(config).state_dict().values())
    models = 3 + sum(is_model_due(config, epoch) for epoch in range(1, config.num_epochs + 1))  # 0, best, average
    moments = 1 if config.optimizer == "SGD" else 2
    checkpoints = config.keep_checkpoints + 1  # one is written before another goes
    return size * (models + checkpoints * (1 + moments))


def plan_training(config: Config, data_dir: Path, exp_dir: Path, *, num_procs: int = 1) -> TrainingPlan:
    """Check configuration, data and checkpoints as `train` does, in one process.

    Args:
        config, data_dir, exp_dir: as of `train`.
        num_procs: number of processes that will train.

    Raises:
        UserError: as `train` raises before its first step, also if the disk has no room for a training to come.
    """
    world = World(0, num_procs, torch.device("cpu"))
    prepared = Preparation(config, read_data(config, data_dir), exp_dir, world)
    state = prepared.last_state()
    is_complete = prepared.is_complete(state) and not find_damage(prepared.last_model)
    if state is None and not is_complete:
        check_free({exp_dir: training_bytes(prepared.config)})
    global_batch = prepared.global_batch(state)
    sampler = prepared.sampler(global_batch)
    schedules = build_schedules(prepared.config, sampler.steps, global_batch)
    place = Place(**state["place"]) if state else None
    return TrainingPlan(prepared.config, exp_dir, place, is_complete, len(sampler.utts), schedules)
