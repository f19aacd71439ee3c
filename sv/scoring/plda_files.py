"""A PLDA back-end as a folder of Kaldi's binary files; files of Kaldi's tools are read, too.

mean.vec         (dim,) float32, of ivector-mean                         subtracted first
transform.mat    (projected, dim) or (projected, dim + 1) float32        of ivector-compute-lda, or the identity
plda             <Plda> mean (projected,) transform (projected, projected) psi (projected,) </Plda>, float64
.done            how it was made; absent where Kaldi made it
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sv.errors import UserError
from sv.io import atomic_write, read_json, read_matrix, read_vector
from sv.io.ark import encode
from sv.jobs import DoneMark
from sv.scoring.plda import Plda
from sv.scoring.projection import Projection
from sv.scoring.speakers import Doubles

_REMEDY = "train it again with steps/train_plda.py (stage 7)"
_NAMES = ("mean.vec", "transform.mat", "plda")


@dataclass(frozen=True)
class PldaBackend:
    """Projection and PLDA: all that turns embeddings into log-likelihood ratios."""

    projection: Projection
    plda: Plda


def write_backend(folder: str | Path, backend: PldaBackend, options: Mapping[str, Any]) -> None:
    """Write the three files, then the mark.

    Args:
        folder: made if it is missing.
        backend: what to write.
        options: how it was made; whether lengths were normalized is added to them.
    """
    folder = Path(folder)
    mark = DoneMark(folder / ".done", {**options, "length_norm": backend.projection.length_norm})
    mark.path.unlink(missing_ok=True)
    for name, content in (
        ("mean.vec", encode(backend.projection.mean)),
        ("transform.mat", encode(backend.projection.matrix)),
        ("plda", encode_plda(backend.plda)),
    ):
        with atomic_write(folder / name, "wb") as f:
            f.write(content)
    mark.write([folder / name for name in _NAMES])


def read_backend(folder: str | Path, *, length_norm: bool = True) -> PldaBackend:
    """Read the three files.

    Args:
        folder: of `write_backend` or of Kaldi.
        length_norm: whether embeddings were brought to length sqrt(projected) before the PLDA was trained; used for
            Kaldi's folders, which do not say.

    Raises:
        UserError: a missing, truncated or text file; files that do not fit together.
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
    """Return the bytes of Kaldi's binary `plda` file."""
    parts = [encode(array, double=True)[2:] for array in (plda.mean, plda.transform, plda.psi)]  # without "\0B"
    return b"\0B<Plda> " + b"".join(parts) + b"</Plda> "


def decode_plda(content: bytes, source: str | Path) -> Plda:
    """Return the model of a binary `plda` file.

    Raises:
        UserError: text, another object, or truncated; not finite; sizes that do not fit.
    """
    if not content.startswith(b"\0B<Plda> "):
        hint = "; it is text, write it with ivector-copy-plda --binary=true" if b"<Plda>" in content[:20] else ""
        raise UserError(f"{source}: no binary Kaldi PLDA stands here{hint or f'; {_REMEDY}'}")
    arrays, position = [], len(b"\0B<Plda> ")
    try:
        for dims in (1, 2, 1):
            array, position = _decode_array(content, position, dims)
            arrays.append(array)
        if content[position:].rstrip() != b"</Plda>":
            raise ValueError
    except (ValueError, struct.error) as error:
        raise UserError(f"{source}: truncated or damaged at byte {position} of {len(content)}; {_REMEDY}") from error
    mean, transform, psi = arrays
    if not transform.shape == (len(mean), len(mean)) == (len(psi), len(psi)) or not len(mean):
        raise UserError(
            f"{source}: mean {mean.shape}, transform {transform.shape}, psi {psi.shape} do not fit; {_REMEDY}"
        )
    if not all(np.isfinite(array).all() for array in arrays) or psi.min() < 0:
        raise UserError(f"{source}: NaN or infinite values, or negative variances; {_REMEDY}")
    return Plda(mean, transform, psi)


def _decode_array(content: bytes, position: int, dims: int) -> tuple[Doubles, int]:
    """Return a vector (dims 1) or matrix (2) of float32 or float64, and the position behind it."""
    kind = content[position : position + 3]
    letter = b"V" if dims == 1 else b"M"
    if kind not in (b"F" + letter + b" ", b"D" + letter + b" "):
        raise ValueError
    position += 3
    shape = []
    for _ in range(dims):
        width, size = struct.unpack_from("<bi", content, position)
        if width != 4 or size < 0:
            raise ValueError
        shape.append(size)
        position += 5
    count, dtype = int(np.prod(shape, dtype=np.int64)), np.dtype("<f4" if kind[:1] == b"F" else "<f8")
    array = np.frombuffer(content, dtype, count, position).astype(np.float64).reshape(shape)
    return array, position + count * dtype.itemsize
