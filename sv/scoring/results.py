"""Results of a system: one entry for each trial list and back-end, with where it comes from.

    exp/results.json    {"results": {"vox1_O_cleaned.kaldi": {"cos": {"eer": 0.867, "min_dcf": {"0.01": 0.085}, ...}}}}
    exp/results.md      the same as a table, for people

An entry replaces the one of the same list and back-end; the others stay.
"""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sv.errors import UserError
from sv.io import atomic_write
from sv.scoring.metrics import Metrics

Entry = dict[str, Any]
Results = dict[str, dict[str, Entry]]  # trial list -> back-end -> entry


def printed_lines(score_name: str, metrics: Metrics) -> str:
    """What WeSpeaker prints for a score file, line for line."""
    lines = [f"---- {score_name} -----", f"EER = {metrics.eer:.3f}"]
    lines += [f"minDCF (p_target:{p:g} c_miss:1 c_fa:1) = {value:.3f}" for p, value in metrics.min_dcf.items()]
    return "".join(line + "\n" for line in lines)


def entry_of(metrics: Metrics, provenance: Mapping[str, Any]) -> Entry:
    """Numbers and where they come from, as plain JSON values; EER in percent."""
    return {
        "eer": metrics.eer,
        "eer_threshold": metrics.eer_threshold,
        "min_dcf": {f"{p:g}": value for p, value in metrics.min_dcf.items()},
        "min_dcf_threshold": {f"{p:g}": value for p, value in metrics.min_dcf_threshold.items()},
        "num_target": metrics.num_target,
        "num_nontarget": metrics.num_nontarget,
        **provenance,
    }


def read_results(path: str | Path) -> Results:
    """What results.json holds.

    Raises:
        UserError: it is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; score first (stage 5)")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return {trials: dict(entries) for trials, entries in tree["results"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged; remove it and run the metrics again (stage 5)") from error


def merge_results(exp_dir: str | Path, added: Results) -> Results:
    """Put entries into results.json and write results.md again; returns all entries.

    Two steps that end at the same time wait for one another.
    """
    exp_dir = Path(exp_dir)
    with _locked(exp_dir):
        path = exp_dir / "results.json"
        results = read_results(path) if path.exists() else {}
        for trials, entries in added.items():
            results[trials] = dict(sorted({**results.get(trials, {}), **entries}.items()))
        with atomic_write(path) as f:
            json.dump({"results": results}, f, indent=2, allow_nan=False)
            f.write("\n")
        with atomic_write(exp_dir / "results.md") as f:
            f.write(f"# Results of {exp_dir.name}\n\n{markdown_table({'': results})}")
    return results


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def markdown_table(systems: Mapping[str, Results]) -> str:
    """A row for each system, trial list and back-end; no column of systems if there is one without a name."""
    rows = [
        (system, trials, backend, entry)
        for system, results in systems.items()
        for trials, entries in results.items()
        for backend, entry in entries.items()
    ]
    priors = sorted({p for *_, entry in rows for p in entry["min_dcf"]}, key=float)
    named = list(systems) != [""]
    head = ["system"] * named + ["trials", "back-end", "EER (%)", *(f"minDCF (p_target {p})" for p in priors)]
    lines = [[*head, "targets", "non-targets"], [*("---" for _ in head[: 2 + named]), *["---:"] * (len(priors) + 3)]]
    for system, trials, backend, entry in rows:
        costs = [f"{entry['min_dcf'][p]:.3f}" if p in entry["min_dcf"] else "" for p in priors]
        counts = [str(entry["num_target"]), str(entry["num_nontarget"])]
        lines.append(
            [system] * named + [trials.removesuffix(".kaldi"), backend, f"{entry['eer']:.3f}", *costs, *counts]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def git_commit(folder: Path) -> str | None:
    """Commit that the code stands at, with "-dirty" if a tracked file differs from it; None outside of git."""
    try:
        describe = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
