"""A PLDA back-end as a folder of Kaldi's files. They are written in binary; Kaldi's own are read in binary or text.

mean.vec         (dim,) float32, of ivector-mean                         subtracted first
transform.mat    (projected, dim) or (projected, dim + 1) float32        of ivector-compute-lda, or the identity
plda             <Plda> mean (projected,) transform (projected, projected) psi (projected,) </Plda>, float64
.done            how it was made; absent where Kaldi made it
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from sv.errors import UserError
from sv.io import atomic_write, read_json, read_matrix, read_vector
from sv.io.ark import HEADER_BYTES, decode, encode, parse_header, read_text
from sv.jobs import DoneMark
from sv.scoring.plda import Plda
from sv.scoring.projection import Projection
from sv.scoring.speakers import Doubles

_REMEDY = "train it again with steps/train_plda.py (stage 7)"
_NAMES = ("mean.vec", "transform.mat", "plda")


@dataclass(frozen=True)
class PldaBackend:
    """The way from embeddings to log-likelihood ratios: a projection, then PLDA."""

    projection: Projection
    plda: Plda


def write_backend(folder: str | Path, backend: PldaBackend, options: Mapping[str, Any]) -> None:
    """Write the three files, then the mark.

    Args:
        folder: made if it is missing.
        backend: what to write.
        options: how it was made; `length_norm` is added.
    """
    folder = Path(folder)
    mark = DoneMark(folder / ".done", {**options, "length_norm": backend.projection.length_norm})
    with ExitStack() as stack:  # all or none; an old mark stays meanwhile, so that a mixture is refused
        for name, content in (
            ("mean.vec", encode(backend.projection.mean.astype(np.float32))),
            ("transform.mat", encode(backend.projection.matrix.astype(np.float32))),
            ("plda", encode_plda(backend.plda)),
        ):
            stack.enter_context(atomic_write(folder / name, "wb")).write(content)
    mark.write([folder / name for name in _NAMES])


def read_backend(folder: str | Path, *, length_norm: bool = True) -> PldaBackend:
    """Read the three files.

    Args:
        folder: folder made by `write_backend` or by Kaldi.
        length_norm: whether embeddings were brought to length sqrt(projected) before the PLDA was trained; only for
            Kaldi's folders, which do not say.

    Raises:
        UserError: a missing or truncated file; files that do not fit together.
    """
    folder = Path(folder)
    for name in _NAMES:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} does not exist; {_REMEDY}")
    mean = read_vector(f"{folder / 'mean.vec'}:0")
    matrix = read_matrix(f"{folder / 'transform.mat'}:0")
    plda = decode_plda((folder / "plda").read_bytes(), folder / "plda")
    if matrix.shape[1] - len(mean) not in (0, 1) or len(matrix) != plda.dim:
        raise UserError(
            f"{folder}: mean.vec has {len(mean)} values, transform.mat is {matrix.shape[0]} x {matrix.shape[1]}, plda "
            f"has dimension {plda.dim}; they do not belong together, {_REMEDY}"
        )
    return PldaBackend(Projection(mean, matrix, _told_length_norm(folder, length_norm)), plda)


def _told_length_norm(folder: Path, otherwise: bool) -> bool:
    path = folder / ".done"
    if not path.exists():
        return otherwise
    try:
        options = read_json(path)["options"]
        why = DoneMark(path, options).stale(verify=True)
        length_norm = bool(options["length_norm"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; {_REMEDY}") from error
    if why:
        raise UserError(f"{why}; {_REMEDY}")
    return length_norm


def encode_plda(plda: Plda) -> bytes:
    """Encode a model as Kaldi's binary `plda` file."""
    arrays = (np.asarray(array, dtype=np.float64) for array in (plda.mean, plda.transform, plda.psi))
    return b"\0B<Plda> " + b"".join(encode(array).removeprefix(b"\0B") for array in arrays) + b"</Plda> "


def decode_plda(content: bytes, source: str | Path) -> Plda:
    """Decode the content of a `plda` file, binary or text.

    Raises:
        UserError: another object, or truncated; not finite; sizes that do not fit.
    """
    binary = content.startswith(b"\0B<Plda> ")
    if not binary and not content.startswith(b"<Plda>"):
        raise UserError(f"{source}: no Kaldi PLDA stands here; {_REMEDY}")
    file = BytesIO(content)
    file.seek(content.index(b">") + (2 if binary else 1))
    try:
        mean, transform, psi = ((_decode_next if binary else read_text)(file, str(source)) for _ in range(3))
        whole = file.read().strip() == b"</Plda>"
    except UserError:
        whole = False
    if not whole:
        raise UserError(f"{source}: truncated or damaged at byte {file.tell()} of {len(content)}; {_REMEDY}")
    if (mean.ndim, psi.ndim) != (1, 1) or not transform.shape == (len(mean), len(mean)) == (len(psi), len(psi)):
        raise UserError(
            f"{source}: mean {mean.shape}, transform {transform.shape}, psi {psi.shape} do not fit; {_REMEDY}"
        )
    if not all(np.isfinite(array).all() for array in (mean, transform, psi)) or psi.min() < 0:
        raise UserError(f"{source}: NaN or infinite values, or negative variances; {_REMEDY}")
    return Plda(mean, transform, psi)


def _decode_next(file: BytesIO, source: str) -> Doubles:
    """Decode a binary vector or matrix from where the file stands; in a PLDA file it lacks the "\\0B" before it."""
    start = file.tell()
    entry = b"\0B" + file.read()
    file.seek(start)
    header = parse_header(entry[:HEADER_BYTES], 0, len(entry), source)
    file.seek(start + header.end_offset - 2)
    return decode(entry[: header.end_offset], header).astype(np.float64)
