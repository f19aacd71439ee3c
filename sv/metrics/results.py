"""Results of a system: one entry for each trial list and back-end, with where it comes from.

    exp/results.json    {"results": {"vox1_O_cleaned.kaldi": {"cos": {"eer": 0.867, "min_dcf": {"0.01": 0.085}, ...}}}}
    exp/results.md      the same as a table, for people

Beside EER and minDCF stand the EER on the convex hull (eer_rocch) and min_cllr; for log-likelihood ratios act_dcf and
cllr; under "interval" the confidence intervals over speakers, under "breakdown" the parts of the list. An entry
replaces the one of the same list and back-end; the others stay.
"""

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sv.embeddings.experiment import folder_name
from sv.errors import UserError, log
from sv.io import atomic_write, read_json
from sv.metrics.breakdown import Part
from sv.metrics.measures import Measures
from sv.metrics.significance import Intervals

Entry = dict[str, Any]
Results = dict[str, dict[str, Entry]]  # trial list -> back-end -> entry

KEYS = {  # that every entry has
    *("eer", "eer_rocch", "eer_threshold", "min_dcf", "min_dcf_threshold", "min_cllr", "num_target", "num_nontarget"),
    *("score_file", "trials_file", "scores_sha256", "trials_sha256", "date"),
}


def printed_lines(score_name: str, metrics: Measures, parts: Sequence[Part] = ()) -> str:
    """What WeSpeaker prints for a score file; behind it what log-likelihood ratios cost, and a line for each part."""
    lines = [f"---- {score_name} -----", f"EER = {metrics.eer:.3f}"]
    lines += [f"minDCF (p_target:{p:g} c_miss:1 c_fa:1) = {value:.3f}" for p, value in metrics.min_dcf.items()]
    lines += [f"actDCF (p_target:{p:g} c_miss:1 c_fa:1) = {value:.3f}" for p, value in metrics.act_dcf.items()]
    if metrics.cllr is not None:
        lines.append(f"Cllr = {metrics.cllr:.3f}, minCllr = {metrics.min_cllr:.3f}")
    for part in parts:
        costs = "".join(f", minDCF (p_target:{p:g}) = {cost:.3f}" for p, cost in part.min_dcf.items())
        equal = f"EER = {part.eer:.3f}{costs}, " if part.eer is not None else ""
        lines.append(f"{part.by} {part.name}: {equal}{part.num_target} targets, {part.num_nontarget} non-targets")
    return "".join(line + "\n" for line in lines)


def entry_of(
    metrics: Measures,
    provenance: Mapping[str, Any],
    interval: Intervals | None = None,
    parts: Sequence[Part] = (),
) -> Entry:
    """Numbers and where they come from, as plain JSON values; EER in percent."""
    found = {
        "eer": metrics.eer,
        "eer_rocch": metrics.eer_rocch,
        "eer_threshold": metrics.eer_threshold,
        "min_dcf": _by_prior(metrics.min_dcf),
        "min_dcf_threshold": _by_prior(metrics.min_dcf_threshold),
        "min_cllr": metrics.min_cllr,
        "num_target": metrics.num_target,
        "num_nontarget": metrics.num_nontarget,
    }
    if metrics.cllr is not None:
        found |= {"act_dcf": _by_prior(metrics.act_dcf), "cllr": metrics.cllr}
    if interval is not None:
        found["interval"] = {**_interval_json(interval), "resampled": "speakers"}
    if parts:
        found["breakdown"] = [{**asdict(part), "min_dcf": _by_prior(part.min_dcf)} for part in parts]
    return {**found, **provenance}


def _interval_json(interval: Intervals) -> dict[str, Any]:
    costs = {"min_dcf": _by_prior(interval.min_dcf), "act_dcf": _by_prior(interval.act_dcf)}
    return {name: value for name, value in {**asdict(interval), **costs}.items() if value not in ({}, None)}


def part_of_json(values: Mapping[str, Any]) -> Part:
    """A part as `entry_of` wrote it."""
    return Part(**{**values, "min_dcf": {float(p): cost for p, cost in values["min_dcf"].items()}})


