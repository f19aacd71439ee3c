"""Tables of experiments in rounds: error rates on the tests, and what each round found."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sv.errors import UserError
from sv.io import DataDir, read_json
from sv.metrics.comparison import ScoredSystem, paired_tests, read_scored_system
from sv.metrics.results import Results, list_name, markdown_rows, read_results

BACKEND = "cos"
_NAME = re.compile(r"(?P<row>.+)-seed(?P<seed>\d+)")
_CLUSTERS = {"nmi": "NMI", "ari": "ARI", "b_cubed_precision": "B3 P", "b_cubed_recall": "B3 R"}
_DECISIONS = ("wrong", "gate_precision", "gate_recall", "corrected", "correction_precision", "correction_recall")


@dataclass(frozen=True)
class Experiment:
    """An experiment in rounds.

    Attributes:
        path: its folder, <row>-seed<N>; the folder that holds it may hold others to compare it with.
        best: the best round.
        rounds: content of rounds.json.
        results: results of the best round.
    """

    path: Path
    best: int
    rounds: list[dict[str, Any]]
    results: Results

    @classmethod
    def read(cls, path: Path) -> "Experiment":
        """Read rounds.json, and results.json of the best round.

        Raises:
            UserError: a file is missing or damaged.
        """
        if not (path / "rounds.json").is_file():
            raise UserError(f"{path / 'rounds.json'} does not exist; train in rounds first (stage 3)")
        try:
            table = read_json(path / "rounds.json")
            best, rounds = int(table["best"]), list(table["rounds"])
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path / 'rounds.json'} is damaged; remove it and run stage 3 again") from error
        return cls(path, best, rounds, read_results(path / f"round{best}" / "results.json"))

    @property
    def name(self) -> tuple[str, str, str]:
        """Folder that holds it, row and seed."""
        found = _NAME.fullmatch(self.path.name)
        return self.path.parent.name, found["row"] if found else self.path.name, found["seed"] if found else ""

    def eer(self, trials: str) -> float:
        """Return the EER in percent by the cosine."""
        return float(self.results[trials][BACKEND]["eer"])

    def told_eer(self, trials: str) -> str:
        """Return the EER with its interval."""
        low, high = self.results[trials][BACKEND].get("interval", {}).get("eer", (None, None))
        return f"{self.eer(trials):.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def results_table(experiments: Sequence[Experiment], baseline: str, oracle: str) -> str:
    """Return a row for each experiment, and one for the mean over seeds where there are several.

    Args:
        experiments: in the order of the rows.
        baseline, oracle: the rows between which the gain is measured, of the same folder and seed.
    """
    lists = list(experiments[0].results)
    rows = [_result_row(one, experiments, lists, (baseline, oracle)) for one in experiments]
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for one in experiments:
        groups.setdefault(one.name[:2], []).append(one)
    for (folder, row), group in groups.items():
        if len(group) > 1:
            cells = [text for trials in lists for text in _mean_cells(group, experiments, trials, (baseline, oracle))]
            rows.append([folder, row, f"mean of {len(group)}", "", "", *cells])
    columns = [text for trials in lists for text in (f"EER {list_name(trials)} (%)", "recovered")]
    return markdown_rows(["labelled", "row", "seed", "round", "held-out EER (%)", *columns], rows, 3)


def _result_row(one: Experiment, others: Sequence[Experiment], lists: list[str], ends: tuple[str, str]) -> list[str]:
    cells = [text for trials in lists for text in (one.told_eer(trials), _number(_share([one], others, trials, ends)))]
    return [*one.name, str(one.best), f"{one.rounds[one.best]['heldout_eer']:.2f}", *cells]


def _mean_cells(
    group: Sequence[Experiment], others: Sequence[Experiment], trials: str, ends: tuple[str, str]
) -> list[str]:
    """Return the mean EER and the share recovered, of experiments that differ in their seeds."""
    mean = float(np.mean([one.eer(trials) for one in group]))
    return [_number(mean), _number(_share(group, others, trials, ends))]


def _share(group: Sequence[Experiment], others: Sequence[Experiment], trials: str, ends: tuple[str, str]) -> float:
    """Return the share of the oracle's mean gain over the baseline that a row recovers; NaN without a gain.

    The means are over the seeds that baseline and oracle have as well.
    """
    eer = {other.name: other.eer(trials) for other in others}
    names = [[(folder, end, seed) for end in (row, *ends)] for folder, row, seed in (one.name for one in group)]
    found = [[eer[name] for name in three] for three in names if eer.keys() >= set(three)]
    if not found:
        return float("nan")
    own, baseline, oracle = np.mean(found, axis=0)
    return float((baseline - own) / (baseline - oracle)) if baseline > oracle else float("nan")


def rounds_table(experiments: Sequence[Experiment]) -> str:
    """Return a row for each round: its clusters, gate and corrections, measured by the truth if it is known."""
    rows = []
    for one in experiments:
        for number, found in enumerate(one.rounds):
            clusters, decisions = found["clusters"], found.get("decisions", {})
            there = f"{clusters['clusters']} / {clusters.get('true_speakers', '?')}"
            linked = clusters.get("linked", {}).get("clusters", 0)
            pairs = clusters.get("true_pairs", {})
            cells = [_number(clusters.get(key)) for key in (*_CLUSTERS, "nmi_with_before")]
            cells += [_number(pairs.get(key)) for key in ("precision", "recall")]
            cells += [_number(decisions.get(key)) for key in _DECISIONS]
            left_out = clusters["left_out"]["utterances"] / clusters["utterances"]
            rows.append(
                [*one.name, str(number), f"{found['heldout_eer']:.2f}", there, _number(left_out), str(linked), *cells]
            )
    head = ["labelled", "row", "seed", "round", "held-out EER (%)", "clusters / speakers", "left out", "linked"]
    head += [*_CLUSTERS.values(), "NMI with before", "maybe one: P", "R"]
    head += ["wrong", "gate P", "R", "corrected", "right", "R"]
    return markdown_rows(head, rows, 3)


def _number(value: float | None) -> str:
    if value is None or np.isnan(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def paired_rows(experiments: Sequence[Experiment], against: str, test_data: Path) -> str:
    """Test a row against the others of its folder and seed on the same trials; see `paired_tests`.

    Raises:
        UserError: there is no such row; see `paired_tests`.
    """
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for one in experiments:
        folder, _, seed = one.name
        groups.setdefault((folder, seed), []).append(one)
    tables = []
    for group in groups.values():
        first = [one for one in group if one.name[1] == against]
        others = [one for one in group if one.name[1] != against]
        if first and others:
            tables.append(paired_tests([_scored(one) for one in first + others], DataDir(test_data)))
    if not tables:
        raise UserError(f"--against {against}: no folder and seed has this row and others")
    return "\n".join(tables)


def _scored(one: Experiment) -> ScoredSystem:
    system = read_scored_system(one.path / f"round{one.best}")
    scores = [replace(scored, system=one.path.name) for scored in system.scores if scored.backend == BACKEND]
    return replace(system, name=one.path.name, scores=scores)
