"""Sub-center AAM-softmax against AAM-softmax of the largest cosines, and by hand."""

import math

import pytest
import torch

from sv.losses import build_head


def test_loss_is_aam_of_the_nearest_subcenters() -> None:
    torch.manual_seed(1)
    head = build_head("aam_subcenter", 4, 5, {"num_subcenters": 2, "scale": 8.0}).double()
    weight = head.get_parameter("weight").detach()
    embedding, speaker = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 5
    _, losses, correct, *_ = head(embedding, speaker, 0.3)
    for x, y, loss, right in zip(embedding, speaker.tolist(), losses.tolist(), correct.tolist(), strict=True):
        best = [max(float(x @ w / (x.norm() * w.norm())) for w in rows) for rows in weight]
        theta = math.acos(best[y])
        moved = math.cos(theta + 0.3) if theta + 0.3 <= math.pi else best[y] - (1 - math.cos(0.3))
        logits = [8 * (moved if j == y else c) for j, c in enumerate(best)]
        assert loss == pytest.approx(math.log(sum(math.exp(z) for z in logits)) - logits[y])
        assert right == (max(range(5), key=best.__getitem__) == y)


def test_one_subcenter_is_aam() -> None:
    torch.manual_seed(2)
    one, plain = build_head("aam_subcenter", 4, 5, {"num_subcenters": 1}), build_head("aam", 4, 5, {})
    one.load_state_dict({"weight": plain.get_parameter("weight").detach().unsqueeze(1)})
    embedding, speaker = torch.randn(8, 4), torch.arange(8) % 5
    torch.testing.assert_close(one(embedding, speaker, 0.2), plain(embedding, speaker, 0.2))


def test_two_speakers_by_hand() -> None:
    head = build_head("aam_subcenter", 2, 2, {"num_subcenters": 2, "scale": 10.0})
    half, root = 0.5, math.sqrt(0.75)
    # speaker 0 at 0 and 180 degrees, speaker 1 at 90 and -90; the utterance at 120: 60 from the nearest of 0, 30 of 1
    head.load_state_dict({"weight": torch.tensor([[[1.0, 0.0], [-3.0, 0.0]], [[0.0, 2.0], [0.0, -1.0]]])})
    loss, losses, correct, _ = head(torch.tensor([[-half, root]]), torch.tensor([0]), math.pi / 6)
    assert correct.tolist() == [False]
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(10 * root))]))  # cos(60 + 30) = 0
    loss.backward()
    grad = head.get_parameter("weight").grad
    assert grad is not None
    assert grad.abs().sum(dim=2).gt(0).tolist() == [[False, True], [True, False]]  # the nearest alone are moved