def _by_prior(values: Mapping[float, Any]) -> dict[str, Any]:
    return {f"{p:g}": value for p, value in values.items()}


def read_results(path: str | Path) -> Results:
    """What results.json holds; a line in the log if it holds figures of several models.

    Raises:
        UserError: it is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; score first (stage 5)")
    try:
        tree = read_json(path)
        results = {trials: dict(entries) for trials, entries in tree["results"].items()}
        whole = all(entry.keys() >= KEYS for entries in results.values() for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is damaged; remove it and run the metrics again (stage 5)")
    _warn_of_other_models(path, results)
    return results


def _warn_of_other_models(path: Path, results: Results) -> None:
    """Say which figures are of another model than those measured last: a system trained anew keeps its folder."""
    entries = {f"{trials} {backend}": entry for trials, found in results.items() for backend, entry in found.items()}
    known = {name: entry for name, entry in entries.items() if entry.get("model_sha256")}
    last = max(known, key=lambda name: str(known[name]["date"]), default="")
    others = [name for name, entry in known.items() if entry["model_sha256"] != known[last]["model_sha256"]]
    if others:
        log.warning(
            "%s: of another model than %s, which was measured last, are %s; score them again (stages 5 to 7)",
            path,
            last,
            ", ".join(others),
        )


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
            f.write(f"# Results of {folder_name(exp_dir)}\n\n{markdown_table({'': results})}")
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
    """A row for each system, trial list and back-end; no column of systems if there is one without a name.

    In brackets stand the confidence intervals over speakers, where they were measured.
    """
    rows = [
        (system, trials, backend, entry)
        for system, results in systems.items()
        for trials, entries in results.items()
        for backend, entry in entries.items()
    ]
    named = list(systems) != [""]
    measures = table_measures([entry for *_, entry in rows])
    head = ["system"] * named + ["trials", "back-end", *(title for title, _ in measures), "targets", "non-targets"]
    lines = [head, [*("---" for _ in head[: 2 + named]), *["---:"] * (len(measures) + 2)]]
    for system, trials, backend, entry in rows:
        cells = [measure(entry) for _, measure in measures]
        counts = [str(entry["num_target"]), str(entry["num_nontarget"])]
        lines.append([system] * named + [trials.removesuffix(".kaldi"), backend, *cells, *counts])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table_measures(entries: Sequence[Entry]) -> list[tuple[str, Callable[[Entry], str]]]:
    """Columns of a table of results, those that some entry has: title, and what stands in an entry's row."""
    columns: list[tuple[str, Callable[[Entry], str]]] = [
        ("EER (%)", lambda entry: f"{entry['eer']:.3f}" + _bracket(entry.get("interval", {}).get("eer"), 2))
    ]
    for key, title in (("min_dcf", "minDCF"), ("act_dcf", "actDCF")):
        for p in sorted({p for entry in entries for p in entry.get(key, {})}, key=float):
            columns.append((f"{title} (p_target {p})", partial(_cost, key=key, p=p)))
    for key, title in (("cllr", "Cllr"), ("min_cllr", "minCllr")):
        if any("cllr" in entry for entry in entries):
            columns.append((title, partial(_number, key=key)))
    return columns


def _cost(entry: Entry, *, key: str, p: str) -> str:
    if p not in entry.get(key, {}):
        return ""
    return f"{entry[key][p]:.3f}" + _bracket(entry.get("interval", {}).get(key, {}).get(p), 3)


def _number(entry: Entry, *, key: str) -> str:
    return f"{entry[key]:.3f}" + _bracket(entry.get("interval", {}).get(key), 3) if key in entry else ""


def _bracket(interval: Sequence[float] | None, decimals: int) -> str:
    return f" [{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]" if interval else ""


def git_commit(folder: Path) -> str | None:
    """Commit that the code stands at, with "-dirty" if a tracked file differs from it; None outside of git."""
    try:
        describe = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
