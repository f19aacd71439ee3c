"""GE2E against a loop over utterances and speakers in float64, and by hand."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from sv.losses import build_head


@pytest.mark.parametrize("size", [2, 3, 5])
def test_loss_equals_a_slow_loop(size: int) -> None:
    torch.manual_seed(9)
    head = build_head("ge2e", 4, 2, {"utts_per_speaker": size, "scale": 6.0}).double()
    groups = torch.randn(5, size, 4, dtype=torch.float64)
    _, losses, correct, *_ = head(groups.flatten(0, 1), torch.arange(5).repeat_interleave(size), 0.0)
    unit = normalize(groups, dim=2)
    for j in range(5):
        for i in range(size):
            centroids = [unit[k].mean(0) for k in range(5)]
            centroids[j] = torch.stack([unit[j][other] for other in range(size) if other != i]).mean(0)
            scores = [6.0 * float(cosine_similarity(unit[j][i], c, dim=0)) for c in centroids]
            expected = math.log(sum(math.exp(s) for s in scores)) - scores[j]
            assert float(losses[j * size + i]) == pytest.approx(expected, abs=1e-12)
            assert bool(correct[j * size + i]) == (max(range(5), key=scores.__getitem__) == j)


def test_two_speakers_by_hand() -> None:
    angles = torch.tensor([0.0, 60.0, 90.0, 150.0]).deg2rad()
    embedding = torch.tensor([[3.0], [1.0], [1.0], [7.0]]) * torch.stack([angles.cos(), angles.sin()], dim=1)
    _, losses, correct, *_ = build_head("ge2e", 2, 2, {})(embedding, torch.tensor([0, 0, 1, 1]), 0.0)
    # the centroids lie at 30 and 120 degrees; without the utterance itself, its speaker's is the other utterance
    pairs = [(60, 120), (60, 60), (60, 60), (60, 120)]  # degrees to the own centroid, and to the other
    expected = [math.log(1 + math.exp(10 * (math.cos(math.radians(b)) - math.cos(math.radians(a))))) for a, b in pairs]
    torch.testing.assert_close(losses, torch.tensor(expected))
    assert correct.tolist()[0] is correct.tolist()[3] is True
