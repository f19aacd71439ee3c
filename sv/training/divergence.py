"""Find a training that has gone wrong: a loss or gradient that is not finite, or a network that does not learn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_RISE, _RISE_AT_CHANCE = 10, 1.5  # times the first loss; the second if the accuracy is at chance, too
_NEAR_CHANCE = 10.0  # percent; less for many speakers
_IDLE_EPOCHS = 5
_BAD_EER = 45.0  # percent
_NAMED = 5  # utterances named in an error; the others are counted


@dataclass(frozen=True)
class _Step:
    epoch: int
    step: int
    utts: NDArray[np.int64]
    losses: Tensor  # (batch,)
    norm: Tensor | None  # 0-d


class NonFiniteGuard:
    """Check of the losses of several steps at once, since on a GPU each look waits for the device.

    Args:
        name: returns the id of an utterance, from its draw (`sv.data.sampling`).
        features: returns the features (batch, frames, mels) of a step, from its utterances and epoch.
        remedy: what to do about features that are not finite.
    """

    def __init__(
        self, name: Callable[[int], str], features: Callable[[NDArray[np.int64], int], Tensor], remedy: str
    ) -> None:
        self._name, self._features, self._remedy = name, features, remedy
        self._steps: list[_Step] = []

    def note(self, epoch: int, step: int, utts: NDArray[np.int64], losses: Tensor, norm: Tensor | None) -> None:
        """Remember a step.

        Args:
            epoch, step: numbers in the training, from 1.
            utts: (batch,) draws of the utterances.
            losses: (batch,) one for each utterance.
            norm: norm of the gradient, 0-d; None if it may overflow (fp16, whose scaler then skips the step).
        """
        self._steps.append(_Step(epoch, step, utts, losses.detach(), norm))

    def find(self) -> tuple[int, str] | None:
        """Check the steps since the last call; None if everything is finite.

        Returns:
            how exact the answer is, and the first bad step in words with its utterances. 0: their features are not
            finite (batch norm spreads that over the batch); 1: their losses are not; 2: the batch's gradient is not.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return None
        fine = torch.stack([_is_finite(step) for step in steps])
        return None if bool(fine.all()) else self._describe(steps[int((~fine).int().argmax())])

    def _describe(self, step: _Step) -> tuple[int, str]:
        where = f"at step {step.step} (epoch {step.epoch})"
        finite_features = self._features(step.utts, step.epoch).isfinite().flatten(1).all(dim=1).cpu().numpy()
        finite_losses = step.losses.isfinite().cpu().numpy()
        if not finite_features.all():
            return (
                0,
                f"features are not finite {where}: {self._names(step, ~finite_features)}; {self._remedy}",
            )
        remedy = "lower scheduler_args.initial_lr, set clip_grad_norm, or use precision fp32 or bf16"
        if not finite_losses.all():
            return 1, f"the loss is not finite {where}: {self._names(step, ~finite_losses)}; {remedy}"
        everything = np.ones(len(step.utts), dtype=bool)
        return (
            2,
            f"the gradient is not finite {where}, although all losses are: {self._names(step, everything)}; {remedy}",
        )

    def _names(self, step: _Step, bad: NDArray[np.bool_]) -> str:
        names = [self._name(int(utt)) for utt in step.utts[bad]]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{len(names)} of {len(step.utts)} utterances: {', '.join(names[:_NAMED])}{more}"


def _is_finite(step: _Step) -> Tensor:
    fine = step.losses.isfinite().all()
    return fine if step.norm is None else fine & step.norm.isfinite()


@dataclass
class Progress:
    """Tell from the figures of the epochs whether a network learns.

    The bounds are far from the figures of a normal training: the loss may rise while the margin grows, and with many
    speakers the accuracy is low in the first epochs.

    Args:
        num_classes: what an answer is chosen from: the speakers, or those of a batch.

    Attributes:
        first_loss: mean loss of the first step; NaN before it.
        idle_epochs: epochs in a row, up to now, with an accuracy at chance.
    """

    num_classes: int
    first_loss: float = float("nan")
    idle_epochs: int = 0

    def end_epoch(self, loss: float, accuracy: float, heldout_eer: float | None) -> str:
        """Return why the network does not seem to learn, or "".

        Args:
            loss: mean of the epoch.
            accuracy: training accuracy of the epoch, in percent.
            heldout_eer: in percent; None if it was not measured.
        """
        chance = 100 / self.num_classes
        at_chance = accuracy <= min(2 * chance, chance + _NEAR_CHANCE)
        self.idle_epochs = self.idle_epochs + 1 if at_chance else 0
        found = []
        if loss > _RISE * max(self.first_loss, 1.0) or (at_chance and loss > _RISE_AT_CHANCE * self.first_loss):
            found.append(f"the loss is {loss:,.4g}, and was {self.first_loss:.4g} at the first step")
        if self.idle_epochs >= _IDLE_EPOCHS:
            found.append(
                f"the accuracy has been at chance ({chance:.3g} %) for {self.idle_epochs} epochs: {accuracy:.3g} %"
            )
        if heldout_eer is not None and heldout_eer >= _BAD_EER:
            found.append(f"the EER of held-out speakers is {heldout_eer:.2f} %, and 50 % is chance")
        return "; ".join(found)
