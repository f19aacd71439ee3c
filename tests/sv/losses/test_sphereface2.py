"""SphereFace2 against a loop over angles in float64, WeSpeaker's formula, published numbers and by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize, one_hot

from sv.losses import build_head
from sv.losses.label_confidence import Confidence
from sv.losses.options import Gradient, MarginType, SphereFace2Options
from sv.losses.pairs import Pairs
from sv.losses.sphereface2 import sphereface2


def g(z: float, t: float) -> float:
    slope_at_minus_one = 1.0 if t == 1 else 0.0
    return 2 * ((z + 1) / 2) ** t - 1 if z > -1 else -1 + slope_at_minus_one * (z + 1)


def softplus(z: float) -> float:
    return math.log1p(math.exp(z)) if z < 30 else z + math.log1p(math.exp(-z))


def target_similarity(cosine: float, margin: float, margin_type: str, t: float) -> float:
    theta = math.acos(cosine)
    if margin_type == "C":
        return g(cosine, t) - margin
    if margin_type == "M":
        return g(math.cos(min(margin * theta, math.pi)), t)
    return g(math.cos(theta + margin) if theta + margin <= math.pi else cosine - (1 - math.cos(margin)), t)


def nontarget_similarity(cosine: float, margin: float, margin_type: str, t: float) -> float:
    theta = math.acos(cosine)
    if margin_type == "C":
        return g(cosine, t) + margin
    if margin_type == "M":
        return g(cosine, t)
    return g(math.cos(theta - margin) if theta >= margin else cosine + (1 - math.cos(margin)), t)


def slow_loss(
    cosine: list[float], speaker: int, bias: float, scale: float, margin: float, margin_type: str, lam: float, t: float
) -> float:
    loss = lam * softplus(-(scale * target_similarity(cosine[speaker], margin, margin_type, t) + bias))
    for j, c in enumerate(cosine):
        if j != speaker:
            loss += (1 - lam) * softplus(scale * nontarget_similarity(c, margin, margin_type, t) + bias)
    return loss


def some_cosines() -> tuple[Tensor, Tensor]:
    """(40, 7) float64 and their speakers; both continuations of type A, on targets and on others."""
    cosine = torch.rand(40, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 2 - 1
    cosine[0], cosine[1] = 0.9999, -0.9999
    return cosine, torch.arange(40) % 7


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize(("margin", "t", "bias"), [(0.0, 3.0, 0.0), (0.2, 3.0, 4.5), (0.4, 2.5, -7.0), (0.3, 1.0, 1.0)])
def test_loss_equals_a_slow_loop(margin_type: MarginType, margin: float, t: float, bias: float) -> None:
    cosine, speaker = some_cosines()
    if margin_type == "M":
        margin += 1
    expected = [
        slow_loss(row.tolist(), int(y), bias, 16.0, margin, margin_type, 0.6, t)
        for row, y in zip(cosine, speaker, strict=True)
    ]
    options = SphereFace2Options(scale=16.0, target_weight=0.6, t=t, margin_type=margin_type)
    losses = sphereface2(cosine, speaker, torch.tensor(bias), pairs=Pairs(options, margin))
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_label_confidence_equals_a_slow_loop() -> None:
    """A target pair and pairs with unlabelled classes have the utterance's weight, those with ignored classes 0."""
    cosine, speaker = some_cosines()
    weight, unlabelled = torch.rand(40, dtype=torch.float64), [False, True, False, True, False, False, True]
    weight[:2] = torch.tensor([0.0, 1.0])
    ignored = torch.stack([(speaker + 2) % 7, (speaker + 5) % 7], dim=1)
    ignored[::3, 1] = -1
    expected = []
    for i, (row, y) in enumerate(zip(cosine.tolist(), speaker.tolist(), strict=True)):
        loss = 0.7 * float(weight[i]) * softplus(-(32 * target_similarity(row[y], 0.2, "C", 3) + 1))
        for j, c in enumerate(row):
            if j != y and j not in ignored[i].tolist():
                pair_weight = float(weight[i]) if unlabelled[j] else 1.0
                loss += 0.3 * pair_weight * softplus(32 * nontarget_similarity(c, 0.2, "C", 3) + 1)
        expected.append(loss)
    confidence, pairs = Confidence(weight, ignored, torch.tensor(unlabelled)), Pairs(SphereFace2Options(), 0.2)
    losses = sphereface2(cosine, speaker, torch.tensor(1.0), pairs=pairs, confidence=confidence)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("margin_type", ["C", "A"])
