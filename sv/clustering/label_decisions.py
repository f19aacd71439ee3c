"""Decisions of a training about pseudo labels (gate and correction), and how often they are right if that is known."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import iter_table

Bools = NDArray[np.bool_]

TRUSTED = 0.5  # posterior from which a label is trusted


class Decision(NamedTuple):
    """A line of <exp-dir>/pseudo_labels.

    Attributes:
        label: label by the clustering.
        corrected: the label at the end of training; the same if it was not corrected.
        mean: running mean of the loss of `label`.
        posterior: probability that `label` is right.
    """

    label: str
    corrected: str
    mean: float
    posterior: float


def read_decisions(path: Path) -> dict[str, Decision]:
    """Read <exp-dir>/pseudo_labels, "utt label label-in-training mean-loss posterior".

    Raises:
        UserError: the file is missing, or a line is not of this form.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; train on pseudo labels with pseudo_args.gate=true (stage 3)")
    found = {}
    for number, utt, value in iter_table(path):
        try:
            label, corrected, mean, posterior = value.split()
            found[utt] = Decision(label, corrected, float(mean), float(posterior))
        except ValueError as error:
            raise UserError(f"{path}:{number}: expected 'utt label label mean posterior'; train again") from error
    return found


def class_speakers(labels: Mapping[str, str], truth: Mapping[str, str], labelled: Collection[str]) -> dict[str, str]:
    """Return who each class is: a labelled speaker is that speaker, a cluster its most frequent true speaker.

    Args:
        labels: class of each utterance without a label by people.
        truth: true speaker of each of these utterances.
        labelled: speakers whom people labelled. Each is a class, and clusters may be linked to it, also wrongly.
    """
    speakers: dict[str, list[str]] = {}
    for utt, label in labels.items():
        speakers.setdefault(label, []).append(truth[utt])
    most = {label: max(sorted(set(of)), key=of.count) for label, of in speakers.items()}
    return most | {name: name for name in labelled}


def measure_decisions(
    decisions: Mapping[str, Decision], truth: Mapping[str, str], labelled: Collection[str]
) -> dict[str, float | int | None]:
    """Measure gate and correction. A label is right if the class is the utterance's true speaker.

    Args:
        decisions: result of `read_decisions`.
        truth: true speaker of each utterance.
        labelled: speakers with labels by people who were trained on; see `class_speakers`.

    Returns:
        wrong: share of the clustering's labels that are wrong.
        gate_precision, gate_recall: share of wrong labels among those that the gate does not trust, and the reverse.
        corrected: number of labels that were changed.
        correction_precision: share of the changed labels that are right now.
        correction_recall: share of the wrong labels that are right now, of those whose speaker has a class.
        A share of nothing is None.
    """
    person = class_speakers({utt: one.label for utt, one in decisions.items()}, truth, labelled)
    right = np.array([person[one.label] == truth[utt] for utt, one in decisions.items()])
    now = np.array([person.get(one.corrected, one.corrected) == truth[utt] for utt, one in decisions.items()])
    changed = np.array([one.corrected != one.label for one in decisions.values()])
    rejected = np.array([one.posterior < TRUSTED for one in decisions.values()])
    has_class = np.isin([truth[utt] for utt in decisions], list(person.values()))
    return {
        "wrong": float((~right).mean()),
        "gate_precision": _share(~right, rejected),
        "gate_recall": _share(rejected, ~right),
        "corrected": int(changed.sum()),
        "correction_precision": _share(now, changed),
        "correction_recall": _share(now & changed, ~right & has_class),
    }


def _share(of: Bools, among: Bools) -> float | None:
    """Return the share of `of` among others; None if there are none."""
    return float(of[among].mean()) if among.any() else None
