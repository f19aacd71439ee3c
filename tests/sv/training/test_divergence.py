"""Naming what is not finite."""

import numpy as np
import torch

from sv.training.divergence import NonFiniteGuard, Progress

NAN, INF = float("nan"), float("inf")


def guard(features=None):
    fine = torch.zeros(3, 4, 2)
    return NonFiniteGuard(
        lambda utt: f"utt{utt}", lambda utts, epoch: fine if features is None else features, "make them again (stage 2)"
    )


def note(g, step, losses, norm=1.0, utts=(7, 8, 9)):
    g.note(2, step, np.array(utts), torch.tensor(losses), None if norm is None else torch.tensor(norm))


def test_finite_steps_pass_and_are_forgotten():
    g = guard()
    assert g.find() is None
    note(g, 1, [1.0, 2.0, 3.0])
    assert g.find() is None
    assert g.find() is None


def test_the_first_bad_step_and_its_utterances_are_named():
    g = guard()
    note(g, 1, [1.0, 2.0, 3.0])
    note(g, 2, [1.0, INF, 3.0], norm=NAN)
    note(g, 3, [NAN, NAN, NAN], norm=NAN, utts=(4, 5, 6))
    how, text = g.find()
    assert how == 1
    assert text.startswith("the loss is not finite at step 2 (epoch 2): 1 of 3 utterances: utt8;")


def test_features_at_fault_are_told_from_losses_that_they_spoil():
    features = torch.zeros(3, 4, 2)
    features[0, 1, 1] = NAN
    g = guard(features)
    note(g, 4, [NAN, NAN, NAN], norm=NAN)
    assert g.find() == (
        0,
        "features are not finite at step 4 (epoch 2): 1 of 3 utterances: utt7; make them again (stage 2)",
    )


def test_a_gradient_alone_names_the_batch():
    g = guard()
    note(g, 5, [1.0, 2.0, 3.0], norm=INF)
    how, text = g.find()
    assert how == 2
    assert (
        "the gradient is not finite at step 5 (epoch 2), although all losses are: 3 of 3 utterances: utt7, utt8" in text
    )


def test_a_gradient_that_may_overflow_is_not_looked_at():
    g = guard()
    note(g, 5, [1.0, 2.0, 3.0], norm=None)
    assert g.find() is None


def test_of_many_utterances_five_are_named():
    g = NonFiniteGuard(lambda utt: f"utt{utt}", lambda utts, epoch: torch.zeros(9, 1, 1), "make them again (stage 2)")
    note(g, 1, [NAN] * 9, utts=range(9))
    assert "9 of 9 utterances: utt0, utt1, utt2, utt3, utt4 and 4 more;" in g.find()[1]


def told(*epochs, num_classes=100, first_loss=4.6):
    """Return what is said after each (loss, accuracy, held-out EER)."""
    progress = Progress(num_classes, first_loss)
    return [progress.end_epoch(*figures) for figures in epochs]


def test_a_training_that_learns_is_left_alone():
    assert told((4.4, 1.5, None), (3.0, 20.0, 30.0), (1.0, 80.0, 9.0)) == ["", "", ""]
    assert told((9.0, 60.0, 10.0)) == [""]  # the margin has grown
    assert told((0.9, 99.0, 2.0), first_loss=0.01) == [""]  # fine-tuning
    assert told(*[(4.5, 2.0, None)] * 4, (4.0, 3.0, None)) == [""] * 5  # slow at first
    assert told(*[(0.6, 65.0, 20.0)] * 9, num_classes=2) == [""] * 9


def test_a_loss_above_its_start_is_told():
    assert told((597_400.0, 1.0, None)) == ["the loss is 5.974e+05, and was 4.6 at the first step"]
    assert told((7.0, 1.0, None)) == ["the loss is 7, and was 4.6 at the first step"]
    assert told((60.0, 70.0, None)) == ["the loss is 60, and was 4.6 at the first step"]


def test_accuracy_at_chance_for_epochs_and_chance_eer_are_told():
    assert told(*[(4.6, 1.1, None)] * 5)[3:] == [
        "",
        "the accuracy has been at chance (1 %) for 5 epochs: 1.1 %",
    ]
    assert told((1.0, 90.0, 49.8)) == ["the EER of held-out speakers is 49.80 %, and 50 % is chance"]
