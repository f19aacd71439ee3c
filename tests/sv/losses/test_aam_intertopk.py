"""Inter-top-k AAM-softmax, alone and with sub-centers, against a loop, WeSpeaker's formula, and by hand."""

import math

import pytest
import torch

from sv.losses import build_head
from sv.losses.aam_intertopk import AamIntertopk
from sv.losses.options import AamIntertopkOptions


def moved(cosine: float, angle: float) -> float:
    """cos(theta + angle), continued as AAM-softmax is."""
    theta = math.acos(cosine) + angle
    if theta < 0:
        return cosine + (1 - math.cos(angle))
    return math.cos(theta) if theta <= math.pi else cosine - (1 - math.cos(angle))


def slow_loss(cosine: list[float], speaker: int, scale: float, margin: float, top_margin: float, top_k: int) -> float:
    others = sorted((j for j in range(len(cosine)) if j != speaker), key=lambda j: -cosine[j])
    logits = [scale * c for c in cosine]
    for j in others[:top_k]:
        logits[j] = scale * moved(cosine[j], -top_margin * margin / 0.2)
    logits[speaker] = scale * moved(cosine[speaker], margin)
    return math.log(sum(math.exp(z) for z in logits)) - logits[speaker]


@pytest.mark.parametrize(("margin", "top_k"), [(0.0, 2), (0.2, 1), (0.2, 3), (0.5, 3), (0.2, 50)])
def test_loss_equals_a_slow_loop(margin: float, top_k: int) -> None:
    generator = torch.Generator().manual_seed(4)
    cosine = torch.rand(60, 7, generator=generator, dtype=torch.float64) * 2 - 1
    cosine[0, 1:] = 0.9999  # nearer than the margin
    speaker = torch.arange(60) % 7
    expected = [
        slow_loss(row.tolist(), int(y), 12.0, margin, 0.1, top_k) for row, y in zip(cosine, speaker, strict=True)
    ]
    head = AamIntertopk(4, 7, AamIntertopkOptions(scale=12.0, top_margin=0.1, top_k=top_k))
    losses = head.losses(cosine, speaker, margin)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_without_a_penalty_it_is_aam() -> None:
    torch.manual_seed(6)
    plain, ours = build_head("aam", 4, 9, {}), build_head("aam_intertopk", 4, 9, {"top_margin": 0.0})
    ours.load_state_dict(plain.state_dict())
    embedding, speaker = torch.randn(8, 4), torch.arange(8) % 5
    torch.testing.assert_close(ours(embedding, speaker, 0.2), plain(embedding, speaker, 0.2))


def test_three_speakers_by_hand() -> None:
    head = build_head("aam_intertopk", 2, 3, {"scale": 10.0, "top_k": 1, "top_margin": 0.2})
    angles = torch.tensor([0.0, 90.0, 180.0]).deg2rad()
    head.load_state_dict({"weight": torch.stack([angles.cos(), angles.sin()], dim=1)})
    utt = torch.tensor([math.radians(60)])  # 60 degrees from speaker 0, 30 from 1, 120 from 2
    _, losses, correct, *_ = head(torch.stack([utt.cos(), utt.sin()], dim=1), torch.tensor([0]), math.pi / 6)
    assert correct.tolist() == [False]
    # target cos(60 + 30) = 0, the nearest other cos(30 - 30) = 1, the last cos(120) = -0.5
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(10) + math.exp(-5))]))
