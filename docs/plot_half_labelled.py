#!/usr/bin/env python3
"""Draw what rounds of training did to recordings without labels: their map before and after, and the losses of labels.

Reads   <exp-dir>/{round0,roundN}/embeddings/<recordings>/xvector.scp, N the best round; the true speakers;
        <exp-dir>/roundN/pseudo_labels, if its training doubted labels
Writes  a picture. The map after begins where the map before has ended, so that speakers keep their places. Crosses are
        utterances whose cluster is mostly of another speaker, or that are in no cluster.

e.g.: . ./path.sh; docs/plot_half_labelled.py exp/semi/40/pseudo-C+gate-seed1 hidden_unlabelled truth picture.png
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.clustering.space import make_space
from sv.clustering.trust import TRUSTED, persons, read_decisions
from sv.errors import run_step
from sv.io import atomic_write, read_json, read_table
from sv.metrics.mixture import fit_mixture
from sv.scoring.cosine import read_embeddings

Doubles = NDArray[np.float64]
_PERPLEXITY, _ITERATIONS = 15, 400
_COLOURED = 12  # speakers; the others are grey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("recordings", help="name of the data dir without labels, under embeddings/")
    parser.add_argument("truth", type=Path, help='"utt spk", the true speakers')
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    from matplotlib.figure import Figure

    best = args.exp_dir / f"round{read_json(args.exp_dir / 'rounds.json')['best']}"
    truth = read_table(args.truth)
    decisions = best / "pseudo_labels"
    figure = Figure(figsize=(15, 5) if decisions.is_file() else (10, 5), layout="constrained")
    axes = figure.subplots(1, 3 if decisions.is_file() else 2)
    place: Doubles | None = None
    for axis, (title, folder) in zip(axes, {"before": args.exp_dir / "round0", "after": best}.items(), strict=False):
        vectors = read_embeddings(folder / "embeddings" / args.recordings / "xvector.scp")
        found = read_json(folder / "clusters" / "clusters.json")
        unit = make_space(vectors.matrix, found["shrinkage"]).unit(vectors.matrix)
        place = tsne(unit.astype(np.float64), place)
        draw_map(axis, place, [truth[utt] for utt in vectors.ids], in_cluster(folder, truth, vectors.ids))
        axis.set_title(f"{title}: {found['clusters']} clusters, NMI {found['nmi']:.2f}")
    if decisions.is_file():
        draw_losses(axes[2], decisions, truth)
    with atomic_write(args.picture, "wb") as f:
        figure.savefig(f, format="png", dpi=100)


def in_cluster(folder: Path, truth: dict[str, str], utts: list[str]) -> NDArray[np.bool_]:
    """Return whether each utterance is in a cluster that is mostly its speaker's, (utts,)."""
    labels = read_table(folder / "clusters" / "utt2spk")
    person = persons(labels, truth)
    return np.array([utt in labels and person[labels[utt]] == truth[utt] for utt in utts])


def draw_map(axis: Any, place: Doubles, speakers: list[str], right: NDArray[np.bool_]) -> None:
    """Draw utterances (utts, 2), some speakers in colours."""
    names = sorted(set(speakers))
    chosen = names[:: max(1, len(names) // _COLOURED)][:_COLOURED]
    number = np.array([chosen.index(spk) if spk in chosen else -1 for spk in speakers])
    for marker, kind in (("o", right), ("x", ~right)):
        grey, coloured = kind & (number < 0), kind & (number >= 0)
        axis.scatter(*place[grey].T, s=8, c="#c8c8c8", marker=marker, linewidths=0.8)
        axis.scatter(*place[coloured].T, s=18, c=number[coloured], cmap="tab20", vmin=0, vmax=19, marker=marker)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel("t-SNE; x: not in a cluster of its speaker")


def draw_losses(axis: Any, path: Path, truth: dict[str, str]) -> None:
    """Draw the histogram of the losses of right and wrong labels, the two Gaussians, and the gate between them."""
    decisions = read_decisions(path)
    person = persons({utt: one.label for utt, one in decisions.items()}, truth)
    seen = [utt for utt, one in decisions.items() if one.mean > 0]
    logs = np.log10([decisions[utt].mean for utt in seen])
    right = np.array([person[decisions[utt].label] == truth[utt] for utt in seen])
    _, edges, _ = axis.hist(
        [logs[right], logs[~right]],
        40,
        stacked=True,
        color=["#3b78c3", "#d9772b"],
        label=["right label", "wrong label"],
    )
    mixture, x = fit_mixture(logs), np.linspace(edges[0], edges[-1], 400)
    for weight, mean, deviation, style in zip(
        mixture.weights, mixture.means, mixture.deviations, ("-", "--"), strict=True
    ):
        density = weight * np.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation / np.sqrt(2 * np.pi)
        axis.plot(x, density * len(logs) * (edges[1] - edges[0]), "k" + style, linewidth=1)
    trusted = mixture.low_posterior(x) >= TRUSTED
    apart = f"modes {mixture.separation:.1f} deviations apart"
    if mixture.has_two_modes and trusted.any():
        axis.axvline(x[trusted].max(), color="k", linestyle=":", label="gate")
        axis.set_title(f"losses of labels: {apart}")
    else:
        axis.set_title(f"losses of labels: {apart}, no gate")
    axis.set_xlabel("log10 of an utterance's mean loss")
    axis.set_ylabel("utterances")
    axis.legend()


def tsne(unit: Doubles, start: Doubles | None) -> Doubles:
    """Return a map (utts, 2) by t-SNE on the cosine (van der Maaten, Hinton, 2008), from a start or principal axes."""
    near = _neighbours(2 - 2 * unit @ unit.T)
    place = np.linalg.svd(unit, full_matrices=False)[0][:, :2] if start is None else start
    place = place / place.std(axis=0) * (1e-2 if start is None else place.std(axis=0))
    step = np.zeros_like(place)
    for iteration in range(_ITERATIONS):
        early = iteration < _ITERATIONS // 4 and start is None
        squares = (place**2).sum(axis=1)
        kernel = 1 / (1 + squares[:, None] + squares - 2 * place @ place.T)
        np.fill_diagonal(kernel, 0)
        force = ((12 if early else 1) * near - kernel / kernel.sum()) * kernel
        gradient = 4 * (force.sum(axis=1)[:, None] * place - force @ place)
        step = (0.5 if early else 0.8) * step - len(unit) / 12 * gradient
        place = place + step
    return place - place.mean(axis=0)


def _neighbours(squared: Doubles) -> Doubles:
    """Return the symmetric probabilities of neighbours, (utts, utts), each row at the perplexity by bisection."""
    low, high = np.full(len(squared), 1e-3), np.full(len(squared), 1e4)
    np.fill_diagonal(squared, np.inf)
    for _ in range(50):
        middle = np.sqrt(low * high)[:, None]
        weights = np.exp(-middle * (squared - squared.min(axis=1, keepdims=True)))
        share = weights / weights.sum(axis=1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(axis=1)
        wide = entropy > np.log(_PERPLEXITY)
        low, high = np.where(wide, middle[:, 0], low), np.where(wide, high, middle[:, 0])
    both: Doubles = (share + share.T) / (2 * len(share))
    return both


if __name__ == "__main__":
    run_step(main)