def test_margin_on_the_target_alone(margin_type: MarginType) -> None:
    cosine, speaker = some_cosines()
    options = SphereFace2Options(scale=16.0, t=2.0, margin_type=margin_type, margin_on="target")
    expected = []
    for row, y in zip(cosine.tolist(), speaker.tolist(), strict=True):
        others = [softplus(16 * g(c, 2) + 2) for j, c in enumerate(row) if j != y]
        target = softplus(-(16 * target_similarity(row[y], 0.3, margin_type, 2) + 2))
        expected.append(0.7 * target + 0.3 * sum(others))
    losses = sphereface2(cosine, speaker, torch.tensor(2.0), pairs=Pairs(options, 0.3))
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
def test_detached_gradient_is_that_of_a_plain_cosine(margin_type: MarginType) -> None:
    """The loss is the same; a pair pulls by its probability times s, as the face code's logits do."""
    cosine, speaker = some_cosines()
    margin = 1.3 if margin_type == "M" else 0.2
    logits, grads = {}, {}
    gradients: tuple[Gradient, ...] = ("through_g", "detached")
    for gradient in gradients:
        options = SphereFace2Options(margin_type=margin_type, gradient=gradient)
        cos = cosine.clone().requires_grad_()
        logits[gradient] = sphereface2(cos, speaker, torch.tensor(3.0), pairs=Pairs(options, margin))
        (grads[gradient],) = torch.autograd.grad(logits[gradient].sum(), cos)
    torch.testing.assert_close(logits["detached"], logits["through_g"], rtol=1e-14, atol=0)
    is_target = one_hot(speaker, 7).bool()
    target = torch.tensor([target_similarity(c, margin, margin_type, 3) for c in cosine[is_target].tolist()])
    others = torch.tensor([nontarget_similarity(c, margin, margin_type, 3) for c in cosine[~is_target].tolist()])
    expected = torch.empty_like(cosine)
    expected[is_target] = -0.7 * 32 * torch.sigmoid(-(32 * target.double() + 3))
    expected[~is_target] = 0.3 * 32 * torch.sigmoid(32 * others.double() + 3)
    torch.testing.assert_close(grads["detached"], expected, rtol=1e-4, atol=1e-9)
    assert not torch.allclose(grads["through_g"], grads["detached"])


def test_two_speakers_by_hand() -> None:
    head = build_head("sphereface2", 2, 2, {"scale": 10.0, "target_weight": 0.75, "t": 2.0})
    head.load_state_dict({"weight": torch.tensor([[2.0, 0.0], [0.0, 5.0]]), "bias": torch.tensor([[1.0]])})
    loss, losses, correct, _ = head(torch.tensor([[3.0, 4.0]]), torch.tensor([1]), 0.1)
    assert correct.tolist() == [True]
    # cosines 0.6, 0.8; g = 2 * 0.8^2 - 1 = 0.28, 2 * 0.9^2 - 1 = 0.62; z_0 = 10 * 0.38 + 1, z_1 = 10 * 0.52 + 1
    expected = 0.75 * math.log(1 + math.exp(-6.2)) + 0.25 * math.log(1 + math.exp(4.8))
    torch.testing.assert_close(losses, torch.tensor([expected]))
    torch.testing.assert_close(loss, torch.tensor(expected))


@pytest.mark.parametrize(
    ("margin", "bias", "expected"), [(0.0, 0.0, 16.80), (0.2, 0.0, 21.28), (0.0, 15.05, 6.96), (0.2, 8.65, 15.92)]
)
def test_first_loss_at_17982_speakers(margin: float, bias: float, expected: float) -> None:
    """At cosine 0, with bias 0 and the balanced one (the speakers of VoxCeleb2 and their two speed copies)."""
    pairs = Pairs(SphereFace2Options(), margin)
    losses = sphereface2(torch.zeros(1, 17982), torch.tensor([5]), torch.tensor(bias), pairs=pairs)
    assert round(float(losses), 2) == expected
    if bias:
        assert round(pairs.balanced_bias(17982), 2) == bias


