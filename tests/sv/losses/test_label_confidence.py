"""Weights of pairs and ignored classes, by hand."""

import torch
from torch import Tensor

from sv.losses.label_confidence import Confidence
from sv.losses.split import HeadPart

WEIGHT = torch.tensor([1.0, 0.0, 0.25])
UNLABELLED = torch.tensor([False, True, False, True])


class Alone(HeadPart):
    """A part without other processes."""

    def gather(self, rows: Tensor) -> Tensor:
        return rows


def test_pairs_with_unlabelled_classes_have_the_weight_of_the_utterance() -> None:
    confidence = Confidence(WEIGHT, unlabelled=UNLABELLED)
    expected = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.25, 1.0, 0.25]])
    weight = confidence.pair_weight(1, 4)
    assert weight is not None and torch.equal(weight, expected)
    assert Confidence(WEIGHT).pair_weight(1, 4) is None


def test_ignored_classes_are_lowered_and_no_others() -> None:
    """The block begins with class 2; -1 is none, and class 0 belongs to another block."""
    confidence = Confidence(WEIGHT, ignored=torch.tensor([[3, -1], [0, -1], [2, 3]]))
    matrix = torch.arange(6.0).reshape(3, 2)
    confidence.leave_out(matrix, 2, -torch.inf)
    assert matrix.tolist() == [[0.0, -torch.inf], [2.0, 3.0], [-torch.inf, -torch.inf]]
    for nothing in (Confidence(WEIGHT), Confidence(WEIGHT, ignored=torch.empty(3, 0, dtype=torch.int64))):
        nothing.leave_out(matrix, 0, -9.0)
    assert matrix[1].tolist() == [2.0, 3.0]


def test_a_process_counts_classes_from_its_first() -> None:
    of_all = Confidence(WEIGHT, torch.tensor([[3], [-1], [0]]), UNLABELLED)
    confidence = of_all.gathered(Alone(1, 2, 4))  # classes 2 and 3
    assert confidence.ignored is not None and confidence.ignored.tolist() == [[1], [-3], [-2]]
    assert confidence.unlabelled is not None and confidence.unlabelled.tolist() == [False, True]
