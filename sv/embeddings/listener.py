"""Embeddings of recordings: files or samples of any rate, checked before a system hears them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchaudio.functional import resample

from sv.audio.centered_fbank import make_fbank
from sv.audio.recordings import Audio, check_audio, is_narrow, read_audio
from sv.embeddings.encoder import load_encoder
from sv.embeddings.parts import MAX_FRAMES
from sv.errors import UserError, log
from sv.jobs.gpus import choose_device

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """A checked recording.

    Attributes:
        duration_s: seconds.
        embedding: (dim,).
        warnings: what makes answers doubtful, a line each.
    """

    duration_s: float
    embedding: Floats
    warnings: tuple[str, ...] = ()


class Listener:
    """A trained or imported system that makes embeddings; it needs no calibration.

    Args:
        exp_dir: folder with config.yaml and models/avg_model.pt.
        gpus: "auto" for the first GPU if there is one, "none" for the CPU, or the number of a GPU.
        resample_audio: resample recordings of another rate than the model's, and say so once; else refuse them.

    Raises:
        UserError: something is missing or damaged.
    """

    def __init__(self, exp_dir: str | Path, *, gpus: str | int = "auto", resample_audio: bool = True) -> None:
        self.encoder = load_encoder(check_system(exp_dir), device=choose_device(str(gpus), 1))
        self.fbank = make_fbank(self.encoder.config.dataset_args.fbank_args).to(self.encoder.device)
        self._resample, self._resampled = resample_audio, set[int]()  # rates of which the log has a line

    @property
    def fingerprint(self) -> str:
        """Checksum of model and front-end: embeddings of different ones must not be compared."""
        front_end = self.encoder.config.dataset_args
        text = f"{self.encoder.sha256} {front_end.fbank_args.model_dump_json()} {front_end.cmvn}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model, in Hz."""
        return self.encoder.config.dataset_args.fbank_args.sample_rate

    def embed(self, audio: Audio, *, sample_rate: int | None = None) -> Floats:
        """Return the embedding of a recording, (dim,) float32.

        Args:
            audio: a file; or samples of one channel, (samples,), (1, samples) or (samples, 1), from numpy or torch:
                floats in [-1, 1], or int16.
            sample_rate: of the samples, in Hz; None for the model's.

        Raises:
            UserError: unreadable audio, another sample rate if the verifier refuses it, several channels, silence, too
                little speech or clipping; the message names the file.
        """
        return self.listen(audio, sample_rate=sample_rate).embedding

    def listen(self, audio: Audio, name: str = "waveform", *, sample_rate: int | None = None) -> Recording:
        """Check a recording and return its duration and embedding; see `embed`. Errors call samples `name`."""
        name = str(audio) if isinstance(audio, (str, Path)) else name
        waveform, rate = read_audio(audio, name, self.sample_rate if sample_rate is None else sample_rate)
        if rate != self.sample_rate:
            if not self._resample:
                raise UserError(f"{name}: {rate} Hz, the model takes {self.sample_rate} Hz; resample it first")
            if rate not in self._resampled:
                log.warning("%s: %d Hz, resampled to %d Hz; so is all audio of this rate", name, rate, self.sample_rate)
                self._resampled.add(rate)
            waveform = resample(torch.from_numpy(waveform), rate, self.sample_rate).numpy()
        check_audio(waveform, self.sample_rate, name)
        narrow = is_narrow(waveform, self.sample_rate)
        warnings = (f"{name} has nothing above 4 kHz, as telephone speech: scores are less sure",) if narrow else ()
        embedding = self.encoder.embed_wave(waveform, self.fbank, max_frames=MAX_FRAMES).numpy()
        return Recording(len(waveform) / self.sample_rate, embedding, warnings)


def check_system(exp_dir: str | Path) -> Path:
    """Return the folder of a system.

    Raises:
        UserError: it is no folder.
    """
    exp_dir = Path(exp_dir)
    if not exp_dir.is_dir():
        what = "is a file" if exp_dir.exists() else "does not exist"
        raise UserError(f"{exp_dir} {what}; give the folder of a trained system (stages 3 to 7)")
    return exp_dir
