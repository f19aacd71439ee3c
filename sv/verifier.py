"""Tell whether two recordings are of the same speaker, with a trained and calibrated system.

verifier = Verifier.load("exp/ResNet34-sphereface2-C-m0.2-seed42")
verifier.score("a.wav", "b.wav").decision  # "same", "different" or "cannot tell"
verifier.score_batch([("a.wav", "b.wav"), ("a.wav", "c.wav")])
verifier.embed("a.wav")  # (dim,) float32
verifier.embed(waveform, sample_rate=16000)  # samples of one channel, from numpy or torch

Recordings are compared by cosine scores, which need only the model, with the entry "cos" of thresholds.json. The answer
is "cannot tell" if the log-likelihood ratio (natural log) is less than `margin` away from the threshold.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sv.audio.centered_fbank import make_fbank
from sv.audio.features import energy_vad, log_energy
from sv.audio.files import Waveform, read_file
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.embeddings.parts import MAX_FRAMES
from sv.errors import UserError
from sv.io import Vectors
from sv.jobs.gpus import choose_device
from sv.scoring.calibration import Calibration, load_calibration, posterior
from sv.scoring.cosine import read_mean, unit_vectors
from sv.scoring.quality import clip_duration, factors, feature_names
from sv.scoring.thresholds import no_threshold, read_thresholds

Floats = NDArray[np.float32]
Audio = str | Path | NDArray[Any] | torch.Tensor  # a file, or samples

MIN_DURATION_S, MIN_SPEECH_S = 1.0, 0.5
MAX_CLIPPED = 0.005  # share of samples at the highest value of the recording
_FULL_SCALE = 0.98
_HIGHEST = 2.0  # sample in a file of floats, where peaks a little over 1 occur
_SILENCE_RMS = 1e-3  # -60 dB of full scale, over the loudest second
BACKEND = "cos"
MARGIN = math.log(3)  # a likelihood ratio of 3 times the threshold, or a third of it


@dataclass(frozen=True)
class Verdict:
    """Answer about two recordings.

    Attributes:
        decision: "same", "different" or "cannot tell".
        llr: natural logarithm of the likelihood ratio, same speaker over different speakers.
        probability: probability of the same speaker, given `prior`.
        prior: probability of the same speaker before listening.
        threshold: what `llr` is compared with.
        threshold_name: name of the threshold in thresholds.json.
        cosine: score behind the llr.
    """

    decision: str
    llr: float
    probability: float
    prior: float
    threshold: float
    threshold_name: str
    cosine: float


@dataclass(frozen=True)
class Recording:
    """A checked recording: its duration in seconds and its embedding (dim,)."""

    duration_s: float
    embedding: Floats


class Verifier:
    """A system with its calibration and thresholds; `load` makes one.

    Args:
        encoder: encoder of the experiment.
        mean: (dim,), subtracted from embeddings; None to subtract nothing.
        calibration: calibration of cosine scores.
        thresholds: name -> log-likelihood ratio.
    """

    def __init__(
        self, encoder: SpeakerEncoder, mean: Floats | None, calibration: Calibration, thresholds: dict[str, float]
    ) -> None:
        self.encoder, self.mean, self.calibration, self.thresholds = encoder, mean, calibration, thresholds
        self.fbank = make_fbank(encoder.config.dataset_args.fbank_args).to(encoder.device)

    @classmethod
    def load(cls, exp_dir: str | Path, *, gpus: str | int = "auto") -> "Verifier":
        """Load a system from its folder: config.yaml, models/avg_model.pt, calibration/cos.json, thresholds.json.

        Args:
            exp_dir: the folder.
            gpus: "auto" for the first GPU if there is one, "none" for the CPU, or the number of a GPU.

        Raises:
            UserError: something is missing or damaged; the calibration is of another model, or uses a measure that
                cannot be computed from two recordings.
        """
        exp_dir = Path(exp_dir)
        if not exp_dir.is_dir():
            what = "is a file" if exp_dir.exists() else "does not exist"
            raise UserError(f"{exp_dir} {what}; give the folder of a trained system (stages 3 to 7)")
        entry = read_thresholds(exp_dir, BACKEND)
        thresholds = {name: float(found["llr"]) for name, found in entry.items() if name != "measured_on"}
        path = exp_dir / "calibration" / f"{BACKEND}.json"
        calibration = load_calibration(path)
        told = feature_names(["duration", "magnitude"])
        strange = next((name for name in calibration.features if name not in told), None)
        if strange is not None:
            raise UserError(
                f"{path} uses {strange}, which cannot be computed from two recordings; calibrate without it (stage 7)"
            )
        encoder = load_encoder(exp_dir, device=choose_device(str(gpus), 1))
        if calibration.trained_on.get("model_sha256", encoder.sha256) != encoder.sha256:
            raise UserError(f"{path} is of another model than {exp_dir}/models/avg_model.pt; calibrate again (stage 7)")
        mean = calibration.trained_on.get("mean")
        return cls(encoder, _mean_of(encoder, exp_dir / mean) if mean else None, calibration, thresholds)

    @property
    def sample_rate(self) -> int:
        """The sample rate of all recordings, in Hz."""
        return self.encoder.config.dataset_args.fbank_args.sample_rate

    def embed(self, audio: Audio, *, sample_rate: int | None = None) -> Floats:
        """Return the embedding of a recording, (dim,) float32.

        Args:
            audio: a file; or samples of one channel, (samples,), (1, samples) or (samples, 1), from numpy or torch:
                floats in [-1, 1], or int16.
            sample_rate: of the samples, in Hz; it must be the model's, which None stands for.

        Raises:
            UserError: unreadable audio, another sample rate, several channels, silence, too little speech or clipping;
                the message names the file.
        """
        return self.listen(audio, sample_rate=sample_rate).embedding

    def listen(self, audio: Audio, name: str = "waveform", *, sample_rate: int | None = None) -> Recording:
        """Check a recording and return its duration and embedding; see `embed`. Errors call samples `name`."""
        if isinstance(audio, (str, Path)):
            name, waveform = str(audio), read_file(str(audio), self.sample_rate)
        else:
            waveform = to_waveform(audio, name)
            if sample_rate not in (None, self.sample_rate):
                raise UserError(f"{name}: {sample_rate} Hz, the model takes {self.sample_rate} Hz; resample it first")
        check_audio(waveform, self.sample_rate, name)
        config = self.encoder.config.dataset_args.fbank_args
        speech = energy_vad(log_energy(torch.from_numpy(waveform), config).numpy()).sum() * config.frame_shift / 1000
        if speech < MIN_SPEECH_S:
            raise UserError(f"{name}: too short, {speech:.2f} s of speech; give {MIN_SPEECH_S:g} s or more")
        samples = torch.from_numpy(waveform)[None].to(self.encoder.device)
        embedding = self.encoder.embed(self.fbank(samples)[0], max_frames=MAX_FRAMES).numpy()
        return Recording(len(waveform) / self.sample_rate, embedding)

    def score(
        self,
        first: Audio,
        second: Audio,
        *,
        sample_rate: int | None = None,
        prior: float = 0.5,
        threshold: str = "eer",
        margin: float = MARGIN,
    ) -> Verdict:
        """Compare two recordings.

        Args:
            first, second: files or samples, as for `embed`.
            sample_rate: of samples, as for `embed`.
            prior: probability of the same speaker before listening.
            threshold: one of thresholds.json: "eer", "min_dcf_0.01", "min_dcf_0.05", "fa_0.01", "fa_0.001".
            margin: nearer to the threshold than this, the answer is "cannot tell".

        Raises:
            UserError: as `embed` raises; an unknown threshold; a prior that is not between 0 and 1.
        """
        pair = [(first, second)]
        return self.score_batch(pair, sample_rate=sample_rate, prior=prior, threshold=threshold, margin=margin)[0]

    def score_batch(
        self,
        pairs: Iterable[tuple[Audio, Audio]],
        *,
        sample_rate: int | None = None,
        prior: float = 0.5,
        threshold: str = "eer",
        margin: float = MARGIN,
    ) -> list[Verdict]:
        """Compare many pairs, hearing each file or array once; arguments and errors are those of `score`.

        A pair may also be an array or tensor of two rows, (2, samples); all pairs may be one, (pairs, 2, samples).
        """
        self._check(prior, threshold, margin)
        pairs = [_both_sides(pair, number) for number, pair in enumerate(pairs, 1)]
        heard: dict[str | int, Recording] = {}
        for number, pair in enumerate(pairs, 1):
            for side, audio in zip(("first", "second"), pair, strict=True):
                name = f"{side} waveform" + (f" of pair {number}" if len(pairs) > 1 else "")
                if _key(audio) not in heard:
                    heard[_key(audio)] = self.listen(audio, name, sample_rate=sample_rate)
        return [
            self.compare(heard[_key(a)], heard[_key(b)], prior=prior, threshold=threshold, margin=margin)
            for a, b in pairs
        ]

    def compare(self, first: Recording, second: Recording, *, prior: float, threshold: str, margin: float) -> Verdict:
        """Compare two results of `listen`; the other arguments and errors are those of `score`."""
        self._check(prior, threshold, margin)
        matrix = np.stack([first.embedding, second.embedding])
        unit = unit_vectors(Vectors(["first", "second"], matrix), mean=self.mean).matrix
        cosine = float(unit[0] @ unit[1])
        measured = {
            "duration": factors(clip_duration(first.duration_s), clip_duration(second.duration_s)),
            "magnitude": factors(*np.linalg.norm(matrix, axis=1)),
        }
        columns = {"score": cosine}
        for measure, values in measured.items():
            columns |= {
                f"{measure}_{factor}": float(value)
                for factor, value in zip(("min", "max", "difference", "ratio"), values, strict=True)
            }
        llr = float(self.calibration.llrs(np.array([[columns[name] for name in self.calibration.features]]))[0])
        limit = self.thresholds[threshold]
        decision = "same" if llr >= limit + margin else "different" if llr < limit - margin else "cannot tell"
        return Verdict(decision, llr, posterior(llr, prior), prior, limit, threshold, cosine)

    def _check(self, prior: float, threshold: str, margin: float) -> None:
        posterior(0.0, prior)
        if threshold not in self.thresholds:
            raise no_threshold(threshold, list(self.thresholds))
        if not 0 <= margin < math.inf:
            raise UserError(f"margin {margin}: expected a number of at least 0")


def _mean_of(encoder: SpeakerEncoder, path: Path) -> Floats:
    """Read the mean that is subtracted from the encoder's embeddings.

    Raises:
        UserError: it is missing, damaged, or of another dimension; the message names the file.
    """
    mean, dim = read_mean(path), encoder.model.embedding_dim
    if mean.shape != (dim,) or not np.isfinite(mean).all():
        raise UserError(f"{path}: expected {dim} finite numbers; make it again with steps/compute_mean.py (stage 4)")
    return mean


def _both_sides(pair: object, number: int) -> tuple[Audio, Audio]:
    """Return the two recordings of a pair; an array is sliced only here, since each slice is an object with its own id.

    Raises:
        UserError: the pair has not two recordings; the message gives its number.
    """
    if not isinstance(pair, (tuple, list, np.ndarray, torch.Tensor)) or len(pair) != 2:
        raise UserError(f"pair {number}: give two recordings, as in [('a.wav', 'b.wav')]")
    return pair[0], pair[1]


def _key(audio: Audio) -> str | int:
    """Return what tells a recording from others, so that each is heard once."""
    return str(audio) if isinstance(audio, (str, Path)) else id(audio)


def to_waveform(samples: object, name: str) -> Waveform:
    """Convert samples of one channel, from numpy or torch, float or int16, to (samples,) float32.

    Raises:
        UserError: something else, several channels or other integers; the message begins with `name`.
    """
    array = samples
    if isinstance(samples, torch.Tensor):
        array = (samples.float() if samples.is_floating_point() else samples).detach().cpu().numpy()
    if not isinstance(array, np.ndarray):
        raise UserError(f"{name}: a {type(array).__name__}; give a file, or samples as a numpy array or torch tensor")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise UserError(f"{name}: shape {array.shape}; give samples of one channel, of shape (samples,)")
    if array.dtype.kind != "f" and array.dtype != np.int16:
        raise UserError(f"{name}: samples of type {array.dtype}; give floats from -1 to 1, or int16")
    waveform: Waveform = np.require(array, np.float32, ["C", "W"])  # torch warns of arrays that it cannot write to
    return waveform / np.float32(32768) if array.dtype == np.int16 else waveform


def check_audio(waveform: Waveform, sample_rate: int, name: str) -> None:
    """Refuse a recording that no system should judge.

    Args:
        waveform: (samples,) from -1 to 1.
        sample_rate: in Hz.
        name: what errors call it.

    Raises:
        UserError: NaN, silence, less than a second, or clipping.
    """
    if not np.isfinite(waveform).all():
        raise UserError(f"{name}: NaN or infinite samples; give finite ones")
    seconds = len(waveform) / sample_rate
    if seconds < MIN_DURATION_S:
        raise UserError(f"{name}: too short, {seconds:.2f} s; give {MIN_DURATION_S:g} s or more")
    frames = waveform[: len(waveform) // (sample_rate // 10) * (sample_rate // 10)].reshape(-1, sample_rate // 10)
    loudest = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))[-10:]  # tenths of a second
    if math.sqrt(loudest.mean()) < _SILENCE_RMS:
        raise UserError(f"{name}: silence; give a recording with speech")
    peak = float(np.abs(waveform).max())
    if peak > _HIGHEST:
        raise UserError(f"{name}: a sample of {peak:g}; give samples from -1 to 1 (16-bit ones divided by 32768)")
    highest = np.abs(waveform) >= 0.999 * peak
    in_runs = highest[:-2] & highest[1:-1] & highest[2:]  # clipped, and then made softer
    clipped = float((highest if peak >= _FULL_SCALE else in_runs).mean())
    if clipped > MAX_CLIPPED:
        raise UserError(
            f"{name}: clipped, {100 * clipped:.1f} % of its samples are at its highest value; record it lower"
        )
