"""Prototypical and angular prototypical losses against loops over queries in float64, and by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from sv.losses import build_head


def minus_squared_distance(query: Tensor, prototype: Tensor) -> float:
    return -float((query - prototype).square().sum())


def scaled_cosine(query: Tensor, prototype: Tensor) -> float:
    return 6.0 * float(cosine_similarity(query, prototype, dim=0))


CASES = {
    "prototypical": ({}, minus_squared_distance),
    "angular_prototypical": ({"scale": 6.0}, scaled_cosine),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [2, 3, 5])
def test_loss_equals_the_papers_with_each_utterance_as_the_query(name: str, size: int) -> None:
    """The paper's is that of one i: the i-th utterances are queries, the means of all others prototypes."""
    torch.manual_seed(9)
    options, score = CASES[name]
    head = build_head(name, 4, 2, {**options, "utts_per_speaker": size}).double()
    groups = torch.randn(5, size, 4, dtype=torch.float64)
    _, losses, correct, *_ = head(groups.flatten(0, 1), torch.arange(5).repeat_interleave(size), 0.0)
    for i in range(size):
        prototypes = [torch.stack([x for n, x in enumerate(group) if n != i]).mean(0) for group in groups]
        for j in range(5):
            scores = [score(groups[j, i], prototype) for prototype in prototypes]
            expected = math.log(sum(math.exp(s) for s in scores)) - scores[j]
            assert float(losses[j * size + i]) == pytest.approx(expected, abs=1e-12)
            assert bool(correct[j * size + i]) == (max(range(5), key=scores.__getitem__) == j)


def test_prototypical_by_hand() -> None:
    embedding = torch.tensor([[0.0], [1.0], [3.0], [5.0]])  # speaker 0 at 0 and 1, speaker 1 at 3 and 5
    _, losses, correct, *_ = build_head("prototypical", 1, 2, {})(embedding, torch.tensor([0, 0, 1, 1]), 0.0)
    # queries 0 and 3 meet the prototypes 1 and 5; queries 1 and 5 meet 0 and 3: squared distances to own and other
    pairs = [(1, 25), (1, 4), (4, 4), (4, 25)]
    torch.testing.assert_close(losses, torch.tensor([math.log(1 + math.exp(own - other)) for own, other in pairs]))
    assert correct.tolist() in ([True, True, False, True], [True, True, True, True])  # the third is a tie
