"""Tell whether two recordings are of the same speaker, with a trained and calibrated system.

verifier = Verifier("exp/ResNet34-sphereface2-C-m0.2-seed42")
verifier.score("a.wav", "b.wav").decision  # "same", "different" or "cannot tell"
verifier.score("a.wav", "b.wav").same  # True, False or None
verifier.score_batch([("a.wav", "b.wav"), ("a.wav", "c.wav")])
anna = verifier.enroll(["a1.wav", "a2.wav", "a3.wav"])  # one speaker from several recordings
verifier.score(anna, "b.wav")
verifier.embed("a.wav")  # (dim,) float32
verifier.embed(waveform, sample_rate=16000)  # samples of one channel, from numpy or torch

Recordings are compared by calibrated cosine scores, which need only the model. The answer follows from the prior: the
log-likelihood ratio (natural log) is compared with the one at which both answers are as probable. Where a false accept
costs C times a miss, give the prior p / (p + C (1 - p)) in place of p. A threshold that is given, as a number or by its
name in the entry "cos" of thresholds.json, takes the place of the prior's. Nearer to it than `margin`: "cannot tell".
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from hashlib import sha256
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sv.audio.recordings import Audio, is_tensor, to_waveform
from sv.embeddings.embedder import Embedder, Recording, check_system
from sv.errors import UserError, WrongCall, log
from sv.io import Vectors, sha256_of
from sv.metrics.results import failure_of
from sv.scoring.calibration import how_to_calibrate, load_calibration, posterior
from sv.scoring.cosine import unit_vectors
from sv.scoring.quality import clip_duration, factors, feature_names
from sv.scoring.thresholds import no_threshold, read_thresholds

Floats = NDArray[np.float32]

BACKEND = "cos"
MARGIN = math.log(3)  # a likelihood ratio of 3 times the threshold, or a third of it
_SAME = {"same": True, "different": False, "cannot tell": None}


@dataclass(frozen=True)
class Verdict:
    """Answer about two recordings. `if verdict` raises TypeError, since "different" must not count as true.

    Attributes:
        decision: "same", "different" or "cannot tell".
        llr: natural logarithm of the likelihood ratio, same speaker over different speakers.
        probability: probability of the same speaker, given `prior`.
        prior: probability of the same speaker before listening.
        threshold: value that `llr` is compared with.
        threshold_name: "prior", the name in thresholds.json that was asked for, or "given" for a number.
        cosine: uncalibrated score of the pair.
        warnings: reasons to doubt the answer, one per line.
    """

    decision: str
    llr: float
    probability: float
    prior: float
    threshold: float
    threshold_name: str
    cosine: float
    warnings: tuple[str, ...] = ()

    @property
    def same(self) -> bool | None:
        """The decision: True for "same", False for "different", None for "cannot tell"."""
        return _SAME[self.decision]

    def __bool__(self) -> bool:
        """Refuse to be a truth value.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"a verdict ({self.decision}) is no truth value; use .same (True, False or None) or .decision")


@dataclass(frozen=True)
class Speaker:
    """A speaker enrolled from one or more recordings. Scores use the mean of their unit-length embeddings.

    The calibration is of single recordings: with several, false accepts at the same LLR are a little more frequent.
    """

    recordings: tuple[Recording, ...]

    def __repr__(self) -> str:
        """Describe it in a line, however many recordings there are."""
        seconds = sum(one.duration_s for one in self.recordings)
        return f"Speaker(recordings=<{len(self.recordings)}, {seconds:.2f} s in all>)"


Side = Audio | Recording | Speaker  # of a comparison
Made = TypeVar("Made", bound=Recording | Speaker)


@dataclass(frozen=True)
class _Rule:
    """The rule by which a log-likelihood ratio becomes an answer: `limit` and its name, and the margin around it."""

    prior: float
    limit: float
    name: str
    margin: float

    def decide(self, llr: float) -> str:
        if llr >= self.limit + self.margin:
            return "same"
        return "different" if llr < self.limit - self.margin else "cannot tell"


