"""What a training would do, without doing it: how far it has come, its steps, schedules and disk."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sv.config import Config
from sv.jobs.disk import in_words
from sv.training.checkpoint import find_damage
from sv.training.dataset import read_data
from sv.training.distributed import World
from sv.training.network import build_network
from sv.training.run import Experiment, check_arks
from sv.training.schedules import LearningRate, Margin
from sv.training.trainer import Place, is_model_due

_MOST_ROWS = 20  # of the table of epochs
_BYTES = 4  # a parameter, and each of its moments


@dataclass(frozen=True)
class TrainingPlan:
    """A training that has not ended.

    Attributes:
        config: resolved, with the number of speakers.
        exp_dir: its folder.
        place: how far it has come; None: not begun.
        num_utts: utterances to train on.
        learning_rate, margin: of each step.
    """

    config: Config
    exp_dir: Path
    place: Place | None
    num_utts: int
    learning_rate: LearningRate
    margin: Margin

    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        last = self.exp_dir / "models" / f"model_{self.config.num_epochs}.pt"
        return self.place is not None and self.place.epoch > self.config.num_epochs and not find_damage(last)

    def state(self) -> str:
        if self.place is None:
            return "not begun"
        if self.is_complete():
            return f"complete ({self.config.num_epochs} epochs)"
        return f"goes on at epoch {self.place.epoch}, iteration {self.place.step_in_epoch + 1}"

    def lines(self) -> list[str]:
        """All of it in words."""
        steps, batch = self.learning_rate.steps_per_epoch, self.learning_rate.global_batch
        found = [
            f"{self.exp_dir}: {self.state()}",
            f"{self.config.num_speakers} speakers, {self.num_utts} utterances; "
            f"{self.config.num_epochs} epochs of {steps} iterations, batch {batch} in all",
            f"disk: {in_words(self.bytes())} for models and checkpoints",
        ]
        return found if self.is_complete() else found + self._table()

    def _table(self) -> list[str]:
        """Learning rate and margin at the beginning of epochs, and at the last step."""
        steps, epochs = self.learning_rate.steps_per_epoch, self.config.num_epochs
        stride = -(-epochs // _MOST_ROWS)
        rows = [(str(epoch), (epoch - 1) * steps) for epoch in range(1, epochs + 1, stride)]
        rows.append(("end", epochs * steps - 1))
        head = f"{'epoch':>7} {'learning rate':>14} {'margin':>8}"
        return [
            head,
            *(f"{name:>7} {self.learning_rate(step):>14.4g} {self.margin(step):>8.4g}" for name, step in rows),
        ]

    def bytes(self) -> float:
        """Disk that the whole training takes, about."""
        config = self.config
        with torch.device("meta"):
            size = _BYTES * sum(value.numel() for value in build_network(config).state_dict().values())
        models = 3 + sum(is_model_due(config, epoch) for epoch in range(1, config.num_epochs + 1))  # 0, best, average
        moments = 1 if config.optimizer == "SGD" else 2
        checkpoints = config.keep_checkpoints + 1  # one is written before another goes
        return size * (models + checkpoints * (1 + moments))


def plan_training(config: Config, data_dir: Path, exp_dir: Path, *, num_procs: int = 1) -> TrainingPlan:
    """Look at configuration, data and checkpoints as `train` does, in one process.

    Args: as of `train`.
        num_procs: processes that will train.

    Raises:
        UserError: what `train` would stop for before its first step.
    """
    check_arks(config, data_dir)
    world = World(0, num_procs, torch.device("cpu"))
    experiment = Experiment(config, read_data(config, data_dir), exp_dir, world)
    state = experiment.last_state()
    global_batch = experiment.global_batch(state)
    sampler = experiment.sampler(global_batch)
    learning_rate, margin = experiment.schedules(global_batch, sampler.steps)
    place = Place(**state["place"]) if state else None
    return TrainingPlan(experiment.config, exp_dir, place, len(sampler.utts), learning_rate, margin)
