"""Contents of a page's tables, as plain text; calibrated scores stand beside those that they were made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, log10

from sv.metrics.error_rates import Ranked, SortedScores
from sv.metrics.measures import Column, Entry, columns_in
from sv.metrics.results import CALIBRATED, Results, calibrated_entry, list_name, plain_backends
from sv.report.gather import ScoreFacts, SpeakerErrors, System

_OPTION_WORDS = {
    "two_emb_layer": "second embedding layer",
    "emb_bn": "batch norm of the embedding",
    "use_se": "gates of channels",
}


@dataclass(frozen=True)
class Cell:
    """Results of one back-end on one list.

    Attributes:
        eer: percent, to sort by; None if the list was not scored with the back-end.
        text: EER, as it is printed.
        interval: its interval in brackets; "" without one.
        more: further measures: name, value with interval.
    """

    eer: float | None = None
    text: str = ""
    interval: str = ""
    more: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Grid:
    """Results: a row for each system and trial list, a column for each back-end.

    Attributes:
        backends: without those that are the calibrated copy of another.
        rows: system, trial list, a cell for each back-end.
    """

    backends: list[str]
    rows: list[tuple[str, str, list[Cell]]]

    @property
    def has_intervals(self) -> bool:
        """True if any cell has an interval."""
        return any(cell.interval for *_, cells in self.rows for cell in cells)


def results_grid(systems: Sequence[System]) -> Grid:
    """Return the results of all systems."""
    lists = [(system.name, trials, found) for system in systems for trials, found in system.results.items()]
    backends = list(dict.fromkeys(name for *_, found in lists for name in plain_backends(found)))
    return Grid(
        backends,
        [
            (system, list_name(trials), [_cell(found.get(name), found.get(name + CALIBRATED)) for name in backends])
            for system, trials, found in lists
        ],
    )


def eer_decimals(scores: SortedScores) -> int:
    """Return how many decimals of an EER in percent the trials support, 1 to 3; see `_decimals`."""
    return _decimals(scores.target.total, scores.nontarget.total)


def _decimals(num_target: float, num_nontarget: float) -> int:
    """Return 1 to 3 decimals, the last of which at least one trial of the rarer kind changes."""
    return min(3, max(1, ceil(log10(max(1, min(num_target, num_nontarget)) / 100))))


def _cell(entry: Entry | None, calibrated: Entry | None) -> Cell:
    if entry is None:
        return Cell()
    _, *columns = columns_in([entry])
    decimals = _decimals(entry["num_target"], entry["num_nontarget"])
    ends = [f"{end:.{min(2, decimals)}f}" for end in entry.get("interval", {}).get("eer", [])]
    more = [(_short(column), column.text_with_interval(entry)) for column in columns]
    for column in columns_in([calibrated]) if calibrated else []:
        if column.measure.needs_llr or column.measure.shown == "llr":
            more.append((_short(column), column.text_with_interval(calibrated or {})))
    return Cell(entry["eer"], f"{entry['eer']:.{decimals}f}", f"[{', '.join(ends)}]" if ends else "", more)


def _short(column: Column) -> str:
    """Return "EER (%)", "minDCF 0.01"."""
    return column.title if column.p_target is None else f"{column.measure.title} {column.p_target:g}"


def best_backend(results: Results) -> str:
    """Return the back-end with the lowest mean EER over the lists, of those that every list was scored with.

    Returns:
        its name; "" if no back-end has all lists.
    """
    common = [
        name
        for name in dict.fromkeys(name for entries in results.values() for name in plain_backends(entries))
        if all(name in entries for entries in results.values())
    ]
    return min(common, key=lambda name: sum(entries[name]["eer"] for entries in results.values()), default="")


def card_rows(system: System, training: dict[str, str], test: dict[str, str]) -> list[tuple[str, str]]:
    """Return name and text of what a reader asks first about a system.

    Args:
        system: the experiment folder.
        training, test: corpus facts of the data dirs, and under "data" where each is; {} if they are not known.
    """
    known = system.settings
    loss = _settings(known.get("loss_args", {}))
    margin = known.get("margin_update", {}).get("final_margin")
    loss += [f"margin {margin:g}"] if margin is not None else []
    held_out = f" ({known['heldout_speakers']} held out)" if known.get("heldout_speakers") else ""
    epochs = [f"{known['num_epochs']} epochs"] if "num_epochs" in known else []
    entries = [entry for found in system.results.values() for entry in found.values()]
    last = max(entries, key=lambda entry: str(entry["date"]), default={})
    rows = [
        ("encoder", _with_details(known.get("model", ""), _settings(known.get("model_args", {})))),
        ("loss", _with_details(known.get("loss", ""), loss)),
        ("trained", ", ".join([*_data(training, held_out), *epochs])),
        ("tested", ", ".join(_data(test))),
        ("code", str(last.get("commit") or "")[:12]),
        ("measured", str(last.get("date", ""))[:16].replace("T", " ")),
    ]
    return [row for row in rows if row[1]]


def _data(facts: Mapping[str, str], held_out: str = "") -> list[str]:
    """Return where a data dir is and its sizes, as "on data/train: 40 speakers (6 held out)", "480 utterances"."""
    sizes = [f"{facts[name]} {name}" for name in ("speakers", "utterances", "hours") if name in facts]
    return [f"on {facts['data']}: {sizes[0]}{held_out}", *sizes[1:]] if sizes else []


def _settings(values: Mapping[str, object]) -> list[str]:
    """Return options and values in words, as "embed dim 256", "without second embedding layer"."""
    words = {name: _OPTION_WORDS.get(name, name.replace("_", " ")) for name in values}
    with_or_without = {True: "with", False: "without"}
    return [
        f"{with_or_without[value]} {words[name]}" if isinstance(value, bool) else f"{words[name]} {value}"
        for name, value in values.items()
    ]


def _with_details(name: str, details: Sequence[str]) -> str:
    return f"{name} ({', '.join(details)})" if name and details else name


def calibration_sentence(results: Results, backend: str) -> str:
    """Say what decisions at the calibrated threshold and all LLRs cost on each list; "" without calibrated scores."""
    parts = []
    for trials, entries in results.items():
        entry = calibrated_entry(entries, backend) or {}
        costs = sorted(entry.get("act_dcf", {}).items(), key=lambda item: float(item[0]))
        if costs:
            prior, cost = costs[-1]
            cllr = f"Cllr {entry['cllr']:.3f}, minCllr {entry['min_cllr']:.3f}"
            parts.append((prior, f"{cost:.3f} on {list_name(trials)} (at best {entry['min_dcf'][prior]:.3f}; {cllr})"))
    if not parts:
        return ""
    return f"Calibrated, its decisions at p_target {parts[0][0]} cost {', '.join(text for _, text in parts)}."


def breakdown_table(entry: Entry) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the parts of a list; the first two columns are words."""
    parts = entry.get("breakdown", [])
    columns = columns_in(parts)
    head = ["by", "part", *(_short(column) for column in columns), "targets", "non-targets"]
    rows = [
        [
            part["by"],
            part["name"],
            *(column.text(column.read(part)) for column in columns),
            str(part["num_target"]),
            str(part["num_nontarget"]),
        ]
        for part in parts
    ]
    return head, rows


