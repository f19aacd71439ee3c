"""Logits of pairs: g, slopes in closed form, and the balanced bias."""

import pytest
import torch

from sv.losses.options import Gradient, MarginOn, MarginType, SphereFace2Options
from sv.losses.pairs import Pairs, adjust_similarity


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize("gradient", ["through_g", "detached"])
@pytest.mark.parametrize("t", [1.0, 2.5, 3.0])
def test_slopes_in_closed_form_are_those_of_autograd(margin_type: MarginType, gradient: Gradient, t: float) -> None:
    options = SphereFace2Options(margin_type=margin_type, gradient=gradient, t=t)
    pairs, bias = Pairs(options, options.margins.default), torch.tensor(2.0, dtype=torch.float64)
    cosine = torch.linspace(-0.999, 0.999, 201, dtype=torch.float64).unsqueeze(0).requires_grad_()
    expected = pairs.nontarget_logit(cosine, bias)
    (slopes,) = torch.autograd.grad(expected.sum(), cosine)
    logit, slope = pairs.nontarget_logit_and_slope(cosine.detach().clone(), bias, 0.5)
    torch.testing.assert_close(logit, expected.detach())
    torch.testing.assert_close(torch.as_tensor(slope).expand_as(slopes), 0.5 * slopes, check_dtype=False)


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize("margin_on", ["both", "target"])
@pytest.mark.parametrize(("num_speakers", "scale"), [(2, 32.0), (3, 64.0), (100, 10.0), (10_000_000, 64.0)])
def test_balanced_bias_balances(margin_type: MarginType, margin_on: MarginOn, num_speakers: int, scale: float) -> None:
    options = SphereFace2Options(scale=scale, margin_type=margin_type, margin_on=margin_on)
    pairs = Pairs(options, 1.5 if margin_type == "M" else 0.3)
    bias = torch.tensor(pairs.balanced_bias(num_speakers), dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    pull = 0.7 * torch.sigmoid(-pairs.target_logit(zero, bias))
    push = 0.3 * (num_speakers - 1) * torch.sigmoid(pairs.nontarget_logit(zero, bias))
    torch.testing.assert_close(pull, push, rtol=1e-9, atol=0)


@pytest.mark.parametrize("t", [1.0, 1.5, 2.5, 3.0, 4.0])
def test_adjusted_similarity_below_minus_one_is_finite_and_never_falls(t: float) -> None:
    z = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64, requires_grad=True)
    out = adjust_similarity(z, t)
    out.sum().backward()
    assert z.grad is not None
    assert out.diff().min() >= -1e-12
    assert z.grad.isfinite().all()
    assert z.grad.min() >= 0
    below = (z.detach() + 1).clamp_max(0)
    expected = 2 * ((z.detach().clamp_min(-1) + 1) / 2) ** t - 1 + (below if t == 1 else 0)
    torch.testing.assert_close(out.detach(), expected)
