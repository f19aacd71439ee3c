"""Cosine scoring of trials, in blocks.

Embeddings are centered (if a mean is given) and brought to unit length once; a trial then costs two rows and a dot
product. A model of several utterances is the mean of their unit vectors, brought to unit length again: each utterance
counts the same, whatever the length of its embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import Trials, Vectors, atomic_write, read_enroll_map, read_vector, read_vectors
from sv.io.ark import HEADER_BYTES, is_text
from sv.metrics.provenance import check_embeddings, mark_made
from sv.scoring.inputs import Inputs
from sv.scoring.score_list import Scorer

Floats = NDArray[np.float32]

_ROWS = 2048  # 4 MiB at 256 dimensions: stays in the cache


def read_embeddings(scp: str | Path, remedy: str = "extract the embeddings first (stage 4)") -> Vectors:
    """Read all embeddings of an xvector.scp, which must be those of their mark if there is one.

    Args:
        scp: the file.
        remedy: what to do if it does not exist.

    Raises:
        UserError: it does not exist; see also `check_embeddings` and `read_vectors`.
    """
    if not Path(scp).is_file():
        raise UserError(f"{scp} does not exist; {remedy}")
    check_embeddings(Path(scp))
    return read_vectors(scp)


def read_mean(path: str | Path) -> Floats:
    """Read the mean that `write_mean` wrote, or the mean.vec of Kaldi's ivector-mean; (dim,).

    Raises:
        UserError: it does not exist, or is neither.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; make it with steps/compute_mean.py (stage 4)")
    with open(path, "rb") as f:
        if (head := f.read(HEADER_BYTES)).startswith(b"\0B") or is_text(head):
            return read_vector(f"{path}:0")
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a numpy file; make it again with steps/compute_mean.py") from error


def write_mean(xvector_scp: Path, path: Path) -> None:
    """Write the mean of all embeddings as a numpy file, (dim,) float32, and its mark."""
    mean = read_embeddings(xvector_scp).matrix.mean(axis=0, dtype=np.float64)
    with atomic_write(path, "wb") as f:
        np.save(f, mean.astype(np.float32))
    mark_made(path, xvector_scp)


@dataclass(frozen=True)
class Sides:
    """Vectors of both sides of the trials.

    Attributes:
        vectors: embeddings as they are, (utterances, dim).
        mean: (dim,) to subtract; None: nothing.
        unit: embeddings minus the mean, of length 1.
        utts_of: utterances of each enroll model; None: enroll on the utterances.
        models: unit vectors of the enroll models; None as `utts_of`.
    """

    vectors: Vectors
    mean: Floats | None
    unit: Vectors
    utts_of: Mapping[str, Sequence[str]] | None
    models: Vectors | None


def read_sides(inputs: Inputs) -> Sides:
    """Read embeddings, mean and enroll models; errors as of `read_embeddings`, `unit_vectors` and `enroll_models`."""
    mean_path, source, where = inputs.files.get("mean"), inputs.xvector_scp, inputs.enroll_map
    mean = read_mean(mean_path) if mean_path else None
    utts_of = read_enroll_map(where) if where else None
    vectors = read_embeddings(source)
    unit = unit_vectors(vectors, mean=mean, source=source)
    models = enroll_models(unit, utts_of, source=source, where=where or "") if utts_of else None
    return Sides(vectors, mean, unit, utts_of, models)


def load_cosine(inputs: Inputs) -> Scorer:
    """Return what scores lists by the cosine; the mean of `inputs` is subtracted if it is given."""
    sides = read_sides(inputs)
    unit, models = sides.unit, sides.models  # the embeddings as they are need not be held

    def score(block: Trials) -> list[Floats]:
        return [cosine_scores(block, unit, models)]

    return Scorer(
        inputs,
        begin_list=lambda: score,
        test_ids=unit.ids,
        enroll_ids=models.ids if models else None,
        made_from={"mean": inputs.files.get("mean")},
    )


