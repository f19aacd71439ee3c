"""Trials among the training speakers that were set aside: what calibration and thresholds are measured on.

No utterance meets itself, no pair comes twice. Where ids tell the video (speaker/video/utterance, VoxCeleb's layout),
target trials are of two videos, as those of its test lists are: one video would be far too easy.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError

Pair = tuple[str, str]
_ENUMERATE = 2000  # up to so many utterances all pairs are listed


def draw_calibration_trials(
    utt2spk: Mapping[str, str], *, num_target: int = 30_000, num_nontarget: int = 60_000, seed: int = 0
) -> list[tuple[str, str, bool]]:
    """(enroll, test, is target), sorted; all pairs, or as many as asked for, drawn by seed.

    Args:
        utt2spk: utterances of the held-out speakers.
        num_target, num_nontarget: at most.
        seed: decides which.

    Raises:
        UserError: no target or no non-target trial can be made.
    """
    utts = sorted(utt2spk, key=str.encode)
    rng = np.random.default_rng(seed)
    targets = _choose(_target_pairs(utts, utt2spk), num_target, rng)
    nontargets = _choose(_nontarget_pairs(utts, utt2spk, num_nontarget, rng), num_nontarget, rng)
    for pairs, kind, what in ((targets, "target", "utterances of one"), (nontargets, "non-target", "two")):
        if not len(pairs):
            raise UserError(f"no {kind} trial among the held-out speakers; set aside {what} speaker or more")
    rows = [(first, second, True) for first, second in targets.tolist()]
    rows += [(first, second, False) for first, second in nontargets.tolist()]
    return [(utts[first], utts[second], label) for first, second, label in sorted(rows)]


def _choose(pairs: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(pairs, 2); at most `limit` of them."""
    return pairs[rng.choice(len(pairs), limit, replace=False)] if len(pairs) > limit else pairs


def _target_pairs(utts: list[str], utt2spk: Mapping[str, str]) -> NDArray[np.int64]:
    groups: dict[str, list[int]] = {}
    for row, utt in enumerate(utts):
        groups.setdefault(utt2spk[utt], []).append(row)
    pairs = [np.array(rows)[np.column_stack(np.triu_indices(len(rows), 1))] for rows in groups.values()]
    both = np.concatenate(pairs)
    _, video = np.unique([_video(utt) for utt in utts], return_inverse=True)
    return both[video[both[:, 0]] != video[both[:, 1]]]


def _video(utt: str) -> str:
    """What two utterances of a target trial may not share; the utterance itself where the layout tells no video."""
    return utt.rsplit("/", 1)[0] if utt.count("/") == 2 else utt


def _nontarget_pairs(
    utts: list[str], utt2spk: Mapping[str, str], wanted: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    _, speaker = np.unique([utt2spk[utt] for utt in utts], return_inverse=True)
    if len(utts) <= _ENUMERATE:
        pairs = np.column_stack(np.triu_indices(len(utts), 1))
    else:
        drawn = np.sort(rng.integers(0, len(utts), (4 * wanted, 2)), axis=1)
        pairs = np.unique(drawn, axis=0)
    return pairs[speaker[pairs[:, 0]] != speaker[pairs[:, 1]]]
