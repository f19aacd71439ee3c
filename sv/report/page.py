"""The HTML page: tables and plots in one file, which loads nothing else. Its layout is in page.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from sv.audio.utterances import Utterances
from sv.config import FbankConfig
from sv.io import DataDir, atomic_write
from sv.metrics.comparison import ScoredSystem, ScoreSet
from sv.metrics.results import CALIBRATED, failed_calibration, list_name, table_of
from sv.report import plots, tables
from sv.report.gather import ScoreFacts, System, corpus_facts, read_facts, read_map, read_system, speakers_of
from sv.report.rounds import Round, draw_losses, draw_map, losses_caption, read_maps, read_round
from sv.report.sounds import Sounds

_HERE = Path(__file__).parent
_MOST_CURVES = 8  # of a plot, one for each colour; more cards of systems than that are folded away
_CURVES = {
    "loss": "loss",
    "heldout_eer": "held-out EER (%)",
    "lr": "learning rate",
    "margin": "margin",
    "data_wait": "waiting for data (share)",
}
_SECTIONS = {
    "results": "Results",
    "histograms": "Scores",
    "det": "DET curves",
    "calibration": "Calibration",
    "speakers": "EER by speaker",
    "training": "Training",
    "rounds": "Recordings without labels",
    "maps": "Embeddings by speaker",
    "corpora": "Data",
    "details": "Parts of the lists, hardest errors",
    "configs": "Configuration",
}


def write_report(
    scored: Sequence[ScoredSystem], out: Path, test_data: Path | None = None, train_data: Path | None = None
) -> None:
    """Write the page, and its plots as PNG into the folder NAME_plots beside it.

    Args:
        scored: one or more systems.
        out: path of the page, as in report.html.
        test_data: data dir of the trials, for corpus statistics, errors by speaker, map of embeddings and sounds.
        train_data: data dir of the training, for corpus statistics.

    Raises:
        UserError: matplotlib is not installed, or a file of a system or data dir is damaged.
    """
    test = DataDir(test_data) if test_data else None
    training = DataDir(train_data) if train_data else None
    systems = [read_system(system, test.path.name if test else "") for system in scored]
    best = {system.name: tables.best_backend(system.results) for system in systems}
    facts = [
        read_facts(one, speakers_of(one, test) if one.backend == best[system.name] else None)
        for system in systems
        for one in system.scores
    ]
    page = _Page(systems, facts, out.with_name(f"{out.stem}_plots"))
    context = {
        **page.results(_card_facts(training), _card_facts(test)),
        **page.curves(),
        "speakers": page.speakers(),
        "training": page.training(),
        "rounds": page.rounds(),
        "maps": page.maps(test) if test else [],
        "corpora": _corpora({"training": training, "test": test}),
        "details": page.details(),
        "configs": [(system.name, system.config) for system in systems if system.config],
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    many = len(systems) > _MOST_CURVES
    text = environment.get_template("page.html").render(
        title=f"{len(systems)} systems" if many else ", ".join(system.name for system in systems),
        many=many,
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
        contents=[(key, name) for key, name in _SECTIONS.items() if key == "results" or context[key]],
        sounds=Sounds(_utterances(test, systems)),
        **context,
    )
    with atomic_write(out) as f:
        f.write(text + "\n")


def _utterances(data: DataDir | None, systems: Sequence[System]) -> Utterances | None:
    """Return the waveforms that a page may play; None without any."""
    if data is None or not (data.path / "wav.scp").is_file():
        return None
    front_end = systems[0].settings.get("dataset_args", {}).get("fbank_args", {})
    return Utterances(data, front_end.get("sample_rate", FbankConfig().sample_rate))


class _Page:
    """Sections of the page.

    Args:
        systems: experiment folders.
        facts: facts of all score files; those of the card's back-end come first.
        folder: folder of the plots as PNG.
    """

    def __init__(self, systems: Sequence[System], facts: Sequence[ScoreFacts], folder: Path) -> None:
        best = {system.name: tables.best_backend(system.results) for system in systems}
        self._facts = sorted(facts, key=lambda one: one.of.backend.removesuffix(CALIBRATED) != best[one.of.system])
        self._systems, self._folder = systems, folder

    def results(self, training: dict[str, str], test: dict[str, str]) -> dict[str, Any]:
        """Return cards and tables of results; see `tables.card_rows`."""
        head, rows = table_of({system.name: system.results for system in self._systems})
        grid = tables.results_grid(self._systems)
        return {
            "cards": [self._card(system, grid, training, test) for system in self._systems],
            "grid": grid,
            "all_numbers": {"head": head, "rows": rows},
        }

    @staticmethod
    def _card(system: System, grid: tables.Grid, training: dict[str, str], test: dict[str, str]) -> dict[str, Any]:
        best = tables.best_backend(system.results)
        cells = [
            (trials, cells[grid.backends.index(best)])
            for name, trials, cells in grid.rows
            if name == system.name and best
        ]
        return {
            "name": system.name,
            "rows": tables.card_rows(system, training, test),
            "best": best,
            "cells": cells,
            "sentence": tables.calibration_sentence(system.results, best),
            "warning": failed_calibration(system.results),
        }

    def curves(self) -> dict[str, Any]:
        """Return histograms and DET and calibration plots, one of each for a trial list."""
        found: dict[str, Any] = {"histograms": [], "det": [], "calibration": [], "histogram_data": {}}
        for trials in dict.fromkeys(one.of.trials for one in self._facts):
            scored = [one for one in self._facts if one.of.trials == trials]
            name = list_name(trials)
            names = {self._name(one.of): one for one in scored}
            found["histograms"].append({"id": trials, "title": name, "backends": list(names)})
            found["histogram_data"][trials] = {key: tables.histogram_data(one) for key, one in names.items()}
            drawn, again = _by_curve(scored)
            drawn, further = _lowest(drawn)
            left_out = [] if further else [self._name(one.of) for one in again]
            caption = _det_caption(name, list(plots.det_marks(drawn).items()), left_out) + further
            draw = plots.det(drawn, [self._name(one.of) for one in drawn])
            found["det"].append(self._figure(plots.figure(draw, 5.0, 4.6 + _more(drawn)), f"det_{name}", caption))
            calibrated, further = _lowest([one for one in scored if "act_dcf" in one.of.entry])
            if calibrated:
                draw = plots.calibration(calibrated, [self._name(one.of, calibrated="") for one in calibrated])
                caption = (
                    f"Cost of the calibrated scores on {name} by the prior of targets; solid: as decided (actDCF), "
                    f"dotted: at best (minDCF){further}"
                )
                found["calibration"].append(
                    self._figure(plots.figure(draw, 4.8, 3.6 + _more(calibrated)), f"calibration_{name}", caption)
                )
        return found

    def _name(self, one: ScoreSet, calibrated: str = ", calibrated") -> str:
        """Return what the page calls a score file; the back-end has the name that it has in the table of results."""
        plain = one.backend.removesuffix(CALIBRATED)
        backend = one.backend if plain == one.backend else plain + calibrated
        return backend if len(self._systems) == 1 else f"{one.system}, {backend}"

    def _figure(self, fig: object, name: str, caption: str) -> dict[str, str]:
        png = self._folder / f"{name.replace('/', '_')}.png"  # a system may be called a/round1
        return {"svg": plots.save(fig, png, caption), "caption": caption}

    def training(self) -> list[dict[str, str]]:
        """Return curves over the epochs."""
        shown = self._systems[:_MOST_CURVES]
        drawn = {key: plots.training(shown, key, label) for key, label in _CURVES.items()}
        of = f" of the first {len(shown)} systems" * (len(shown) < len(self._systems))
        return [
            self._figure(plots.figure(draw, 4.8, 2.8), f"training_{key}", f"{_CURVES[key]} over the epochs{of}")
            for key, draw in drawn.items()
            if draw is not None
        ]

    def rounds(self) -> list[dict[str, Any]]:
        """Return what a round of clustering and training did to recordings without labels, of each such system."""
        read = {system.name: read_round(system.path) for system in self._systems}
        return [
            {
                "name": name,
                "best": of.table["best"],
                "why": of.table["why"],
                "table": dict(zip(("head", "rows"), of.rows(), strict=True)),
                "figures": self._round_figures(name, of),
            }
            for name, of in read.items()
            if of is not None
        ]

    def _round_figures(self, name: str, of: Round) -> list[dict[str, str]]:
        colors = "true speakers" if of.truth else "clusters that were trained on"
        outside = "not in a cluster of their speaker" if of.truth else "in no cluster"
        caption = f"t-SNE of the embeddings {{}} the round. Colours: some {colors}; crosses: utterances {outside}"
        found = [
            self._figure(plots.figure(draw_map(one), 4.8, 4.8), f"round_{when}_{name}", caption.format(when))
            for when, one in zip(("before", "after"), read_maps(of), strict=True)
        ]
        if decisions := of.decisions():
            drawn = plots.figure(draw_losses(decisions, of.truth, of.labelled), 4.8, 4.8)
            found.append(self._figure(drawn, f"round_losses_{name}", losses_caption(decisions)))
        return found

    def maps(self, data: DataDir) -> list[dict[str, str]]:
        """Return a map of the embeddings of each system."""
        return [
            self._figure(
                plots.figure(plots.embedding_map(*found), 5.0, 5.0),
                f"map_{system.name}",
                f"Embeddings of {_speakers_on_map(found[1], data)}: {system.name}",
            )
            for system in self._systems
            if (found := read_map(system, data)) is not None
        ]

    def details(self) -> list[dict[str, Any]]:
        """Return parts and hardest errors of each score file; of calibrated ones the parts alone."""
        entries = {(one.of.system, one.of.trials, one.of.backend): one.of.entry for one in self._facts}
        found = []
        for one in self._facts:
            system, trials, backend = one.of.system, one.of.trials, one.of.backend
            if backend.endswith(CALIBRATED) and (system, trials, backend.removesuffix(CALIBRATED)) in entries:
                continue  # it stands with the scores that it was made from
            calibrated = entries.get((system, trials, backend + CALIBRATED), one.of.entry)
            head, rows = tables.breakdown_table(calibrated)
            found.append(
                {
                    "title": one.of.title,
                    "breakdown": {"head": head, "rows": rows},
                    "hardest": one.hardest,
                }
            )
        return found

    def speakers(self) -> list[dict[str, Any]]:
        """Return the speakers with the most errors on each list, by the card's back-end."""
        found = []
        for one in self._facts:
            if errors := one.by_speaker:
                caption = f"Misses and false accepts of each speaker at the threshold of the EER: {one.of.title}"
                name = f"speakers_{one.of.system}_{list_name(one.of.trials)}_{one.of.backend}"
                fig = plots.figure(plots.speakers(errors), 4.8, 3.0)
                rows, sentence = tables.speaker_rows(errors), tables.speakers_sentence(errors)
                found.append({"figure": self._figure(fig, name, caption), "rows": rows, "sentence": sentence})
        return found