def speaker_rows(errors: SpeakerErrors) -> list[list[str]]:
    """Return name, EER, misses and false accepts of the speakers with the most errors, as "5 of 40 (12.5 %)".

    The highest EER comes first, and speakers without one last.
    """
    return [
        [
            errors.names[row],
            f"{errors.eers[row]:.{min(2, _decimals(*errors.counts[[0, 2], row]))}f}" if row in errors.eers else "",
            *(_of(*errors.counts[[kind + 1, kind], row].tolist()) for kind in (0, 2)),
        ]
        for row in sorted(errors.worst(), key=lambda row: -errors.eers.get(row, -1.0))
    ]


def speakers_sentence(errors: SpeakerErrors) -> str:
    """Say what share of the misses the speakers with the most errors make; "" without misses."""
    missed, rows = errors.counts[1], errors.worst()
    present = int((errors.counts[[0, 2]].sum(axis=0) > 0).sum())
    share = f"{100 * missed[rows].sum() / max(1, missed.sum()):.0f} %"
    return f"{len(rows)} of {present} speakers make {share} of the misses." if missed.any() else ""


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.1f}\N{NO-BREAK SPACE}%)" if whole else "no trials"


def histogram_data(one: ScoreFacts, bins: int = 120) -> dict[str, object]:
    """Return counts of scores for the page's histogram and threshold slider.

    One edge is the threshold of the EER itself, so that misses and false accepts there are exact.

    Returns:
        first and last edge of equal bins, counts of targets and of non-targets in each (the outermost hold what lies
        outside, too), and the number of the edge at the threshold of the EER.
    """
    eer = one.of.entry["eer_threshold"]
    ends = [[kind.at(round(share * (kind.total - 1))) for share in (0.0005, 0.9995)] for kind in _kinds(one)]
    low, high = min(eer, *(low for low, _ in ends)), max(eer, *(high for _, high in ends))
    step = (high - low or 1) / bins
    below, above = (max(1, ceil(reach / step)) for reach in (eer - low, high - eer))
    edges = [eer + step * row for row in range(1 - below, above)]
    target, nontarget = (_counts_between(kind, edges) for kind in _kinds(one))
    ends_at = {"low": eer - step * below, "high": eer + step * above}
    return {**ends_at, "target": target, "nontarget": nontarget, "eer_edge": below}


def _kinds(one: ScoreFacts) -> tuple[Ranked, Ranked]:
    return one.scores.target, one.scores.nontarget


def _counts_between(kind: Ranked, edges: Sequence[float]) -> list[int]:
    below = [0, *(int(count) for count in kind.below(edges)), int(kind.total)]
    return [after - before for before, after in pairwise(below)]
