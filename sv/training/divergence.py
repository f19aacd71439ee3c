"""Stops a training whose loss is no longer finite, and says where that began."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NAMED = 5  # utterances in an error; of the others only the number


@dataclass(frozen=True)
class _Step:
    epoch: int
    step: int
    utts: NDArray[np.int64]
    losses: Tensor  # (batch,)
    norm: Tensor | None  # 0-d


class NonFiniteGuard:
    """Looks at the losses of several steps at once: on a GPU each look waits for the device.

    Args:
        name: id of an utterance, by its draw (`sv.data.sampling`).
        features: (batch, frames, mels) that a step saw, from its utterances and epoch.
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
            losses: (batch,) one for each utterance.
            norm: 0-d, of the gradient; None where it may overflow (fp16, whose scaler then skips the step).
        """
        self._steps.append(_Step(epoch, step, utts, losses.detach(), norm))

    def find(self) -> tuple[int, str] | None:
        """Look at the steps since the last call; None if all is finite.

        Else the first bad step in words, with its utterances, and how exact that is: 0 names those whose features are
        at fault (batch norm spreads them over the whole batch), 1 those whose losses are, 2 a batch whose gradient is.
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
            f"the gradient is not finite {where}, though all losses are: {self._names(step, everything)}; {remedy}",
        )

    def _names(self, step: _Step, bad: NDArray[np.bool_]) -> str:
        names = [self._name(int(utt)) for utt in step.utts[bad]]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{len(names)} of {len(step.utts)} utterances: {', '.join(names[:_NAMED])}{more}"


def _is_finite(step: _Step) -> Tensor:
    fine = step.losses.isfinite().all()
    return fine if step.norm is None else fine & step.norm.isfinite()
