"""Show what a round of clustering and training did to recordings without labels: maps before and after, and losses.

The folder of a round (docs/half-labelled.md) is beside the others of its experiment.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.clustering.label_decisions import TRUSTED, Decision, class_speakers, read_decisions
from sv.clustering.whitening import fit_whitening
from sv.errors import UserError
from sv.io import Vectors, read_json, read_table
from sv.metrics.mixture import fit_mixture
from sv.report.plots import COLORS, INK
from sv.report.tsne import tsne
from sv.scoring.cosine import read_embeddings

Bools = NDArray[np.bool_]
Doubles = NDArray[np.float64]

_OF_EACH, _OTHERS = 40, 300  # most utterances on a map: of each speaker in colour, and of all others
_GREY = "#b0b0b0"


@dataclass(frozen=True)
class Round:
    """A round.

    Attributes:
        number: from 1 on.
        table: content of rounds.json.
        before, after: folders of the round before, whose clusters this one was trained on, and of this one.
        clusters: content of clusters.json of both, by folder.
        labels: cluster of each utterance that was trained on.
        truth: true speaker of each utterance; {} if it is not known.
        labelled: speakers whom people labelled.
    """

    number: int
    table: dict[str, Any]
    before: Path
    after: Path
    clusters: dict[Path, dict[str, Any]]
    labels: dict[str, str]
    truth: dict[str, str]
    labelled: set[str]

    def decisions(self) -> dict[str, Decision]:
        """Return what the training decided about its labels; {} without gate and correction."""
        path = self.after / "pseudo_labels"
        return read_decisions(path) if path.is_file() else {}

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return head and rows of a table of the experiment's rounds."""
        head = ["round", "held-out EER (%)", "clusters", "utterances in clusters"]
        measures = {"nmi": "NMI", "b_cubed_precision": "B-cubed precision", "b_cubed_recall": "recall"}
        if not any("nmi" in one["clusters"] for one in self.table["rounds"]):
            measures = {}
        rows = []
        for one in self.table["rounds"]:
            found = one["clusters"]
            cells = [f"{found[key]:.3f}" if key in found else "" for key in measures]
            share = f"{found['labelled']} of {found['utterances']}"
            rows.append([str(one["number"]), f"{one['heldout_eer']:.2f}", str(found["clusters"]), share, *cells])
        return [*head, *measures.values()], rows


def read_round(folder: Path) -> Round | None:
    """Read a round from its folder; None if this is no round after round 0, or its embeddings were removed.

    Raises:
        UserError: a file is damaged.
    """
    found = re.fullmatch(r"round([1-9]\d*)", folder.name)
    table = folder.parent / "rounds.json"
    if found is None or not table.is_file():
        return None
    number = int(found[1])
    before, labels = folder.with_name(f"round{number - 1}"), folder / "data" / "pseudo" / "utt2spk"
    every = folder / "data" / "all" / "utt2spk"
    files = {one: one / "clusters" / "clusters.json" for one in (before, folder)}
    if not all(path.is_file() for path in [*files.values(), labels, every]):
        return None
    clusters = {one: _read_keys(path, ("clusters", "shrinkage")) for one, path in files.items()}
    if not all(Path(one.get("embeddings", "")).is_file() for one in clusters.values()):
        return None
    truth, labelled = Path(clusters[folder].get("truth", "")), read_table(labels)
    known = read_table(truth) if truth.is_file() else {}
    if not labelled.keys() <= known.keys():  # another file by now
        known = {}
    people = {spk for utt, spk in read_table(every).items() if utt not in labelled}
    return Round(
        number, _read_keys(table, ("best", "why", "rounds")), before, folder, clusters, labelled, known, people
    )


