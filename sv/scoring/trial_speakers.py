"""Who speaks in each trial of a score file: what intervals, tests and calibration need."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sv.errors import UserError
from sv.io import ScoredTrials
from sv.scoring.bootstrap import SpeakerTrials


def speaker_trials(scores: ScoredTrials, utt2spk: Mapping[str, str], source: str | Path) -> SpeakerTrials:
    """The trials of a score file with their speakers.

    Args:
        scores: with labels.
        utt2spk: utterance (or enroll model) -> speaker; an enroll model that is named as a speaker is that speaker.
        source: where it comes from, for errors.

    Raises:
        UserError: no labels; an id whose speaker is not known; a label that contradicts the speakers.
    """
    is_target = scores.labels()
    number = {speaker: row for row, speaker in enumerate(dict.fromkeys(utt2spk.values()))}
    spk_of = np.array([number.get(utt2spk.get(name, name), -1) for name in scores.ids], dtype=np.int32)
    if (spk_of < 0).any():
        unknown = scores.ids[int(np.argmin(spk_of))]
        raise UserError(f"{scores.path}: the speaker of {unknown} is not in {source}; give the test set's utt2spk")
    enroll, test = spk_of[scores.enroll], spk_of[scores.test]
    if not np.array_equal(enroll == test, is_target):
        row = int(np.argmax((enroll == test) != is_target))
        pair = f"{scores.ids[scores.enroll[row]]} and {scores.ids[scores.test[row]]}"
        word = "target" if is_target[row] else "nontarget"
        raise UserError(
            f"{scores.path}:{row + 1}: {pair} is labelled {word}, but {source} says otherwise; mend one of them"
        )
    return SpeakerTrials(scores.values, is_target, enroll, test)
