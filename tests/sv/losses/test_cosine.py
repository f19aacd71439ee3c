"""Cosines and moved angles: against acos in float64, and finite where acos is not."""

import math

import pytest
import torch
from torch import Tensor

from sv.losses.cosine import add_angle, cosine_matrix, sine, unit

ANGLES = [-0.5, -0.2, -0.05, 0.0, 0.05, 0.15, 0.4, 1.2]


def add_angle_by_acos(cosine: float, angle: float) -> float:
    theta = math.acos(cosine)
    if theta + angle > math.pi:
        return cosine - (1 - math.cos(angle))
    if theta + angle < 0:
        return cosine + (1 - math.cos(angle))
    return math.cos(theta + angle)


def slope(function: object, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    function(x).sum().backward()  # type: ignore[operator]
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("angle", ANGLES)
def test_angle_is_added_as_acos_would(angle: float) -> None:
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    expected = torch.tensor([add_angle_by_acos(float(c), angle) for c in cosine], dtype=torch.float64)
    torch.testing.assert_close(add_angle(cosine, angle), expected, rtol=0, atol=1e-8)
    inner = cosine.abs() < 0.9999
    torch.testing.assert_close(add_angle(cosine, angle)[inner], expected[inner], rtol=0, atol=1e-14)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angle_added_keeps_the_order_of_the_cosines(angle: float, dtype: torch.dtype) -> None:
    near_one = 1 - torch.logspace(-8, -2, 500, dtype=torch.float64)
    cosine = torch.cat([torch.linspace(-1, 1, 20001, dtype=torch.float64), near_one, -near_one]).to(dtype).sort().values
    step = add_angle(cosine, angle).diff()
    assert step.min() >= -4 * torch.finfo(dtype).eps  # rounding
    assert add_angle(cosine, angle)[-1] > add_angle(cosine, angle)[0]


@pytest.mark.parametrize("angle", ANGLES)
def test_angle_added_has_no_jump(angle: float) -> None:
    cosine = torch.linspace(-0.999, 0.999, 200001, dtype=torch.float64)
    steepest = 1 / math.sqrt(1 - 0.999**2) + 1
    assert add_angle(cosine, angle).diff().abs().max() <= 1e-5 * steepest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sine_is_exact_at_both_ends_and_its_slope_finite(dtype: torch.dtype) -> None:
    ends = torch.tensor([-1.0, 1.0, 1 + 1e-6, -1 - 1e-6], dtype=dtype)
    assert sine(ends).tolist() == [0, 0, 0, 0]
    assert slope(sine, ends).abs().max() <= 2.01 / math.sqrt(torch.finfo(dtype).eps)
    near = 1 - torch.logspace(-12, 0, 200, dtype=torch.float64)
    error = sine(near.to(dtype)).double() - (1 - near.to(dtype).double().square()).clamp_min(0).sqrt()
    assert error.abs().max() < 0.26 * math.sqrt(torch.finfo(dtype).eps)


def test_slope_of_the_added_angle_is_sine_over_sine() -> None:
    cosine = torch.linspace(-0.9, 0.9, 37, dtype=torch.float64)
    theta = cosine.acos()
    torch.testing.assert_close(slope(lambda c: add_angle(c, 0.3), cosine), (theta + 0.3).sin() / theta.sin())


def test_cosine_of_vectors_worked_by_hand() -> None:
    embedding = torch.tensor([[3.0, 4.0], [-2.0, 0.0]])
    weight = torch.tensor([[10.0, 0.0], [0.0, 0.1]])
    torch.testing.assert_close(cosine_matrix(embedding, weight), torch.tensor([[0.6, 0.8], [-1.0, 0.0]]))


def test_zero_row_gets_cosine_zero_and_gradient_zero() -> None:
    rows = torch.tensor([[0.0, 0.0], [1e-8, 0.0], [3.0, 4.0]], requires_grad=True)
    unit(rows)[:, 0].sum().backward()
    assert unit(rows)[:2].abs().sum() == 0
    assert rows.grad is not None
    torch.testing.assert_close(rows.grad, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.128, -0.096]]))
