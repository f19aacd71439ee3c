"""Compute the embeddings of recordings: files or samples of any rate, which are checked first."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sv.audio.recordings import Audio, check_audio, is_narrow, read_audio
from sv.embeddings.experiment import find_model, read_config
from sv.embeddings.onnx_encoder import OnnxEncoder, is_bundle
from sv.errors import UserError, log
from sv.jobs.gpus import named_gpus

if TYPE_CHECKING:
    from sv.audio.files import Waveform
    from sv.embeddings.encoder import WaveformEncoder

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """The embedding of a checked recording, and what scores need besides.

    Attributes:
        duration_s: seconds.
        embedding: (dim,).
        fingerprint: that of the system which made it; see `Embedder.fingerprint`.
        warnings: reasons to doubt answers, one per line.
    """

    duration_s: float
    embedding: Floats
    fingerprint: str
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Describe it without the numbers of the embedding."""
        dim, warnings = len(self.embedding), self.warnings
        return f"Recording(duration_s={self.duration_s:.2f}, embedding=<{dim} numbers>, {warnings=})"


class Embedder:
    """A trained or imported system that computes embeddings of audio; it needs no calibration.

    Args:
        exp_dir: folder with config.yaml and models/avg_model.pt; or a bundle (`sv.export.bundle`), without torch.
        gpus: "auto" for the first GPU if there is one, "none" for the CPU, or the number of a GPU.
        resample_audio: resample recordings of another rate than the model's, and log this once; False: refuse them.

    Attributes:
        encoder: encoder of waveforms; it checks nothing.

    Raises:
        UserError: something is missing or damaged.
    """

    def __init__(self, exp_dir: str | Path, *, gpus: str | int = "auto", resample_audio: bool = True) -> None:
        self.encoder = open_encoder(check_system(exp_dir), str(gpus))
        self._resample, self._resampled = resample_audio, set[int]()  # rates that the log has named

    @property
    def fingerprint(self) -> str:
        """Checksum of model and front-end: embeddings of different ones must not be compared."""
        return self.encoder.fingerprint

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model, in Hz."""
        return self.encoder.sample_rate

    def embed(self, audio: Audio, *, sample_rate: int | None = None) -> Floats:
        """Return the embedding of a recording, (dim,) float32.

        Args:
            audio: a file; or samples of one channel, (samples,), (1, samples) or (samples, 1), from numpy or torch:
                floats in [-1, 1], or int16.
            sample_rate: rate of the samples, in Hz; None for the model's.

        Raises:
            UserError: unreadable audio, another sample rate if `resample_audio` is False, several channels, silence,
                too little speech or clipping; the message names the file.
        """
        return self.embed_recording(audio, sample_rate=sample_rate).embedding

    def embed_recording(self, audio: Audio, name: str = "waveform", *, sample_rate: int | None = None) -> Recording:
        """Check a recording and return embedding, duration and warnings; see `embed`. Errors call samples `name`."""
        name = str(audio) if isinstance(audio, (str, Path)) else name
        waveform, rate = read_audio(audio, name, self.sample_rate if sample_rate is None else sample_rate)
        if rate != self.sample_rate:
            if not self._resample:
                raise UserError(f"{name}: {rate} Hz, the model takes {self.sample_rate} Hz; resample it first")
            if rate not in self._resampled:
                log.warning("%s: %d Hz, resampled to %d Hz; so is all audio of this rate", name, rate, self.sample_rate)
                self._resampled.add(rate)
            waveform = _resampled(waveform, rate, self.sample_rate, name)
        check_audio(waveform, self.sample_rate, name)
        narrow = is_narrow(waveform, self.sample_rate)
        warnings = (f"{name} has nothing above 5 kHz, as telephone speech: scores are less reliable",) if narrow else ()
        return Recording(len(waveform) / self.sample_rate, self.encoder.embed(waveform), self.fingerprint, warnings)


def open_encoder(folder: Path, gpus: str) -> "WaveformEncoder | OnnxEncoder":
    """Return what makes embeddings of waveforms, of a bundle or an experiment folder.

    Raises:
        UserError: something is missing or damaged; torch is not installed, for an experiment folder; no such GPU.
    """
    named_gpus(gpus)  # report a wrong name before torch loads
    if is_bundle(folder):
        return OnnxEncoder(folder)
    if find_spec("torch") is None:
        raise UserError(
            f"{folder} needs torch, which is not installed; give a bundle (steps/export.py --format bundle)"
        )
    from sv.embeddings.encoder import WaveformEncoder

    return WaveformEncoder(folder, gpus)


def _resampled(waveform: "Waveform", rate: int, wanted: int, name: str) -> "Waveform":
    if find_spec("torchaudio") is None:
        raise UserError(f"{name}: {rate} Hz, the model takes {wanted} Hz; resample it first, or install torchaudio")
    import torch
    from torchaudio.functional import resample

    resampled: Waveform = resample(torch.from_numpy(waveform), rate, wanted).numpy()
    return resampled


def check_system(exp_dir: str | Path) -> Path:
    """Return the folder of a system; look for its configuration and weights before anything slower is done.

    Raises:
        UserError: it is no folder, nor a bundle; there is no configuration, or of an unknown encoder, or no weights.
    """
    exp_dir = Path(exp_dir)
    if not exp_dir.is_dir():
        what = "is a file" if exp_dir.exists() else "does not exist"
        raise UserError(f"{exp_dir} {what}; give the folder of a trained system (stages 3 to 7)")
    if not is_bundle(exp_dir):
        read_config(exp_dir)
        find_model(exp_dir)
    return exp_dir
