"""Autograd for a loss whose gradients were computed together with it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradients(loss: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return `loss` with given gradients; it can be differentiated once.

    Args:
        loss: 0-d.
        pairs: an input, and the gradient of the loss with respect to it. The gradient is passed on without a copy: the
            caller must not use it any more.
    """
    inputs, gradients = zip(*pairs, strict=True)
    return _Given.apply(loss, gradients, *inputs)


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: tuple[Tensor, ...], *inputs: Tensor) -> Tensor:
        ctx.gradients = list(gradients)
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("this loss was differentiated already; its gradients are not kept")
        gradients, ctx.gradients = ctx.gradients, None
        if upstream.device.type == "cpu" and float(upstream) == 1:  # the whole weight's gradient need not be read
            return (None, None, *gradients)
        return (None, None, *(gradient.mul_(upstream) for gradient in gradients))