def _read_keys(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Read a file of JSON that has these keys."""
    try:
        found: dict[str, Any] = read_json(path)
        if all(key in found for key in keys) and isinstance(found, dict):
            return found
    except (ValueError, TypeError):
        pass
    raise UserError(f"{path} is damaged; remove it and run stage 3 again")


@dataclass(frozen=True)
class Map:
    """Utterances on a plane.

    Attributes:
        title: names the round and the number of its clusters.
        place: (utts, 2).
        color: (utts,) row of the speaker among those in colour; -1 for all others.
        right: (utts,) whether an utterance is in a cluster, and if the truth is known, in one of its speaker.
    """

    title: str
    place: Doubles
    color: NDArray[np.int64]
    right: Bools


def read_maps(of: Round) -> list[Map]:
    """Return the maps before and after a round, of the same utterances; the second begins where the first has ended.

    Some speakers have colours: the true ones if they are known, else the clusters that were trained on.
    """
    vectors = {folder: read_embeddings(Path(found["embeddings"])) for folder, found in of.clusters.items()}
    both = [utt for utt in vectors[of.before].ids if utt in vectors[of.after].index]
    shown, color = choose_utterances({utt: (of.truth or of.labels).get(utt, "") for utt in both})
    maps: list[Map] = []
    for folder, found in vectors.items():
        clusters = of.clusters[folder]
        unit = _unit(found, clusters["shrinkage"], shown)
        place = tsne(unit, maps[-1].place if maps else None)
        agreed = f", NMI with the truth {clusters['nmi']:.2f}" if "nmi" in clusters else ""
        number = of.number - (folder == of.before)
        title = f"round {number}: {clusters['clusters']} clusters{agreed}"
        right = in_cluster(read_table(folder / "clusters" / "utt2spk"), of.truth, of.labelled, shown)
        maps.append(Map(title, place, color, right))
    return maps


def _unit(vectors: Vectors, shrinkage: float, utts: list[str]) -> Doubles:
    rows = vectors.matrix[[vectors.index[utt] for utt in utts]]
    return fit_whitening(vectors.matrix, shrinkage).apply(rows).astype(np.float64)


def choose_utterances(speakers: Mapping[str, str]) -> tuple[list[str], NDArray[np.int64]]:
    """Choose utterances for a map, and a colour for some of their speakers.

    Args:
        speakers: speaker of each utterance; "" for none.

    Returns:
        utterances, in their order, and of each the row of its colour, or -1.
    """
    names = sorted(set(speakers.values()) - {""})
    chosen = names[:: max(1, len(names) // len(COLORS))][: len(COLORS)]
    groups: dict[str, list[str]] = {name: [] for name in ["", *chosen]}
    for utt, spk in speakers.items():
        groups[spk if spk in chosen else ""].append(utt)
    generator = np.random.default_rng(0)
    color: dict[str, int] = {}
    for row, utts in enumerate(groups.values(), -1):
        most = _OF_EACH if row >= 0 else _OTHERS
        color |= dict.fromkeys(generator.permutation(utts)[:most].tolist(), row)
    shown = [utt for utt in speakers if utt in color]
    return shown, np.array([color[utt] for utt in shown])


def in_cluster(
    clusters: Mapping[str, str], truth: Mapping[str, str], labelled: Collection[str], utts: list[str]
) -> Bools:
    """Return whether each utterance is in a cluster; if the truth is known, in its speaker's (`class_speakers`)."""
    person = class_speakers(clusters, truth, labelled) if truth else {}
    return np.array([utt in clusters and (not truth or person[clusters[utt]] == truth.get(utt)) for utt in utts])


def draw_map(of: Map) -> Callable[[Any], None]:
    """Return a function that draws a map: points in a cluster (of their speaker), crosses the others."""
    colors = np.array([*COLORS, _GREY])[of.color]

    def draw(axes: Any) -> None:
        for some, size in ((of.color < 0, 10), (of.color >= 0, 20)):  # speakers in colour above the others
            for marker, kind in (("o", of.right), ("x", ~of.right)):
                drawn = some & kind
                axes.scatter(*of.place[drawn].T, s=size, c=colors[drawn], marker=marker, linewidths=0.9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(of.title, color=INK, fontsize=10)

    return draw


def draw_losses(
    decisions: Mapping[str, Decision], truth: Mapping[str, str], labelled: Collection[str]
) -> Callable[[Any], None]:
    """Return a function that draws the losses of labels, the two Gaussians that were fitted, and the gate.

    If the truth is known, right and wrong labels have two colours; see `class_speakers`.
    """
    seen, logs = _log_losses(decisions)
    person = class_speakers({utt: one.label for utt, one in decisions.items()}, truth, labelled) if truth else {}
    right = np.array([not truth or person[decisions[utt].label] == truth[utt] for utt in seen])
    kinds = {"right label": right, "wrong label": ~right} if truth else {"labels": right}

    def draw(axes: Any) -> None:
        values, colors = [logs[some] for some in kinds.values()], [COLORS[row] for row in range(len(kinds))]
        _, edges, bars = axes.hist(values, 40, stacked=True, color=colors, alpha=0.6)
        mixture, x = fit_mixture(logs), np.linspace(edges[0], edges[-1], 400)
        for weight, mean, deviation in zip(mixture.weights, mixture.means, mixture.deviations, strict=True):
            density = weight * np.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / np.sqrt(2 * np.pi)
            curve = axes.plot(x, density * len(logs) * (edges[1] - edges[0]), color=INK, linewidth=1.5)
        drawn = [*(bars if truth else [bars]), *curve]
        names = [*kinds, "Gaussians of the mixture"]
        trusted = mixture.low_posterior(x) >= TRUSTED
        if mixture.has_two_modes and trusted.any():
            drawn.append(axes.axvline(x[trusted].max(), color=INK, linestyle=":"))
            names.append("gate")
        axes.set_xlabel("log10 of an utterance's mean loss")
        axes.set_ylabel("utterances")
        axes.legend(drawn, names)

    return draw


def losses_caption(decisions: Mapping[str, Decision]) -> str:
    """Say what `draw_losses` shows."""
    mixture = fit_mixture(_log_losses(decisions)[1])
    trusted = sum(one.posterior >= TRUSTED for one in decisions.values())
    gate = f"no gate, since {mixture.unclear}" if mixture.unclear else "the gate trusts the labels to its left"
    return f"Losses of the labels at the end of training; {gate}. Trusted: {trusted} of {len(decisions)} labels"


def _log_losses(decisions: Mapping[str, Decision]) -> tuple[list[str], Doubles]:
    """Return the utterances that training has seen, and log10 of the mean loss of each."""
    seen = [utt for utt, one in decisions.items() if one.mean > 0]
    return seen, np.log10([decisions[utt].mean for utt in seen])
