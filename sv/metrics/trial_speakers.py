"""Who speaks in each trial of a score file: what intervals, tests and calibration need."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sv.errors import UserError
from sv.io import ScoredTrials
from sv.metrics.bootstrap import SpeakerTrials


class Speakers:
    """The speaker of each utterance and enroll model, by number.

    Args:
        utt2spk: utterance (or enroll model) -> speaker; an enroll model that is named as a speaker is that speaker.
        source: where it comes from, for errors.
    """

    def __init__(self, utt2spk: Mapping[str, str], source: str | Path) -> None:
        number = {speaker: row for row, speaker in enumerate(dict.fromkeys(utt2spk.values()))}
        self._number = {**number, **{utt: number[speaker] for utt, speaker in utt2spk.items()}}
        self._source = source

    def trials(self, scores: ScoredTrials) -> SpeakerTrials:
        """The trials of a score file, or of a block of it, with their speakers.

        Raises:
            UserError: no labels; an id whose speaker is not known; a label that contradicts the speakers.
        """
        is_target = scores.labels()
        spk_of = np.array([self._number.get(name, -1) for name in scores.ids], dtype=np.int32)
        if (spk_of < 0).any():
            unknown = scores.ids[int(np.argmin(spk_of))]
            raise UserError(
                f"{scores.path}: the speaker of {unknown} is not in {self._source}; give the test set's utt2spk"
            )
        enroll, test = spk_of[scores.enroll], spk_of[scores.test]
        if not np.array_equal(enroll == test, is_target):
            row = int(np.argmax((enroll == test) != is_target))
            pair = f"{scores.ids[scores.enroll[row]]} and {scores.ids[scores.test[row]]}"
            word = "target" if is_target[row] else "nontarget"
            raise UserError(
                f"{scores.path}:{scores.first_line + row}: {pair} is labelled {word}, but {self._source} says "
                "otherwise; mend one of them"
            )
        return SpeakerTrials(scores.values, is_target, enroll, test)
