"""Poolings against loops, and finite where a variance is not defined."""

import math

import pytest
import torch

from sv.models.options import POOLINGS
from sv.models.pooling import deviation


def test_statistics_by_hand() -> None:
    x = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])  # one utterance, two channels, two frames
    low = math.sqrt(1e-7)
    torch.testing.assert_close(POOLINGS.build("TAP", 2)(x), torch.tensor([[2.0, 5.0]]))
    torch.testing.assert_close(POOLINGS.build("TSDP", 2)(x), torch.tensor([[math.sqrt(2), low]]))
    torch.testing.assert_close(POOLINGS.build("TSTP", 2)(x), torch.tensor([[2.0, 5.0, math.sqrt(2), low]]))


@pytest.mark.parametrize("name", ["TAP", "TSDP", "TSTP"])
def test_bins_are_flattened_within_channels(name: str) -> None:
    x = torch.randn(2, 3, 4, 6)
    pooling = POOLINGS.build(name, 12)
    assert torch.equal(pooling(x), pooling(x.reshape(2, 12, 6)))
    assert pooling(x).shape == (2, pooling.out_dim)


@pytest.mark.parametrize("context", [False, True])
def test_attention_equals_a_slow_loop(context: bool) -> None:
    torch.manual_seed(1)
    pooling = POOLINGS.build("ASTP", 6, bottleneck_dim=5, global_context_att=context).double()
    x = torch.randn(2, 3, 2, 7, dtype=torch.float64)  # (batch, channels, bins, frames)
    state = pooling.state_dict()
    for row, pooled in zip(x.reshape(2, 6, 7), pooling(x), strict=True):
        hidden = []
        for frame in row.T:
            seen = torch.cat([frame, row.mean(1), (row.var(1) + 1e-7).sqrt()]) if context else frame
            hidden.append((state["linear1.weight"][:, :, 0] @ seen + state["linear1.bias"]).tanh())
        logits = torch.stack([state["linear2.weight"][:, :, 0] @ h + state["linear2.bias"] for h in hidden], dim=1)
        for channel in range(6):
            weights = [math.exp(z) for z in logits[channel].tolist()]
            values = row[channel].tolist()
            mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            square = sum(w * v * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert math.isclose(float(pooled[channel].detach()), mean, abs_tol=1e-12)
            expected = math.sqrt(max(square - mean**2, 1e-7))
            assert math.isclose(float(pooled[6 + channel].detach()), expected, abs_tol=1e-9)


@pytest.mark.parametrize("name", ["TAP", "TSDP", "TSTP", "ASTP"])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_constant_and_single_frames_are_finite(name: str, frames: int) -> None:
    options = {"global_context_att": True} if name == "ASTP" else {}
    pooling = POOLINGS.build(name, 4, **options)
    x = torch.ones(2, 4, frames, requires_grad=True)
    out = pooling(x)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_large_half_values_do_not_overflow() -> None:
    x = torch.tensor([[[-900.0, 900.0, -900.0, 900.0]]]).half()
    pooled = POOLINGS.build("TSTP", 1)(x)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.tensor([[0.0, 900 * math.sqrt(4 / 3)]]))


def test_deviation_is_the_unbiased_one() -> None:
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(deviation(x), x.std(dim=1), rtol=0, atol=1e-6)