class Verifier(Embedder):
    """A trained system with its calibration and thresholds. Loading it warns if the calibration fails on test trials.

    It is read from the folder: config.yaml, models/avg_model.pt, calibration/cos.json, thresholds.json, and
    results.json if there is one. A bundle (`sv.export.bundle`) runs by onnxruntime, without torch.

    Args:
        exp_dir: folder of the system, or a bundle.
        gpus: "auto" for the first GPU if there is one, "none" for the CPU, or the number of a GPU.
        resample_audio: resample recordings of another rate than the model's, and log this once; False: refuse them.

    Attributes:
        thresholds: name -> log-likelihood ratio.
        calibration: map from cosines to log-likelihood ratios.
        mean: (dim,) float32, subtracted from embeddings before the cosine; None: nothing is subtracted.

    Raises:
        UserError: something is missing or damaged; the calibration is of another model or front-end, or uses a measure
            that cannot be computed from two recordings.
    """

    def __init__(self, exp_dir: str | Path, *, gpus: str | int = "auto", resample_audio: bool = True) -> None:
        exp_dir = check_system(exp_dir)
        entry = read_thresholds(exp_dir, BACKEND)
        self.thresholds = _llrs_of(entry)
        path = exp_dir / "calibration" / f"{BACKEND}.json"
        self.calibration = calibration = load_calibration(path)
        told = feature_names(["duration", "magnitude"])
        strange = next((name for name in calibration.features if name not in told), None)
        if strange is not None:
            raise UserError(
                f"{path} uses {strange}, which cannot be computed from two recordings; calibrate without it (stage 7)"
            )
        super().__init__(exp_dir, gpus=gpus, resample_audio=resample_audio)
        calibration.check_made_by(self.encoder.sha256, self.fingerprint, path)
        made_by = str(calibration.trained_on.get("backend", BACKEND))
        if made_by != BACKEND:
            raise UserError(f"{path} calibrates scores by {made_by}, not by {BACKEND}; {how_to_calibrate(exp_dir)}")
        if failure := entry.get("measured_on", {}).get("failure") or failure_of(exp_dir, BACKEND, sha256_of(path)):
            log.warning("%s", failure)
        self.mean = calibration.read_mean(exp_dir, self.encoder.embedding_dim)

    @classmethod
    def load(cls, exp_dir: str | Path, *, gpus: str | int = "auto", resample_audio: bool = True) -> "Verifier":
        """Load a system, as `Verifier(exp_dir)` does."""
        return cls(exp_dir, gpus=gpus, resample_audio=resample_audio)

    def enroll(self, recordings: Sequence[Audio | Recording], *, sample_rate: int | None = None) -> Speaker:
        """Enroll a speaker from one or more recordings; `score` takes the result instead of a recording.

        Args:
            recordings: files or samples, as for `embed`, or results of `embed_recording`.
            sample_rate: rate of samples, as for `embed`.

        Raises:
            UserError: it is no list, or an empty one; a result is of another system; or as `embed` raises.
        """
        if is_single(recordings) or not isinstance(recordings, Sized) or len(recordings) == 0:
            raise UserError("enroll: give a list of one or more recordings, as in ['a1.wav', 'a2.wav']")
        return Speaker(
            tuple(
                self._check_own(audio, f"recording {number}")
                if isinstance(audio, Recording)
                else self.embed_recording(audio, f"waveform {number}", sample_rate=sample_rate)
                for number, audio in enumerate(recordings, 1)
            )
        )

    def score(
        self,
        first: Side,
        second: Side,
        *,
        sample_rate: int | None = None,
        prior: float = 0.5,
        threshold: str | float | None = None,
        margin: float = MARGIN,
    ) -> Verdict:
        """Compare two recordings.

        Args:
            first, second: files or samples, as for `embed`, or results of `embed_recording` and `enroll`.
            sample_rate: rate of samples, as for `embed`.
            prior: probability of the same speaker before listening; without `threshold` it decides the answer.
            threshold: a log-likelihood ratio, or a name in thresholds.json: "eer", "min_dcf_0.01", "min_dcf_0.05",
                "fa_0.01", "fa_0.001".
            margin: if the log-likelihood ratio is closer to the threshold than this, the answer is "cannot tell".

        Raises:
            UserError: as `embed` raises; a result of another system; an unknown threshold; a prior that is not
                between 0 and 1.
        """
        rule = _rule(self.thresholds, prior, threshold, margin)
        one = self._embed_side(first, "first waveform", sample_rate)
        other = one if second is first else self._embed_side(second, "second waveform", sample_rate)
        return self._judge(one, other, rule)

    def score_batch(
        self,
        pairs: Iterable[tuple[Side, Side]],
        *,
        sample_rate: int | None = None,
        prior: float = 0.5,
        threshold: str | float | None = None,
        margin: float = MARGIN,
    ) -> list[Verdict]:
        """Compare many pairs, embedding each file or array once; arguments and errors are those of `score`.

        A pair may also be an array or tensor of two rows, (2, samples); all pairs may be one, (pairs, 2, samples).
        """
        verdicts = []
        for found in self.score_each(pairs, sample_rate=sample_rate, prior=prior, threshold=threshold, margin=margin):
            if isinstance(found, UserError):
                raise found
            verdicts.append(found)
        return verdicts

    def score_each(
        self,
        pairs: Iterable[tuple[Side, Side]],
        *,
        sample_rate: int | None = None,
        prior: float = 0.5,
        threshold: str | float | None = None,
        margin: float = MARGIN,
    ) -> Iterator[Verdict | UserError]:
        """Compare pairs one by one, as `score_batch`. If a recording cannot be judged, yield its error and continue."""
        rule = _rule(self.thresholds, prior, threshold, margin)
        if not isinstance(pairs, Iterable):
            raise UserError(f"a {type(pairs).__name__}; give a list of pairs, as in [('a.wav', 'b.wav')]")
        done: dict[str | bytes, Recording | UserError] = {}
        for number, pair in enumerate(pairs, 1):
            sides: list[Recording | Speaker] = []
            try:
                for which, side in zip(("first", "second"), _both_sides(pair, number), strict=True):
                    sides.append(self._embed_once(side, f"{which} waveform of pair {number}", sample_rate, done))
                yield self._judge(sides[0], sides[1], rule)
            except UserError as error:
                yield error

    def _embed_once(
        self, side: Side, name: str, sample_rate: int | None, done: dict[str | bytes, Recording | UserError]
    ) -> Recording | Speaker:
        """Embed a file or samples that are not done yet; samples are known by a checksum, since arrays are reused."""
        if isinstance(side, (Recording, Speaker)):
            return self._check_own(side, name)
        key = str(side) if isinstance(side, (str, Path)) else sha256(to_waveform(side, name).tobytes()).digest()
        if key not in done:
            try:
                done[key] = self.embed_recording(side, name, sample_rate=sample_rate)
            except UserError as error:
                done[key] = error
        found = done[key]
        if isinstance(found, UserError):
            raise found
        return found

    def _embed_side(self, side: Side, name: str, sample_rate: int | None) -> Recording | Speaker:
        if isinstance(side, (Recording, Speaker)):
            return self._check_own(side, name)
        return self.embed_recording(side, name, sample_rate=sample_rate)

    def _check_own(self, side: Made, name: str) -> Made:
        """Return the embeddings; raise UserError if they are of another system: their scores would mean nothing."""
        recordings = side.recordings if isinstance(side, Speaker) else (side,)
        if any(one.fingerprint != self.fingerprint for one in recordings):
            raise UserError(f"{name}: embedded by another model or front-end; embed or enroll it again with this one")
        return side

    def _judge(self, first: Recording | Speaker, second: Recording | Speaker, rule: _Rule) -> Verdict:
        sides = [side.recordings if isinstance(side, Speaker) else (side,) for side in (first, second)]
        unit = [self._direction(recordings) for recordings in sides]
        cosine = float(unit[0] @ unit[1])
        measured = {
            "duration": factors(*(clip_duration(sum(one.duration_s for one in side)) for side in sides)),
            "magnitude": factors(*(np.mean([np.linalg.norm(one.embedding) for one in side]) for side in sides)),
        }
        columns = {"score": cosine}
        for measure, values in measured.items():
            columns |= {
                f"{measure}_{factor}": float(value)
                for factor, value in zip(("min", "max", "difference", "ratio"), values, strict=True)
            }
        llr = float(self.calibration.llrs(np.array([[columns[name] for name in self.calibration.features]]))[0])
        warnings = tuple(dict.fromkeys(line for side in sides for one in side for line in one.warnings))
        probability = posterior(llr, rule.prior)
        return Verdict(rule.decide(llr), llr, probability, rule.prior, rule.limit, rule.name, cosine, warnings)

    def _direction(self, recordings: Sequence[Recording]) -> Floats:
        """Return the mean of unit-length embeddings, at unit length: (dim,)."""
        names = [f"recording {number}" for number in range(1, len(recordings) + 1)]
        unit = unit_vectors(Vectors(names, np.stack([one.embedding for one in recordings])), mean=self.mean).matrix
        return unit_vectors(Vectors(["speaker"], unit.mean(0, keepdims=True))).matrix[0]


