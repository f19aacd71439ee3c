"""Results of a system: one entry for each trial list and back-end, with where it comes from.

    exp/results.json    {"results": {"vox1_O_cleaned.kaldi": {"cos": {"eer": 0.867, "min_dcf": {"0.01": 0.085}, ...}}}}
    exp/results.md      the same as a table, for people
    exp/results.txt     EER and minDCF as a table for the terminal, trials down and back-ends across, and a warning if
                        calibration fails

An entry has every measure of `sv.metrics.measures.MEASURES` by its key, some of them for log-likelihood ratios alone;
under "interval" the confidence intervals over speakers, under "breakdown" the parts of the list. An entry replaces the
one of the same list and back-end. The table is always of one system on the same trials: an added entry removes entries
of a list that is gone or has changed, those of another model or other training data, and those of scores made from
scores that it replaces: calibrated and fused ones. For entries under a name of one's own, such as cos_NAME, only the
list counts.
"""

import fcntl
import json
import os
import re
import subprocess
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sv.errors import UserError, log
from sv.io import atomic_write, read_json
from sv.metrics.measures import Column, Entry, columns_in, shown_columns
from sv.metrics.provenance import TRAINED_ON

Results = dict[str, dict[str, Entry]]  # trial list -> back-end -> entry
_WIDTH = 80  # columns of a terminal
CALIBRATED = "_cali"  # ends the name of a back-end whose scores are calibrated ones of the back-end before it

_SEED = re.compile(r"-seed\d+(?=[-/]|$)")  # NAME-seed1-LM is a seed of NAME-LM, NAME-seed1/round1 of NAME/round1

_OF_THE_SYSTEM = {"model_sha256": "model", "fingerprint": "front-end", TRAINED_ON: "training data"}

KEYS = {  # of every entry; one without a measure that was added to the table later is whole, too
    *("eer", "eer_rocch", "eer_threshold", "min_dcf", "min_dcf_threshold", "min_cllr", "num_target", "num_nontarget"),
    *("score_file", "trials_file", "scores_sha256", "trials_sha256", "date"),
}


def folder_name(exp_dir: str | Path) -> str:
    """Return what a table calls a system: its folder's name, also for `.` or `exp/x/..`."""
    return Path(os.path.abspath(exp_dir)).name


def without_seed(name: str) -> str:
    """Return the name that a system shares with those that differ in their seed alone: NAME of NAME-seed1."""
    return _SEED.sub("", name)


def system_names(exp_dirs: Sequence[Path]) -> list[str]:
    """Return what a table calls each system: its folder's name, after those of folders above if systems share it.

    Seeds of one system have equally many folders in their names, so that they are known as seeds.

    Raises:
        UserError: a folder is given twice.
    """
    known = [Path(os.path.abspath(exp_dir)).parts for exp_dir in exp_dirs]
    system_of = [Path(without_seed(str(Path(*parts)))).parts for parts in known]
    names = []
    for number, (parts, system) in enumerate(zip(known, system_of, strict=True)):
        if parts in known[:number]:
            raise UserError(f"{exp_dirs[number]} is given twice; give each system once")
        seeds = [other for other, of in zip(known, system_of, strict=True) if of == system]
        others = [other for other in system_of if other != system]
        alone = (
            n
            for n in range(1, len(parts))
            if all(other[-n:] != system[-n:] for other in others) and len({seed[-n:] for seed in seeds}) == len(seeds)
        )
        names.append(str(Path(*parts[-next(alone, len(parts)) :])))
    return names


def printed_lines(score_name: str, entry: Entry, columns: Sequence[Column]) -> str:
    """Return what WeSpeaker prints for a score file, with a line for each further measure and for each part."""
    columns = shown_columns(columns)
    lines = [f"---- {score_name} -----", *(_printed(column, entry, " c_miss:1 c_fa:1") for column in columns)]
    for part in entry.get("breakdown", []):
        numbers = [_printed(column, part) for column in columns if column.read(part) is not None]
        counts = [f"{part['num_target']} targets", f"{part['num_nontarget']} non-targets"]
        lines.append(f"{part['by']} {part['name']}: {', '.join([*numbers, *counts])}")
    return "".join(line + "\n" for line in lines)


