"""Embeddings by onnxruntime, without torch: from the front-end and the network of a bundle (`sv.export.bundle`)."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sv.embeddings import MAX_FRAMES
from sv.errors import UserError
from sv.io import sha256_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]

NETWORK, FRONT_END, SUMS = "model.onnx", "front_end.onnx", "SHA256SUMS"


def missing_package(error: ImportError) -> UserError:
    """Return the error for a package of the extra "export" that is not installed."""
    package = (error.name or str(error)).split(".")[0]
    return UserError(f"exported models need the package {package}; install it: pip install {package}")


def open_session(model: bytes | Path, where: str | Path, *, num_threads: int = 0) -> "InferenceSession":
    """Open a model for the CPU.

    Args:
        model: content or path of an ONNX file.
        where: its name in errors.
        num_threads: threads of one run; 0: one for each core.

    Raises:
        UserError: onnxruntime is not installed, or cannot read the model.
    """
    try:
        from onnxruntime import InferenceSession, SessionOptions
    except ImportError as error:
        raise missing_package(error) from error
    content = model if isinstance(model, bytes) else str(model)
    options = SessionOptions()
    options.intra_op_num_threads = num_threads
    try:
        return InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each reason
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(f"{where} is no ONNX model that onnxruntime can run ({reason}); export it again") from error


def is_bundle(folder: Path) -> bool:
    """Return whether a folder is a bundle, whole or not."""
    return (folder / NETWORK).is_file() or (folder / SUMS).is_file()


def check_sums(folder: Path) -> None:
    """Compare the files of a bundle with their checksums.

    Raises:
        UserError: one is missing or has changed.
    """
    if not (folder / SUMS).is_file():
        raise UserError(f"{folder / SUMS} does not exist; copy the bundle whole, or export it again")
    for line in (folder / SUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} does not exist; copy the bundle whole, or export it again")
        if sha256_of(folder / name) != digest:
            raise UserError(f"{folder / name} is not the file that was exported; copy the bundle again")


class OnnxEncoder:
    """Front-end and network of a bundle.

    Args:
        folder: the bundle.

    Raises:
        UserError: a file is missing or damaged; the two are not of one model.
    """

    def __init__(self, folder: Path) -> None:
        check_sums(folder)
        self._front_end, self._network = (open_session(folder / name, folder / name) for name in (FRONT_END, NETWORK))
        told = [session.get_modelmeta().custom_metadata_map for session in (self._front_end, self._network)]
        if told[0] != told[1]:
            raise UserError(f"{folder}: {FRONT_END} and {NETWORK} are not of one model; export them again")
        self._about: dict[str, str] = told[1]

    @cached_property
    def sha256(self) -> str:
        """Checksum of the model file that was exported."""
        return self._about["model_sha256"]

    @cached_property
    def fingerprint(self) -> str:
        """See `sv.embeddings.encoder.SpeakerEncoder`."""
        return self._about["fingerprint"]

    @cached_property
    def sample_rate(self) -> int:
        """Sample rate of the model, in Hz."""
        return int(self._about["sample_rate"])

    @cached_property
    def embedding_dim(self) -> int:
        """Dimension of the embeddings."""
        return int(self._about["output_dim"])

    def embed(self, waveform: Floats) -> Floats:
        """Return the embedding (dim,) of a waveform (samples,) in [-1, 1].

        One of more than 200 s is cut into equal chunks, whose embeddings are averaged. The mean of each chunk is
        subtracted, whereas torch subtracts that of the whole recording.

        Raises:
            UserError: the embedding is not finite.
        """
        (feats,) = self._front_end.run(None, {"waveform": waveform[None]})
        chunks = np.array_split(feats, -(-feats.shape[1] // MAX_FRAMES), axis=1)
        embedding: Floats = np.mean([self._network.run(None, {"feats": chunk})[0][0] for chunk in chunks], axis=0)
        if not np.isfinite(embedding).all():
            raise UserError("the embedding has NaN or infinite values; check the recording and the model for them")
        return embedding
