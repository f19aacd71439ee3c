"""Where scores come from: a mark beside each score file, made when it is scored and read when it is measured.

scores/.done.vox1_O_cleaned.kaldi.score     checksums of scores, trial list, embeddings, and of the model behind them
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sv.errors import UserError, log
from sv.io import read_json, sha256_of
from sv.jobs import DoneMark


def mark_scores(
    scores: Path,
    trials: Path,
    xvector_scp: Path,
    extras: Mapping[str, Path | None],
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the mark of a score file.

    Args:
        scores: just written.
        trials, xvector_scp: what was scored.
        extras: other files that decide the scores, by name: {"mean": ...}; None and missing ones are left out.
        settings: options that decide them: {"top_n": 300}.
    """
    embeddings = _read(xvector_scp.parent / ".done")
    options = {
        "trials_sha256": sha256_of(trials),
        "model_sha256": embeddings.get("options", {}).get("model_sha256"),
        "embeddings_sha256": embeddings.get("outputs", {}).get("xvector.ark", {}).get("sha256"),
        **{f"{name}_sha256": sha256_of(path) for name, path in extras.items() if path and path.is_file()},
        **(settings or {}),
    }
    DoneMark(_mark_path(scores), options).write([scores])


def mark_derived(scores: Path, sources: Sequence[Path], calibration: Path) -> None:
    """Write the mark of scores that were made from other scores: what these marks agree on, and the calibration.

    Args:
        scores: just written.
        sources: score files that they were made from, all of one trial list.
        calibration: that was applied.
    """
    known = [_read(_mark_path(source)).get("options", {}) for source in sources]
    options = {name: value for name, value in known[0].items() if all(one.get(name) == value for one in known)}
    if not all("trials_sha256" in one for one in known):
        return  # the origin of a source is unknown, so that of the result is, too
    inputs = {"sources_sha256": [sha256_of(source) for source in sources], "calibration_sha256": sha256_of(calibration)}
    DoneMark(_mark_path(scores), {"trials_sha256": known[0]["trials_sha256"], **options, **inputs}).write([scores])


def model_of(scores: Path) -> str | None:
    """Return the SHA-256 of the model whose embeddings were scored, if a mark tells."""
    found: str | None = _read(_mark_path(scores)).get("options", {}).get("model_sha256")
    return found


def origin_of(scores: Path, trials: Path) -> dict[str, Any]:
    """Return checksums of a score file, of its trial list and of whatever is known that the scores were made from.

    Raises:
        UserError: the scores were made from another version of the trial list.
    """
    found = {"scores_sha256": sha256_of(scores), "trials_sha256": sha256_of(trials)}
    mark = _read(_mark_path(scores))
    if mark.get("outputs", {}).get(scores.name, {}).get("sha256") != found["scores_sha256"]:
        log.warning("%s: no mark tells which model and embeddings these scores come from", scores)
        return found
    if mark["options"]["trials_sha256"] != found["trials_sha256"]:
        raise UserError(f"{scores} was made from another version of {trials}; score again (stage 5)")
    return {**mark["options"], **found}


def _mark_path(scores: Path) -> Path:
    return scores.with_name(f".done.{scores.name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        mark = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}