def unit_vectors(vectors: Vectors, *, mean: Floats | None = None, source: str | Path = "xvector.scp") -> Vectors:
    """Subtract the mean and scale embeddings to length 1.

    Args:
        vectors: (utterances, dim).
        mean: (dim,), usually of the training embeddings.
        source: where the vectors come from, for errors.

    Raises:
        UserError: a mean of another dimension; an embedding that is not finite, or is zero before or after centering.
    """
    dim = vectors.matrix.shape[1]
    if mean is not None and mean.shape != (dim,):
        raise UserError(
            f"{source}: embeddings have dimension {dim}, the mean has shape {mean.shape}; take the mean of embeddings "
            "of the same model (steps/compute_mean.py)"
        )
    if mean is not None and not np.isfinite(mean).all():
        raise UserError("the mean has NaN or infinite values; make it again with steps/compute_mean.py")
    unit = np.empty_like(vectors.matrix)
    for start in range(0, len(unit), _ROWS):
        rows = vectors.matrix[start : start + _ROWS]
        centered = rows if mean is None else rows - mean
        length = np.linalg.norm(centered, axis=1, keepdims=True)  # (rows, 1)
        usable = rows.any(axis=1) & (length[:, 0] > 0) & np.isfinite(length[:, 0])
        if not usable.all():
            bad = int(np.argmin(usable))
            what = "zero" if np.isfinite(length[bad, 0]) else "not finite"
            name = vectors.ids[start + bad]
            raise UserError(f"{source}: the embedding of {name} is {what}; extract it again, or leave it out")
        np.divide(centered, length, out=unit[start : start + _ROWS])
    return Vectors(vectors.ids, unit)


def enroll_models(
    unit: Vectors, utts_of: Mapping[str, Sequence[str]], *, source: str | Path = "xvector.scp", where: str | Path = ""
) -> Vectors:
    """Return one unit vector for each enroll model.

    Args:
        unit: (utterances, dim), of length 1.
        utts_of: model -> its utterances, one or more.
        source: where the vectors come from, for errors.
        where: where the models come from.

    Raises:
        UserError: an utterance without embedding; embeddings of a model that cancel out.
    """
    return unit_vectors(mean_of_each(unit, utts_of, source=source, where=where), source=where)


def mean_of_each(
    vectors: Vectors,
    utts_of: Mapping[str, Sequence[str]],
    *,
    source: str | Path = "xvector.scp",
    where: str | Path = "",
) -> Vectors:
    """Return the mean embedding of each enroll model; arguments as `enroll_models`.

    Raises:
        UserError: an utterance without embedding.
    """
    models = np.empty((len(utts_of), vectors.matrix.shape[1]), dtype=np.float32)
    for row, (model, utts) in enumerate(utts_of.items()):
        missing = [utt for utt in utts if utt not in vectors.index]
        if missing:
            raise UserError(f"{where}: {missing[0]} of model {model} is not in {source}; extract it (stage 4)")
        models[row] = vectors.matrix[[vectors.index[utt] for utt in utts]].mean(axis=0)
    return Vectors(list(utts_of), models)


def cosine_scores(trials: Trials, unit: Vectors, enroll: Vectors | None = None) -> Floats:
    """Return the cosine of each trial; (trials,) float32 in [-1, 1] except for rounding.

    Args:
        trials: a block whose rows point into the ids of the vectors.
        unit: result of `unit_vectors`, (utterances, dim).
        enroll: result of `enroll_models`, (models, dim); None: enroll on the utterances.
    """
    return pair_dots(unit.matrix if enroll is None else enroll.matrix, unit.matrix, trials.enroll, trials.test)


def pair_dots(left: Floats, right: Floats, left_rows: NDArray[np.int32], right_rows: NDArray[np.int32]) -> Floats:
    """Return the dot products of row left_rows[i] of `left` and row right_rows[i] of `right`; (pairs,) float32.

    Two small buffers are used for all blocks: page faults of a large temporary cost more than the products.
    """
    dots = np.empty(len(left_rows), dtype=np.float32)
    buffer = np.empty((2, min(_ROWS, len(dots)), left.shape[1]), dtype=np.float32)
    for start in range(0, len(dots), _ROWS):
        stop = min(start + _ROWS, len(dots))
        a, b = buffer[:, : stop - start]
        np.take(left, left_rows[start:stop], axis=0, out=a, mode="clip")  # "clip" writes into `out` directly
        np.take(right, right_rows[start:stop], axis=0, out=b, mode="clip")
        np.einsum("ij,ij->i", a, b, out=dots[start:stop])
    return dots