def test_bias_starts_where_the_option_says() -> None:
    for bias_init, expected in (("zero", 0.0), ("balanced", 8.65)):
        head = build_head("sphereface2", 4, 17982, {"bias_init": bias_init})
        head.start(0.2)
        assert round(head.get_parameter("bias").item(), 2) == expected


def test_a_balanced_bias_needs_no_memory() -> None:
    with torch.device("meta"):
        head = build_head("sphereface2", 4, 17982, {"bias_init": "balanced"})
        head.start(0.2)
    assert head.get_parameter("bias").is_meta


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
def test_fitted_bias_has_the_lowest_loss_and_is_the_balanced_one_at_cosine_0(margin_type: MarginType) -> None:
    torch.manual_seed(0)
    head = build_head("sphereface2", 8, 20, {"margin_type": margin_type}).double()
    margin, speaker = head.margins.default, torch.arange(60) % 20
    embedding = head.weight.detach()[speaker] + 0.1 * torch.randn(60, 8, dtype=torch.float64)
    head.fit_bias(embedding, speaker, margin)
    losses, fitted = [], head.get_parameter("bias").item()
    for shift in (-0.5, 0.0, 0.5):
        torch.nn.init.constant_(head.bias, fitted + shift)
        losses.append(float(head(embedding, speaker, margin).loss))
    assert losses[1] < min(losses[0], losses[2])
    across = torch.eye(8, dtype=torch.float64)[:1].expand(60, 8)
    torch.nn.init.zeros_(head.weight[:, 0])
    head.fit_bias(across, speaker, margin)
    balanced = Pairs(SphereFace2Options(margin_type=margin_type), margin).balanced_bias(20)
    assert abs(head.get_parameter("bias").item() - balanced) < 2e-3


def wespeaker_loss(
    embedding: Tensor, weight: Tensor, bias: Tensor, speaker: Tensor, margin: float, margin_type: str, t: float
) -> Tensor:
    """WeSpeaker's SphereFace2, scale 32 and lambda 0.7, from its formula."""
    cos = linear(normalize(embedding), normalize(weight))
    if margin_type == "C":
        target, others = 2 * ((cos + 1) / 2) ** t - 1 - margin, 2 * ((cos + 1) / 2) ** t - 1 + margin
    else:
        sin = (1 - cos**2).sqrt()
        beyond = cos - (1 + math.cos(math.pi - margin))
        target = (cos * math.cos(margin) - sin * math.sin(margin)).where(cos > math.cos(math.pi - margin), beyond)
        target = 2 * ((target + 1) / 2) ** t - 1
        others = 2 * ((cos * math.cos(margin) + sin * math.sin(margin) + 1) / 2) ** t - 1
    target, others = 32 * target + bias[0][0], 32 * others + bias[0][0]
    is_target = one_hot(speaker, weight.shape[0]).double()
    losses = is_target * 0.7 * (1 + (-target).exp()).log() + (1 - is_target) * 0.3 * (1 + others.exp()).log()
    return losses.sum(1).mean()


