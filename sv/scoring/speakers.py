"""Embeddings by speaker: labels, means of speakers, and the scatter of utterances about these means."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import ArkWriter, Vectors, read_table
from sv.metrics.provenance import mark_made
from sv.scoring.cosine import read_embeddings
from sv.scoring.inputs import TrainingFiles

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_ROWS = 8192  # of a block that is turned into float64


@dataclass(frozen=True)
class SpeakerVectors:
    """Embeddings of known speakers.

    Attributes:
        vectors: (utterances, dim).
        speakers: names, sorted as `LC_ALL=C sort` does.
        speaker: (utterances,) rows of those; each speaker has an utterance or more.
    """

    vectors: Vectors
    speakers: list[str]
    speaker: NDArray[np.intp]


@dataclass(frozen=True)
class ClassStats:
    """Statistics of its training data that a two-covariance model needs.

    Attributes:
        counts: (speakers,) utterances of each, as float64.
        means: (speakers, dim) float64.
        scatter: (dim, dim) float64, the sum over all utterances of (x - m)(x - m)^T, m being their speaker's mean.
    """

    counts: Doubles
    means: Doubles
    scatter: Doubles

    @property
    def num_utts(self) -> int:
        """Number of utterances."""
        return int(self.counts.sum())

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self.means.shape[1]


def read_spk(path: str | Path) -> list[str]:
    """Read names of speakers, the first word of each line, as in heldout_spk of a training.

    Raises:
        UserError: it does not exist.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; it lists one speaker a line")
    return [line.split()[0] for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def read_utt2spk(path: str | Path) -> dict[str, str]:
    """Read the speaker of each utterance from a utt2spk file or the data dir that holds it."""
    path = Path(path)
    return read_table(path / "utt2spk" if path.is_dir() else path)


def read_by_speaker(training: TrainingFiles) -> SpeakerVectors:
    """Read embeddings by speaker; see `by_speaker`."""
    left_out = read_spk(training.exclude) if training.exclude else []
    vectors, speakers = read_embeddings(training.xvector_scp), read_utt2spk(training.utt2spk)
    return by_speaker(vectors, speakers, exclude=left_out, source=training.xvector_scp, where=training.utt2spk)


def by_speaker(
    vectors: Vectors,
    utt2spk: Mapping[str, str],
    *,
    exclude: Collection[str] = (),
    source: str | Path = "xvector.scp",
    where: str | Path = "utt2spk",
) -> SpeakerVectors:
    """Group the embeddings of all speakers but those excluded.

    Args:
        vectors: (utterances, dim).
        utt2spk: speaker of each utterance, or of more.
        exclude: speakers to leave out: those set aside for calibration, say.
        source, where: where the vectors and the speakers come from, for errors.

    Raises:
        UserError: an utterance without speaker; no speaker is left; none of those excluded is there.
    """
    unknown = [utt for utt in vectors.ids if utt not in utt2spk]
    if unknown:
        raise UserError(f"{where}: {unknown[0]} of {source} is not there ({len(unknown)} such utterances); add it")
    names = [utt2spk[utt] for utt in vectors.ids]
    left_out = set(exclude)
    if left_out and left_out.isdisjoint(utt2spk.values()):
        raise UserError(f"{where}: none of the {len(left_out)} speakers to exclude is there; give names of speakers")
    rows = [row for row, name in enumerate(names) if name not in left_out]
    if not rows:
        raise UserError(f"{source}: no speaker is left when {len(left_out)} are excluded; exclude fewer")
    speakers = sorted({names[row] for row in rows}, key=str.encode)
    index = {name: number for number, name in enumerate(speakers)}
    if len(rows) < len(names):
        vectors = Vectors([vectors.ids[row] for row in rows], vectors.matrix[rows])
    return SpeakerVectors(vectors, speakers, np.array([index[names[row]] for row in rows]))


def class_stats(matrix: Floats, speaker: NDArray[np.intp]) -> ClassStats:
    """Return the statistics of the speakers 0, 1, ...; each has one utterance or more.

    Args:
        matrix: (utterances, dim).
        speaker: (utterances,) of each row.
    """
    counts = np.bincount(speaker).astype(np.float64)
    means = _sums(matrix, speaker, len(counts)) / counts[:, None]
    scatter = np.zeros((matrix.shape[1], matrix.shape[1]))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        offsets = matrix[rows] - means[speaker[rows]]  # float64
        scatter += offsets.T @ offsets
    return ClassStats(counts, means, scatter)


def _sums(matrix: Floats, speaker: NDArray[np.intp], num_speakers: int) -> Doubles:
    """Return the sum of each speaker's rows; (speakers, dim) float64. Rows are gathered by speaker, block by block."""
    sums = np.zeros((num_speakers, matrix.shape[1]))
    order = np.argsort(speaker, kind="stable")
    for start in range(0, len(order), _ROWS):
        rows = order[start : start + _ROWS]
        first = np.flatnonzero(np.diff(speaker[rows], prepend=-1))  # where each speaker of the block begins
        sums[speaker[rows[first]]] += np.add.reduceat(matrix[rows], first, axis=0, dtype=np.float64)
    return sums


def speaker_means(labelled: SpeakerVectors) -> Vectors:
    """Return the mean of each speaker's embeddings, as they are; (speakers, dim)."""
    counts = np.bincount(labelled.speaker)
    sums = _sums(labelled.vectors.matrix, labelled.speaker, len(counts))
    return Vectors(labelled.speakers, (sums / counts[:, None]).astype(np.float32))


def write_speaker_means(training: TrainingFiles, spk_xvector_scp: Path) -> None:
    """Write the mean embedding of each speaker, spk_xvector.ark beside the scp, and its mark; speakers sorted."""
    means = speaker_means(read_by_speaker(training))
    with ArkWriter(spk_xvector_scp.with_suffix(".ark"), spk_xvector_scp) as writer:
        for speaker, mean in zip(means.ids, means.matrix, strict=True):
            writer.write(speaker, mean)
    mark_made(spk_xvector_scp, training.xvector_scp)
    log.info("means of %d speakers in %s", len(means.ids), spk_xvector_scp)
