"""Thresholds of a system, in thresholds.json: measured on held-out training speakers, one entry per back-end.

    {"cos": {"eer": {"llr": 1.2, "score": 0.31, "miss": 0.05, "false_accept": 0.05}, "fa_0.001": ..., ...,
             "measured_on": {"scores": "heldout.kaldi.score", "num_target": 1800, "calibration_sha256": ..., ...}},
     "asnorm300": ..., "plda": ...}

llr is the threshold of calibrated scores; score is that of the back-end's own scores, if the calibration uses nothing
else. A back-end is named as in results.json, with _X appended for a calibration on heldout_X.kaldi: "cos_H".
sv.verifier, which scores by the cosine, takes "cos". A share of false accepts below one non-target trial has no
threshold, since it cannot be measured. In a bundle, "measured_on" has "failure", a line that warns, if the
calibration fails.
"""

import fcntl
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sv.errors import UserError, WrongCall, log, suggest
from sv.io import atomic_write, read_json, sha256_of
from sv.metrics.error_rates import SortedScores, eer_threshold, min_dcf_threshold
from sv.scoring.calibration import Calibration, how_to_calibrate

FILE = "thresholds.json"
FALSE_ACCEPTS = (0.01, 0.001)


def find_thresholds(
    scores: SortedScores,
    calibration: Calibration,
    *,
    p_targets: Sequence[float] = (0.01, 0.05),
    false_accepts: Sequence[float] = FALSE_ACCEPTS,
) -> dict[str, dict[str, float]]:
    """Return thresholds of log-likelihood ratios, each with the error rates that were measured there.

    A threshold for a share of false accepts below one non-target is left out, with a line in the log.

    Args:
        scores: log-likelihood ratios.
        calibration: calibration that made the scores.
        p_targets: priors of minDCF.
        false_accepts: shares of non-targets that may be accepted.

    Raises:
        UserError: targets do not score higher than non-targets.
    """
    if calibration.features == ["score"] and calibration.weights[0] <= 0:
        raise UserError(
            "targets do not score higher than non-targets, so no threshold tells them apart; look at the scores"
        )
    found = {"eer": eer_threshold(scores)}
    found |= {f"min_dcf_{p:g}": min_dcf_threshold(scores, p) for p in p_targets}
    for rate in false_accepts:
        if allowed_accepts(scores, rate) > 0:
            found[_fa_name(rate)] = threshold_at(scores, rate)
        else:
            said = f"no threshold {_fa_name(rate)}: {100 * rate:g} % of {scores.nontarget.total} non-target trials"
            log.warning("%s is less than one; calibrate on more speakers", said)
    entries = {}
    for name, llr in found.items():
        entry = {"llr": llr, "miss": float(scores.miss(llr)), "false_accept": float(scores.false_accept(llr))}
        if calibration.features == ["score"]:
            entry["score"] = (llr - calibration.offset) / calibration.weights[0]
        entries[name] = entry
    return entries


def allowed_accepts(scores: SortedScores, false_accept: float) -> int:
    """Return how many non-targets make up this share."""
    return int(false_accept * scores.nontarget.total + 1e-9)


def threshold_at(scores: SortedScores, false_accept: float) -> float:
    """Return the lowest threshold that accepts no more than this share of the non-targets."""
    count, allowed = scores.nontarget.total, allowed_accepts(scores, false_accept)
    if allowed >= count:
        return scores.nontarget.at(0)
    return float(np.nextafter(scores.nontarget.at(count - 1 - allowed), np.inf))


def _fa_name(rate: float) -> str:
    return f"fa_{rate:g}"


def no_threshold(name: str, known: Sequence[str]) -> WrongCall:
    """Return the error for a threshold that a model does not have.

    Args:
        name: name that was asked for.
        known: names of those it has.
    """
    needed = {_fa_name(rate): round(1 / rate) for rate in FALSE_ACCEPTS}
    if name not in needed:
        return WrongCall(f"unknown threshold {name!r}{suggest(name, list(known))}")
    return WrongCall(
        f"the model has no threshold {name!r}: it was calibrated on fewer than {needed[name]} non-target trials; take "
        f"one of {', '.join(known)}, or calibrate on more speakers"
    )


def check_thresholds(exp_dir: Path) -> None:
    """Raise UserError if there is a thresholds.json, and it is damaged."""
    if (exp_dir / FILE).exists():
        _read(exp_dir / FILE)


def add_thresholds(exp_dir: Path, backend: str, entry: Mapping[str, Any]) -> None:
    """Put a back-end's thresholds into thresholds.json; entries of other back-ends stay."""
    handle = os.open(exp_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        known = _read(exp_dir / FILE) if (exp_dir / FILE).exists() else {}
        with atomic_write(exp_dir / FILE) as f:
            json.dump({**known, backend: dict(entry)}, f, indent=1)
            f.write("\n")
    finally:
        os.close(handle)


def read_thresholds(exp_dir: Path, backend: str) -> dict[str, Any]:
    """Read a back-end's thresholds.

    Raises:
        UserError: there is no thresholds.json, it is damaged, has nothing of this back-end, or was measured with
            another calibration than the one in the folder.
    """
    path = exp_dir / FILE
    if not path.is_file():
        raise UserError(f"{path} does not exist; {how_to_calibrate(exp_dir)}")
    entries = _read(path)
    if backend not in entries:
        known = suggest(backend, list(entries))
        raise UserError(f"{path}: no back-end {backend!r}{known}; {how_to_calibrate(exp_dir)}")
    weights, measured_on = exp_dir / "calibration" / f"{backend}.json", entries[backend].get("measured_on", {})
    if weights.is_file() and measured_on.get("calibration_sha256", sha := sha256_of(weights)) != sha:
        raise UserError(f"{path}: {backend!r} was not measured with {weights}; {how_to_calibrate(exp_dir)}")
    return dict(entries[backend])


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = read_json(path)
    except ValueError:
        tree = None
    if not isinstance(tree, dict) or not all(_is_entry(entry) for entry in tree.values()):
        raise UserError(f"{path} is damaged; remove it, then {how_to_calibrate(path.parent)}")
    return tree


def _is_entry(entry: object) -> bool:
    """Return whether this may be the entry of a back-end."""
    if not isinstance(entry, dict):
        return False
    found = [value for name, value in entry.items() if name != "measured_on"]
    llrs = [value.get("llr") if isinstance(value, dict) else None for value in found]
    known = isinstance(entry.get("measured_on", {}), dict)
    return known and bool(llrs) and all(isinstance(llr, (int, float)) and math.isfinite(llr) for llr in llrs)