@pytest.mark.parametrize(("margin_type", "margin"), [("C", 0.0), ("C", 0.2), ("A", 0.0), ("A", 0.15), ("A", 0.25)])
@pytest.mark.parametrize("t", [2, 3])
def test_loss_and_gradients_equal_wespeakers(margin_type: str, margin: float, t: int) -> None:
    torch.manual_seed(6)
    head = build_head("sphereface2", 6, 50, {"margin_type": margin_type, "t": t}).double()
    weight, bias = head.get_parameter("weight"), torch.nn.init.constant_(head.get_parameter("bias"), 3.0)
    embedding, speaker = torch.randn(64, 6, dtype=torch.float64), torch.randint(50, (64,))
    cosine = normalize(embedding) @ normalize(weight.detach()).T
    keep = (cosine < math.cos(0.25)).all(dim=1)  # where theta_j < m theirs turns round
    keep &= (cosine.gather(1, speaker[:, None]) > -math.cos(0.25)).squeeze(1)  # and theirs has no tangent below -1
    embedding, speaker = embedding[keep].requires_grad_(), speaker[keep]
    assert len(speaker) > 10
    parameters = [embedding, weight, bias]
    loss = head(embedding, speaker, margin).loss
    expected = wespeaker_loss(embedding, weight, bias, speaker, margin, margin_type, t)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    ours, theirs = torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_target_past_pi_is_within_rounding_of_wespeakers() -> None:
    """Below -1 their cube goes on falling, by 2 ((1 - cos m) / 2)^3 at most, ours is flat."""
    head = build_head("sphereface2", 2, 2, {"margin_type": "A"}).double()
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    head.load_state_dict({"weight": weight, "bias": torch.zeros(1, 1)})
    theta = torch.linspace(math.pi - 0.14, math.pi - 0.01, 20, dtype=torch.float64)
    embedding, speaker = torch.stack([theta.cos(), theta.sin()], dim=1), torch.zeros(20, dtype=torch.int64)
    expected = wespeaker_loss(embedding, weight, torch.zeros(1, 1, dtype=torch.float64), speaker, 0.15, "A", 3)
    largest = 32 * 2 * ((1 - math.cos(0.15)) / 2) ** 3
    torch.testing.assert_close(head(embedding, speaker, 0.15).loss, expected, rtol=0, atol=largest)


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.15, 0.25, 0.4])
@pytest.mark.parametrize("t", [1.0, 2.5, 3.0, 4.0])
def test_loss_is_monotonic_in_both_cosines(margin_type: MarginType, margin: float, t: float) -> None:
    grid = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    zero = torch.zeros_like(grid)
    pairs = Pairs(SphereFace2Options(t=t, margin_type=margin_type), margin + (margin_type == "M"))
    speaker, bias = torch.zeros(len(grid), dtype=torch.int64), torch.tensor(-5.0)
    of_target = sphereface2(torch.stack([grid, zero], dim=1), speaker, bias, pairs=pairs)
    of_other = sphereface2(torch.stack([zero, grid], dim=1), speaker, bias, pairs=pairs)
    assert of_target.diff().max() <= 1e-12
    assert of_other.diff().min() >= -1e-12
    assert of_target[-1] < of_target[0] - 5
    assert of_other[-1] > of_other[0] + 5


@pytest.mark.parametrize(("margin_type", "margin"), [("C", 1.0), ("A", 1.5), ("M", 4.0)])
def test_the_largest_margin_and_t_are_finite_at_the_vector_of_another_speaker(margin_type: str, margin: float) -> None:
    head = build_head("sphereface2", 4, 3, {"margin_type": margin_type, "t": 80.0})
    embedding = head.get_parameter("weight")[:1].detach().clone().requires_grad_()
    output = head(embedding, torch.tensor([1]), margin)
    output.loss.backward()
    assert output.losses.isfinite().all()
    for tensor in (embedding, *head.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


def test_defaults_of_both_types() -> None:
    for margin_type, margin in (("C", 0.2), ("A", 0.15), ("M", 1.3)):
        head = build_head("sphereface2", 4, 3, {"margin_type": margin_type})
        assert head.margins.default == margin
        assert head.no_weight_decay == {"bias"}
        assert {key: tuple(p.shape) for key, p in head.state_dict().items()} == {"bias": (1, 1), "weight": (3, 4)}
        assert float(head.state_dict()["bias"]) == 0


@pytest.mark.parametrize("margin_type", ["C", "A", "M"])
def test_without_gradients_the_loss_is_the_same(margin_type: str) -> None:
    head = build_head("sphereface2", 6, 50, {"margin_type": margin_type})
    embedding, speaker = torch.randn(4, 6), torch.tensor([0, 7, 49, 3])
    found = head(embedding, speaker, head.margins.default).losses
    with torch.no_grad():
        assert torch.equal(head(embedding, speaker, head.margins.default).losses, found)
    with torch.inference_mode():
        assert torch.equal(head(embedding, speaker, head.margins.default).losses, found)


def test_embeddings_that_have_collapsed_are_not_correct() -> None:
    head = build_head("sphereface2", 6, 50, {})
    assert not head(torch.zeros(4, 6), torch.tensor([0, 7, 49, 3]), 0.2).correct.any()
