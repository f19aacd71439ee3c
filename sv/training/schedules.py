"""Learning rate and margin of each step, as WeSpeaker defines them; both depend on the step alone.

    E          steps of an epoch;  T = num_epochs E  steps in all;  W = warm_up_epoch E;  S = global batch / 64
    exponential  lr(t) = c(t) lr0 (lrF / lr0)^(t / T)
    cosine       lr(t) = c(t) (lrF + (lr0 - lrF) (1 + cos(pi t / T)) / 2)
    c(t)       = S t / W from zero, else 1 + (S - 1) t / W (S at once if S < 1), for t < W; S afterwards
    margin(t)  = m0 + (m1 - m0) r(i / N);  i = t - (start - 1) E,  N = (fix - start) E
                 r(x) = 1 - exp(x ln(1e-3 / (1 + 1e-6))) or x;  m0 before, m1 from t = (fix - 1) E on

S scales the learning rate with the batch: with 2 processes of 128, 0.1 becomes a peak of about 0.4.
`scale_with_batch: false` sets S to 1.
"""

import math
from dataclasses import dataclass

from sv.config import Config, MarginUpdate, SchedulerArgs

REFERENCE_BATCH = 64  # the global batch at which the configured learning rate is the one used


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of each step.

    Args:
        name: ExponentialDecrease or WarmupCosine.
        args: `scheduler_args` of the configuration.
        steps_per_epoch: E.
        num_epochs: epochs of the whole training.
        global_batch: samples of a step over all processes.
    """

    name: str
    args: SchedulerArgs
    steps_per_epoch: int
    num_epochs: int
    global_batch: int

    @property
    def scale(self) -> float:
        """S, the factor by which the batch scales the learning rate."""
        return self.global_batch / REFERENCE_BATCH if self.args.scale_with_batch else 1.0

    def __call__(self, step: int) -> float:
        done = step / (self.num_epochs * self.steps_per_epoch)
        first, last = self.args.initial_lr, self.args.final_lr
        if self.name == "ExponentialDecrease":
            return self._warm_up(step) * first * math.exp(done * math.log(last / first))
        assert self.name == "WarmupCosine", self.name
        return self._warm_up(step) * (last + (first - last) * (1 + math.cos(math.pi * done)) / 2)

    def _warm_up(self, step: int) -> float:
        warm_up_steps = self.args.warm_up_epoch * self.steps_per_epoch
        if step >= warm_up_steps:
            return self.scale
        if self.args.warm_from_zero:
            return self.scale * step / warm_up_steps
        return 1 + (self.scale - 1) * step / warm_up_steps if self.scale > 1 else self.scale

    def peak(self) -> float:
        """Return the highest learning rate of the training: at the end of the warm-up, or before if that is long."""
        steps = self.num_epochs * self.steps_per_epoch
        end_of_warm_up = min(self.args.warm_up_epoch * self.steps_per_epoch, steps - 1)
        return max(self(step) for step in (end_of_warm_up, *range(0, steps, max(1, steps // 1000))))


@dataclass(frozen=True)
class Margin:
    """The margin of each step.

    Args:
        update: `margin_update` of the configuration.
        final: the margin to reach, m1.
        steps_per_epoch: E.
    """

    update: MarginUpdate
    final: float
    steps_per_epoch: int

    def __call__(self, step: int) -> float:
        update = self.update
        if not update.update_margin:
            return update.initial_margin
        start, fix = (
            (epoch - 1) * self.steps_per_epoch for epoch in (update.increase_start_epoch, update.fix_start_epoch)
        )
        if update.increase_type == "fixed" or step >= fix:
            return self.final
        if step < start:
            return update.initial_margin
        x = (step - start) / (fix - start)
        ratio = x if update.increase_type == "linear" else 1 - math.exp(x * math.log(1e-3 / (1 + 1e-6)))
        return update.initial_margin + (self.final - update.initial_margin) * ratio


@dataclass(frozen=True)
class Schedules:
    """The schedules of one training."""

    learning_rate: LearningRate
    margin: Margin


def build_schedules(config: Config, steps_per_epoch: int, global_batch: int) -> Schedules:
    """Build the schedules of a resolved configuration."""
    args = config.scheduler_args
    learning_rate = LearningRate(config.scheduler, args, steps_per_epoch, config.num_epochs, global_batch)
    return Schedules(learning_rate, build_margin(config, steps_per_epoch))


def build_margin(config: Config, steps_per_epoch: int) -> Margin:
    """Build the margin's schedule of a resolved configuration."""
    final = config.margin_update.final_margin
    assert final is not None, "a resolved configuration has a final margin"
    return Margin(config.margin_update, final, steps_per_epoch)
