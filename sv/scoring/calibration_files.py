"""Calibrate score files on those of held-out speakers, and measure thresholds there. Test trials are never held."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sv.errors import UserError
from sv.io import ScoredTrials, ScoreWriter, atomic_write, iter_scored_trials, read_scored_trials, sha256_of
from sv.io.progress import byte_bar
from sv.metrics.error_rates import sort_scores
from sv.metrics.provenance import (
    MADE_BY,
    check_name,
    check_same_embeddings,
    check_scored_alike,
    mark_derived,
    origin,
)
from sv.scoring.calibration import Calibration, fit
from sv.scoring.quality import Features
from sv.scoring.thresholds import add_thresholds, check_thresholds, find_thresholds


@dataclass(frozen=True)
class ScoresToCalibrate:
    """The score files of one back-end, and how they are calibrated.

    Attributes:
        exp_dir: experiment folder.
        filed_under: name of the weights and the thresholds, which begins with that of the back-end: "cos", "cos_X"; "":
            that of the back-end, as the marks of the scores tell.
        prefix: prefix of the score files' names.
        mean: that was subtracted, in the experiment's folder; its path is kept for steps/verify.py. None: the one in
            embeddings/*/mean_vec.npy that the marks tell of.
        p_target: prior at which decisions matter most.
        quality: quality measures that are added to the score.
        heldout_data: data dir of the held-out speakers, for quality measures.
        test_data: data dir of the test trials, for quality measures.

    Raises:
        UserError: a mean outside of the experiment's folder.
    """

    exp_dir: Path
    filed_under: str = ""
    prefix: str = ""
    mean: Path | None = None
    p_target: float = 0.05
    quality: Sequence[str] = ()
    heldout_data: Path | None = None
    test_data: Path | None = None

    def __post_init__(self) -> None:
        if self.mean and not self.mean.resolve().is_relative_to(self.exp_dir.resolve()):
            raise UserError(
                f"--mean {self.mean} is not in {self.exp_dir}; the mean stays with the model, copy it there"
            )

    def score_file(self, trials: str) -> Path:
        """Return the score file of a trial list.

        Raises:
            UserError: it does not exist.
        """
        path = self.exp_dir / "scores" / f"{self.prefix}{trials}.score"
        if not path.is_file():
            raise UserError(f"{path} does not exist; score it first (stages 5 to 7)")
        return path

    def features(self, data_dir: Path | None, files: Sequence[Path]) -> Features:
        """Return the features of trials; the embeddings are those of the data dir's name in the experiment.

        Raises:
            UserError: these score files are of other embeddings.
        """
        scp = self.exp_dir / "embeddings" / data_dir.name / "xvector.scp" if data_dir else None
        if scp and "magnitude" in self.quality:
            check_same_embeddings(scp, files)
        return Features(self.quality, data_dir=data_dir, xvector_scp=scp)


def calibrate_files(scores: ScoresToCalibrate, heldout: str, trials: Sequence[str]) -> None:
    """Write weights, thresholds and calibrated scores, all or nothing.

    Args:
        scores: scores of one back-end.
        heldout: name of the trial list of held-out speakers.
        trials: names of the trial lists whose scores are calibrated.

    Raises:
        UserError: a score file is missing or damaged, was scored otherwise than the others, is by another back-end than
            its name says, or is to be calibrated on itself; thresholds.json is damaged; see `_find_mean`, `fit` and
            `find_thresholds`.
    """
    if heldout in trials:
        raise UserError(f"{heldout} is to be calibrated on itself; give a list of held-out speakers first")
    check_thresholds(scores.exp_dir)
    on, tests = scores.score_file(heldout), [scores.score_file(name) for name in trials]
    check_scored_alike([on, *tests])
    filed_under = _name(scores, on)
    calibration, thresholds = _train(on, scores, filed_under)
    features = scores.features(scores.test_data, tests)
    calibrated = [path.with_name("_".join(["cali", *scores.quality, path.name])) for path in tests]
    weights = scores.exp_dir / "calibration" / f"{filed_under}.json"
    with ExitStack() as stack:
        for path, out in zip(tests, calibrated, strict=True):
            writer = ScoreWriter(stack.enter_context(atomic_write(out)))
            for block in _blocks_with_bar(path):
                writer.write(block.as_trials(), calibration.llrs(features.of(block)))
        calibration.save(weights)
        measured_on = {**calibration.trained_on, "calibration_sha256": sha256_of(weights)}
        add_thresholds(scores.exp_dir, filed_under, {**thresholds, "measured_on": measured_on})
    for path, out in zip(tests, calibrated, strict=True):
        mark_derived(out, [path], weights)


def _name(scores: ScoresToCalibrate, on: Path) -> str:
    """Return what weights and thresholds are filed under; raise UserError if that is not the scores' back-end."""
    label = origin(on).get("backend", "" if scores.prefix else "cos")
    if not (scores.filed_under or label):
        raise UserError(f"{on}: no mark tells its back-end; name it with --backend")
    check_name(on, scores.filed_under or label)
    if label.endswith("_cali"):
        raise UserError(f"{on} is calibrated already; give the --prefix of the scores that it was made from")
    return scores.filed_under or label


def _find_mean(scores: ScoresToCalibrate, on: Path, name: str) -> Path | None:
    """Return the mean that was subtracted; None: none.

    Raises:
        UserError: the marks name another mean than the one given; or, for the cosine, which steps/verify.py computes,
            a mean that is not there.
    """
    known = origin(on)
    wanted = known.get("mean_sha256")
    if scores.mean:
        if known and sha256_of(scores.mean) != wanted:
            raise UserError(f"--mean {scores.mean} was not subtracted from the scores in {on}; leave it out")
        return scores.mean
    means = scores.exp_dir.glob("embeddings/*/mean_vec.npy") if wanted else ()
    found = next((path for path in sorted(means) if sha256_of(path) == wanted), None)
    if wanted and not found and name.partition("_")[0] == "cos":
        raise UserError(
            f"{on}: the mean that was subtracted is not in {scores.exp_dir}/embeddings; give it with --mean"
        )
    return found


def _train(path: Path, scores: ScoresToCalibrate, name: str) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration, and the thresholds of its log-likelihood ratios."""
    mean = _find_mean(scores, path, name)
    features, heldout = scores.features(scores.heldout_data, [path]), read_scored_trials(path)
    is_target, x = heldout.labels(), features.of(heldout)
    try:
        found = fit(x, is_target, features.names, p_target=scores.p_target)
        llrs = found.llrs(x)
        thresholds = find_thresholds(sort_scores(llrs[is_target], llrs[~is_target]), found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    trained_on = {"scores": path.name, "scores_sha256": sha256_of(path), **found.trained_on}
    known = origin(path)
    trained_on |= {key: known[key] for key in ("backend", *MADE_BY) if known.get(key)}
    if mean:
        inside = mean.resolve().relative_to(scores.exp_dir.resolve())
        trained_on |= {"mean": str(inside), "mean_sha256": sha256_of(mean)}
    return replace(found, trained_on=trained_on), thresholds


def _blocks_with_bar(path: Path) -> Iterator[ScoredTrials]:
    with byte_bar(path) as bar:
        for block in iter_scored_trials(path):
            yield block
            bar.update(block.num_bytes)