def _card_facts(data: DataDir | None) -> dict[str, str]:
    return {"data": str(data.path), **dict(corpus_facts(data))} if data else {}


def _speakers_on_map(names: Sequence[str], data: DataDir) -> str:
    shown, known = len(set(names)), len(data.spk2utt)
    if shown == known:
        return f"the {known} speakers of {data.path.name}"
    return f"{shown} of the {known} speakers of {data.path.name}, those with the most utterances"


def _det_caption(trials: str, marks: Sequence[tuple[str, str]], left_out: Sequence[str]) -> str:
    points = [f"{point} ({marker})" for point, marker in marks]
    costs = f" and minDCF at p_target {', '.join(points[1:])}" * (len(points) > 1)
    same = f"; not drawn, as the curve is the same: {'; '.join(left_out)}" * bool(left_out)
    return f"DET curves on {trials}, with {points[0]}{costs}; at the edge: a rate of 0 or 100 %{same}"


def _by_curve(facts: Sequence[ScoreFacts]) -> tuple[list[ScoreFacts], list[ScoreFacts]]:
    """Split score files into those with a DET curve of their own, and those with the curve of an earlier one.

    Calibration does not change a DET curve.
    """
    own: list[ScoreFacts] = []
    again: list[ScoreFacts] = []
    for one in facts:
        (again if any(_same_curve(one.of, other.of) for other in own) else own).append(one)
    return own, again