def check_rule(
    exp_dir: str | Path, *, prior: float = 0.5, threshold: str | float | None = None, margin: float = MARGIN
) -> None:
    """Check what decides the answers, without the model, which takes seconds to load.

    Args:
        exp_dir: folder of a system.
        prior, threshold, margin: as for `Verifier.score`.

    Raises:
        UserError: as `Verifier.score`; or the folder is no system, or has no thresholds.
    """
    _rule(_llrs_of(read_thresholds(check_system(exp_dir), BACKEND)), prior, threshold, margin)


def _llrs_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the thresholds of an entry of thresholds.json by name."""
    return {name: float(found["llr"]) for name, found in entry.items() if name != "measured_on"}


def _rule(known: Mapping[str, float], prior: float, threshold: str | float | None, margin: float) -> _Rule:
    prior, margin = _number("prior", prior), _number("margin", margin)
    posterior(0.0, prior)
    if not 0 <= margin < math.inf:
        raise WrongCall(f"margin {margin}: expected a number of at least 0")
    if threshold is None:
        return _Rule(prior, math.log((1 - prior) / prior), "prior", margin)
    if isinstance(threshold, str) and threshold in known:
        return _Rule(prior, known[threshold], threshold, margin)
    try:
        limit = float(threshold) if isinstance(threshold, str) else threshold  # "0.4" comes from a command line
    except ValueError:
        raise no_threshold(str(threshold), list(known)) from None
    return _Rule(prior, _number("threshold", limit), "given", margin)


def _number(name: str, value: object) -> float:
    """Return the number.

    Raises:
        WrongCall: it is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise WrongCall(f"{name} {value!r}: expected a finite number")
    return float(value)


def is_single(recordings: object) -> bool:
    """Return whether it is one recording, where a list is expected; an array or tensor is a list of its rows."""
    if isinstance(recordings, np.ndarray) or is_tensor(recordings):
        return recordings.ndim < 2
    return isinstance(recordings, (str, bytes)) or not isinstance(recordings, Iterable)


def _both_sides(pair: object, number: int) -> tuple[Side, Side]:
    """Return the two recordings of a pair.

    Raises:
        UserError: the pair has not two recordings; the message gives its number.
    """
    if not (isinstance(pair, (tuple, list, np.ndarray)) or is_tensor(pair)) or len(pair) != 2:
        raise UserError(f"pair {number}: give two recordings, as in [('a.wav', 'b.wav')]")
    return pair[0], pair[1]
