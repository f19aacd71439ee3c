"""Utterances that can not be read in mid-training are replaced by others."""

from collections.abc import Iterable

import numpy as np

from sv.data.loader import Batch, Dataset
from sv.data.noises import ClipError
from sv.data.sampling import Longs, another_visit, rows_of
from sv.data.utt_index import UttIndex
from sv.errors import UserError
from sv.jobs.bad_utts import BadUtts

_STREAM = 61  # of random numbers
_OF_SPEAKER, _OF_ANYBODY = 4, 4  # tries for a substitute


class FaultTolerantDataset:
    """A dataset in whose batches an utterance that can not be read is replaced by another of its speaker, or else any.

    A loss that compares the utterances of a batch must keep its speakers. There one of the speaker's other utterances
    takes the place, with another crop where it is in the batch already; if none can be read, the training ends.

    The substitute is drawn from (seed, epoch, utterance) and tried anew each time, so that a training that goes on
    after a break sees what it would have seen without one, and a batch is the same in any thread.

    Args:
        dataset: makes batches, and raises UserError for what it can not read.
        utts: rows of the index to take substitutes from: those that are trained on.
        index: names utterances and speakers.
        seed: of the draws.
        max_share: of `utts` that may be bad.
        keep_speakers: a substitute must be of the same speaker.
    """

    def __init__(
        self,
        dataset: Dataset,
        utts: Longs,
        index: UttIndex,
        *,
        seed: int,
        max_share: float,
        keep_speakers: bool = False,
    ) -> None:
        self.dataset, self.utts, self.index, self.seed = dataset, utts, index, seed
        self.keep_speakers = keep_speakers
        self.bad = BadUtts(len(utts), max_share, "replaced by another")

    def batch(self, utts: Longs, epoch: int) -> Batch:
        """Of the utterances, or what replaces them: they are those of the result.

        Raises:
            UserError: too many are bad, no substitute can be read either, or noise can not (ClipError).
        """
        known = self.bad.why
        suspects = [place for place, utt in enumerate(utts.tolist()) if known and self._name(utt) in known]
        batch, _ = self._try(self._mended(utts, suspects, epoch), epoch)
        return batch or self.dataset.batch(self._mended(utts, range(len(utts)), epoch), epoch)

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        return self.dataset.statistics(utts, epoch)

    def fingerprint(self) -> str:
        return self.dataset.fingerprint()

    def _mended(self, utts: Longs, suspects: Iterable[int], epoch: int) -> Longs:
        """The utterances, of which those at some places are tried and, if they are bad, replaced."""
        mended = utts.copy()
        for place in suspects:
            utt = int(utts[place])
            if why := self._why_bad(utt, epoch):
                self.bad.add({self._name(utt): why})
                mended[place] = self._substitute(utt, epoch, why, mended)
        return mended

    def _why_bad(self, utt: int, epoch: int) -> str:
        """What is wrong with an utterance, or ""."""
        return self._try(np.array([utt]), epoch)[1]

    def _try(self, utts: Longs, epoch: int) -> tuple[Batch | None, str]:
        """The batch, or what is wrong with one of its utterances. ClipError, no fault of theirs, is raised."""
        try:
            return self.dataset.batch(utts, epoch), ""
        except ClipError:
            raise
        except UserError as error:
            return None, str(error)

    def _name(self, utt: int) -> str:
        return self.index.utts[rows_of(utt)]

    def _substitute(self, utt: int, epoch: int, why: str, batch: Longs) -> int:
        candidates = self._candidates(utt, epoch, batch)
        for candidate in candidates:
            if not (fault := self._why_bad(candidate, epoch)):
                return candidate
            self.bad.add({self._name(candidate): fault})
        if self.keep_speakers:
            raise UserError(
                f"{why}; {self._speaker_of(utt)} has no other utterance that can be read, and the loss compares "
                "utterances of a speaker; mend the file or leave the speaker out (tools/subset_data_dir.sh)"
            )
        raise UserError(f"{why}; {len(candidates)} others drawn instead of it can not be read either")

    def _candidates(self, utt: int, epoch: int, batch: Longs) -> list[int]:
        """Draws to try in place of one, none of them in the batch already."""
        speaker, row = self.index.speaker[self.utts], rows_of(utt)
        rng = np.random.Generator(
            np.random.Philox(key=np.array([self.seed, epoch]).astype(np.uint64), counter=[0, 0, utt, _STREAM])
        )
        of_speaker = rng.permutation(self.utts[(speaker == self.index.speaker[row]) & (self.utts != row)])
        of_speaker = of_speaker[np.argsort(np.isin(of_speaker, rows_of(batch)), kind="stable")]
        if self.keep_speakers:
            rows = of_speaker
        else:
            of_anybody = rng.choice(self.utts, _OF_SPEAKER + _OF_ANYBODY)
            rows = np.concatenate([of_speaker[:_OF_SPEAKER], of_anybody])[: len(of_anybody)]
        return [another_visit(candidate + utt - row, batch) for candidate in rows.tolist()]

    def _speaker_of(self, utt: int) -> str:
        return self.index.speakers[int(self.index.speaker[rows_of(utt)])]