def _lowest(facts: Sequence[ScoreFacts]) -> tuple[list[ScoreFacts], str]:
    """Return as many score files as a plot can show, those with the lowest EER, and what its caption says of others."""
    ranked = sorted(range(len(facts)), key=lambda row: float(facts[row].of.entry["eer"]))
    kept = [facts[row] for row in sorted(ranked[:_MOST_CURVES])]
    others = len(facts) - len(kept)
    return kept, f"; not drawn: {others} more, with EERs that are as high or higher" * bool(others)


def _more(curves: Sequence[ScoreFacts]) -> float:
    """Return the height in inches that a long legend adds to a plot."""
    return 0.2 * max(0, len(curves) - 4)


def _same_curve(one: ScoreSet, other: ScoreSet) -> bool:
    """Return whether two score files rank the trials alike, except for scores that calibration rounds to ties."""
    gaps = {name: abs(one.entry[name] - other.entry[name]) for name in ("eer_rocch", "min_cllr")}
    return one.system == other.system and gaps["eer_rocch"] < 0.01 and gaps["min_cllr"] < 0.001


def _corpora(sets: Mapping[str, DataDir | None]) -> dict[str, Any]:
    """Return a table of corpus statistics, one column a data dir; {} without any."""
    there = {f"{use}: {data.path.name}": dict(corpus_facts(data)) for use, data in sets.items() if data is not None}
    names = dict.fromkeys(name for facts in there.values() for name in facts)
    rows = [[name, *(facts.get(name, "") for facts in there.values())] for name in names]
    return {"head": ["", *there], "rows": rows} if there else {}