def _printed(column: Column, entry: Entry, costs: str = "") -> str:
    prior = "" if column.p_target is None else f" (p_target:{column.p_target:g}{costs})"
    return f"{column.measure.title}{prior} = {column.text(column.read(entry))}"


def read_results(path: str | Path) -> Results:
    """Read results.json; log a line if it holds figures of several models.

    Raises:
        UserError: it is missing or damaged.
    """
    results = _read(Path(path))
    _warn_of_other_models(Path(path), results)
    return results


def _read(path: Path) -> Results:
    if not path.is_file():
        raise UserError(f"{path} does not exist; score first (stage 5)")
    try:
        tree = read_json(path)
        results = {trials: dict(entries) for trials, entries in tree["results"].items()}
        whole = all(entry.keys() >= KEYS for entries in results.values() for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is damaged; remove it and run the metrics again (stages 5 to 7)")
    return results


def _warn_of_other_models(path: Path, results: Results) -> None:
    """Warn of figures of another model than the last ones: a system that is trained again keeps its folder."""
    entries = {f"{trials} {backend}": entry for trials, found in results.items() for backend, entry in found.items()}
    known = {name: entry for name, entry in entries.items() if entry.get("model_sha256")}
    last = max(known, key=lambda name: str(known[name]["date"]), default="")
    others = [name for name, entry in known.items() if entry["model_sha256"] != known[last]["model_sha256"]]
    if others:
        log.warning(
            "%s: %s are results of another model than %s, the last one measured; score them again (stages 5 to 7)",
            path,
            ", ".join(others),
            last,
        )


def merge_results(exp_dir: str | Path, added: Results) -> Results:
    """Put entries into results.json and write the tables again; return all entries.

    Entries that do not go with the added ones are removed, with a line in the log. Two steps that end at the same time
    wait for one another.
    """
    exp_dir = Path(exp_dir)
    with _locked(exp_dir):
        path = exp_dir / "results.json"
        results = _without_outdated(read_results(path), added, path) if path.exists() else {}
        for trials, entries in added.items():
            results[trials] = dict(sorted({**results.get(trials, {}), **entries}.items()))
        _write(exp_dir, results)
    return results


def keep_backends(exp_dir: Path, kept: Mapping[str, Collection[str]]) -> None:
    """Remove the entries of some lists that are not of these back-ends; log what is removed.

    Args:
        exp_dir: folder of results.json, which need not exist.
        kept: for each list, the back-ends.
    """
    path = exp_dir / "results.json"
    if not path.exists():
        return
    with _locked(exp_dir):
        results, removed = _read(path), []
        for trials, backends in kept.items():
            for name in [name for name in results.get(trials, {}) if name not in backends]:
                del results[trials][name]
                removed.append(f"{list_name(trials)} {name}")
        if removed:
            log.warning("%s: results of %s are removed: they are not made any more", path, ", ".join(removed))
            _write(exp_dir, results)


def _write(exp_dir: Path, results: Results) -> None:
    with atomic_write(exp_dir / "results.json") as f:
        json.dump({"results": results}, f, indent=2, allow_nan=False)
        f.write("\n")
    with atomic_write(exp_dir / "results.md") as f:
        f.write(f"# Results of {folder_name(exp_dir)}\n\n{markdown_table({'': results})}")
    with atomic_write(exp_dir / "results.txt") as f:
        f.write(terminal_table(results))


def _without_outdated(known: Results, added: Results, where: Path) -> Results:
    """Return the known entries that go with the added ones; log a line for each reason to remove others."""
    kept: Results = {}
    removed: dict[str, list[str]] = {}
    added_scores = {entry["scores_sha256"] for entries in added.values() for entry in entries.values()}
    replaced = {known[t][name]["scores_sha256"] for t in added for name in added[t] if name in known.get(t, {})}
    for trials, entries in known.items():
        for backend, entry in entries.items():
            if why := _outdated(trials, backend, entry, added, replaced - added_scores):
                removed.setdefault(why, []).append(f"{list_name(trials)} {backend}")
            else:
                kept.setdefault(trials, {})[backend] = entry
    for why, names in removed.items():
        log.warning("%s: results of %s are removed: %s", where, ", ".join(names), why)
    return kept


def _outdated(trials: str, backend: str, entry: Entry, added: Results, replaced: Collection[str]) -> str:
    """Return why an entry does not go with the added ones, or ""; one that is replaced goes with them.

    Args:
        trials, backend, entry: the entry and what it is of.
        added: the new entries.
        replaced: checksums of score files that are there no more.
    """
    here, listed = added.get(trials, {}), Path(entry["trials_file"])
    if backend in here:
        return ""
    if listed.parent.is_dir() and not listed.exists():
        return f"{listed} is gone"
    if here and entry["trials_sha256"] not in {other["trials_sha256"] for other in here.values()}:
        return f"{listed} has changed; score again (stages 5 to 7)"
    if _of_ones_own(backend):
        return ""
    if any(source in replaced for source in entry.get("sources_sha256", ())):
        return "they are made from scores that have changed; score again (stages 5 to 7)"
    for of_list, entries in added.items():
        others = [other for name, other in entries.items() if not _of_ones_own(name)]
        compared = {**_OF_THE_SYSTEM, **({"embeddings_sha256": "test data"} if of_list == trials else {})}
        for key, what in compared.items():
            if any(entry.get(key) and other.get(key) and entry[key] != other[key] for other in others):
                return f"they are of another version of the {what}; score again (stages 5 to 7)"
    return ""


def _of_ones_own(backend: str) -> bool:
    """Tell whether results are filed under a name that the user added to: plda_NAME."""
    return "_" in backend.removesuffix(CALIBRATED)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def markdown_table(systems: Mapping[str, Results]) -> str:
    """Return a row for each system, trial list and back-end; no column of systems if there is one without a name.

    Brackets hold the confidence intervals over speakers, if they were measured.
    """
    head, rows = table_of(systems)
    start = 1 if list(systems) == [""] else 0
    return markdown_rows(head[start:], [row[start:] for row in rows], 3 - start)


def list_name(trials: str) -> str:
    """Return what people call a trial list: its file's name without ".kaldi"."""
    return trials.removesuffix(".kaldi")


def plain_backends(entries: Mapping[str, Entry]) -> list[str]:
    """Return the back-ends of a list without the calibrated copies of others, which rank the trials alike."""
    return [name for name in entries if name.removesuffix(CALIBRATED) not in entries or not name.endswith(CALIBRATED)]


def calibrated_entry(entries: Mapping[str, Entry], backend: str) -> Entry | None:
    """Return the entry of a back-end's log-likelihood ratios, its own if its scores are such; None without one."""
    entry = entries.get(backend + CALIBRATED, entries.get(backend, {}))
    return entry if "cllr" in entry else None


def terminal_table(results: Results) -> str:
    """Return EER with its interval and minDCF at the lowest prior; at most 80 columns wide if names are not too long.

    Rows are trial lists and columns are back-ends; calibrated scores are not repeated. If there are many back-ends,
    intervals are below the EERs; if the table is still too wide, there are several tables.
    """
    backends = list(dict.fromkeys(name for entries in results.values() for name in plain_backends(entries)))
    first = max((len(list_name(trials)) for trials in results), default=0)
    for stacked in (False, True):
        cells = {
            trials: [_cell(entries.get(name), stacked) for name in backends] for trials, entries in results.items()
        }
        width = max((len(text) for row in cells.values() for cell in row for text in cell), default=0)
        width = max([width, *map(len, backends)])
        across = max(1, (_WIDTH - first) // (width + 2))
        if across >= len(backends):
            break
    lines = []
    for start in range(0, len(backends), across):
        some = slice(start, start + across)
        lines.append(_aligned(["", *backends[some]], first, width))
        for trials, row in cells.items():
            top, *below = zip(*row[some], strict=True)
            lines.append(_aligned([list_name(trials), *top], first, width))
            lines += [_aligned(["", *line], first, width) for line in below]
        lines.append("")
    lines.append("EER (%) with 95 % interval over speakers, if any; minDCF (p_target)")
    lines += textwrap.wrap(failed_calibration(results), _WIDTH, break_on_hyphens=False)
    return "".join(line + "\n" for line in lines)


def failed_calibration(results: Results) -> str:
    """Say which calibrated scores cost more than deciding without scores (actDCF or Cllr above 1); "" if none do."""
    failed, backends, worst = [], [], {"Cllr": 0.0, "actDCF": 0.0}
    for trials, entries in results.items():
        for name, entry in entries.items():
            costs = {"Cllr": entry.get("cllr", 0), "actDCF": max(entry.get("act_dcf", {}).values(), default=0)}
            if max(costs.values()) > 1:
                backends.append(name.removesuffix(CALIBRATED))
                failed.append(f"{list_name(trials)} {backends[-1]}")
                worst = {measure: max(worst[measure], cost) for measure, cost in costs.items()}
    if not failed:
        return ""
    above = ", ".join(f"{measure} up to {cost:.2f}" for measure, cost in worst.items() if cost > 1)
    return (
        f"Calibration fails on {', '.join(failed)}: {above}, where 1 is deciding without scores. Do not rely on LLR or "
        f"probability of {', '.join(dict.fromkeys(backends))} (verify uses cos); hold out more speakers, or calibrate "
        "on more (steps/calibrate.py --on DATA_DIR)."
    )


def failure_of(exp_dir: Path, backend: str, calibration_sha256: str) -> str:
    """Say where one calibration of a system fails, by its results.json (`failed_calibration`); "" without results.

    Args:
        exp_dir: folder of the system.
        backend: whose scores it calibrates.
        calibration_sha256: checksum of the calibration's file; results of another calibration do not count.

    Raises:
        UserError: results.json is damaged.
    """
    path, name = exp_dir / "results.json", f"{backend}{CALIBRATED}"
    found: Results = {}
    for trials, entries in (_read(path) if path.exists() else {}).items():
        if entries.get(name, {}).get("calibration_sha256") == calibration_sha256:
            found[trials] = {name: entries[name]}
    return failed_calibration(found)


def _aligned(words: Sequence[str], first: int, width: int) -> str:
    return f"{words[0]:<{first}}  {'  '.join(f'{word:<{width}}' for word in words[1:])}".rstrip()


def _cell(entry: Entry | None, stacked: bool) -> list[str]:
    """Return the lines of a cell: EER and interval, one below the other if they are stacked, and minDCF."""
    if entry is None:
        return [""] * (3 if stacked else 2)
    ends = entry.get("interval", {}).get("eer")
    eer = [f"{entry['eer']:.2f}", f"[{ends[0]:.1f}, {ends[1]:.1f}]" if ends else ""]
    prior = min(entry["min_dcf"], key=float, default="")
    cost = f"{entry['min_dcf'][prior]:.3f} ({prior})" if prior else ""
    return [*(eer if stacked else [" ".join(eer).rstrip()]), cost]


def table_of(systems: Mapping[str, Results]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a table of results; the first three columns are system, trial list and back-end."""
    entries = [
        (system, trials, backend, entry)
        for system, results in systems.items()
        for trials, backends in results.items()
        for backend, entry in backends.items()
    ]
    columns = columns_in([entry for *_, entry in entries])
    rows = []
    for system, trials, backend, entry in entries:
        cells = [column.text_with_interval(entry) for column in columns]
        counts = [str(entry["num_target"]), str(entry["num_nontarget"])]
        rows.append([system, trials.removesuffix(".kaldi"), backend, *cells, *counts])
    return ["system", "trials", "back-end", *(column.title for column in columns), "targets", "non-targets"], rows


def markdown_rows(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """Return a table in Markdown; the first `words` columns are text, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *rows])


def git_commit(folder: Path) -> str | None:
    """Return the commit of the code, with "-dirty" if a tracked file differs from it; None outside of git."""
    try:
        describe = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
