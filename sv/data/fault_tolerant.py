"""Replace utterances that cannot be read during training."""

from collections.abc import Iterable

import numpy as np

from sv.data.loader import Batch, Dataset
from sv.data.noises import ClipError
from sv.data.sampling import Longs, another_visit, rows_of
from sv.data.utt_index import UttIndex
from sv.errors import UserError
from sv.jobs.bad_utts import BadUtts

_STREAM = 61  # number of the stream of random numbers
_OF_SPEAKER, _OF_ANYBODY = 4, 4  # substitutes that are tried


class FaultTolerantDataset:
    """A dataset that replaces unreadable utterances by others of their speaker, or else by any other.

    A loss that compares the utterances of a batch needs the speakers unchanged. With `keep_speakers`, the substitute is
    another utterance of the speaker, with another crop if it is in the batch already. If none can be read, training
    ends.

    The substitute depends on (seed, epoch, utterance) alone. A batch is therefore the same in any thread and in a
    resumed training.

    Args:
        dataset: makes batches and raises UserError for utterances that it cannot read.
        utts: rows of the index that are trained on, from which substitutes are taken.
        index: names utterances and speakers.
        seed: seed of the draws.
        max_share: largest share of `utts` that may be bad.
        keep_speakers: take substitutes from the same speaker only.

    Attributes:
        bad: the utterances that could not be read, and why.
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
        """Make a batch of these draws or of their substitutes, which `Batch.utts` then names.

        Raises:
            UserError: too many utterances are bad, or no substitute can be read either.
            ClipError: noise or impulse responses cannot be read.
        """
        known = self.bad.why
        suspects = [place for place, utt in enumerate(utts.tolist()) if known and self._name(utt) in known]
        batch, _ = self._try(self._replace_bad(utts, suspects, epoch), epoch)
        return batch or self.dataset.batch(self._replace_bad(utts, range(len(utts)), epoch), epoch)

    def statistics(self, utts: Longs, epoch: int) -> dict[str, float]:
        """Return the figures of the dataset."""
        return self.dataset.statistics(utts, epoch)

    def fingerprint(self) -> str:
        """Return the hash of the dataset."""
        return self.dataset.fingerprint()

    def _replace_bad(self, utts: Longs, suspects: Iterable[int], epoch: int) -> Longs:
        """Try the utterances at some positions of a batch; return the batch with substitutes for the bad ones."""
        replaced = utts.copy()
        for place in suspects:
            utt = int(utts[place])
            if why := self._why_bad(utt, epoch):
                self.bad.add({self._name(utt): why})
                replaced[place] = self._substitute(utt, epoch, why, replaced)
        return replaced

    def _why_bad(self, utt: int, epoch: int) -> str:
        """Return why an utterance cannot be read, or ""."""
        return self._try(np.array([utt]), epoch)[1]

    def _try(self, utts: Longs, epoch: int) -> tuple[Batch | None, str]:
        """Return the batch, or why one of its utterances cannot be read; let ClipError, no fault of theirs, pass."""
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
                "utterances of a speaker; repair the file or leave the speaker out (tools/subset_data_dir.sh)"
            )
        raise UserError(f"{why}; {len(candidates)} others drawn instead of it cannot be read either")

    def _candidates(self, utt: int, epoch: int, batch: Longs) -> list[int]:
        """List draws to try instead of `utt`, none of them in the batch already."""
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
