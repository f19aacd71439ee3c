"""Plots of a report, as PNG and as SVG that follows the page's colours.

Legends get lines and names explicitly, because matplotlib leaves out labels that begin with "_".
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import atomic_write
from sv.metrics.error_rates import Ranked, SortedScores
from sv.report.gather import ScoreFacts, System

COLORS = ["#3b78c3", "#d9772b", "#3c9d5d", "#b84a8b", "#8a6fd1", "#b59a1f", "#4aa7b5", "#c44e4e"]
_TICKS = np.array([0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999])
_REACH = ((0.0001, 0.5), (0.001, 0.6))  # smallest range of false accepts and of misses that a DET plot shows
_POINTS = 300  # points of a curve for each kind of trials; more make no visible difference
_INSIDE = 6  # up to this many names, the legend fits inside the plot
_INK = "#777777"  # becomes the page's text colour in the SVG; legible on white in the PNG


def figure(draw: Callable[[Any], None], width: float = 4.8, height: float = 3.3) -> Any:
    """Draw a matplotlib figure with one set of axes.

    Args:
        draw: draws on the axes.
        width, height: inches.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("matplotlib is not installed; run pip install matplotlib") from error
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sv", "font.size": 9})
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.add_subplot()
    for name in ("xaxis", "yaxis"):
        getattr(axes, name).label.set_color(_INK)
    axes.tick_params(colors=_INK, which="both")
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
    draw(axes)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set_alpha(0)
        for text in legend.get_texts():
            text.set(color=_INK, parse_math=False)  # names may contain a "$"
    return fig


def save(fig: Any, png: Path) -> str:
    """Write the figure as PNG; return it as SVG, without a size and with lines in the page's text colour."""
    with atomic_write(png, "wb") as f:
        fig.savefig(f, format="png", dpi=200, facecolor="white")
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    prefix = re.sub(r"\W", "-", png.stem)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)  # several SVGs share one page
    return re.sub(r'<svg ([^>]*?)height="[^"]*" ', r"<svg \1", text, count=1).replace(' width="', ' data-width="', 1)


def det(facts: Sequence[ScoreFacts], names: Sequence[str]) -> Callable[[Any], None]:
    """Return a function that draws named DET curves on probit axes, with the points of `det_marks`.

    The axes include every point. Rates of 0 or 1 are infinite on a probit axis, and are drawn at the edge.
    """
    from scipy.special import ndtri

    points = [_det_points(one, det_marks(facts)) for one in facts]
    limits = [_det_limits([point[side] for some in points for _, *point in some], *_REACH[side]) for side in (0, 1)]

    def draw(axes: Any) -> None:
        lines = []
        for number, one in enumerate(facts):
            color = COLORS[number % len(COLORS)]
            style = ["-", "--", "-.", ":"][(number + number // len(COLORS)) % 4]  # curves may coincide
            lines += axes.plot(*ndtri(_det_curve(one.scores)), color=color, linestyle=style, linewidth=1.4)
            for marker, *point in points[number]:
                place = [np.clip(ndtri(rate), *ends) for rate, ends in zip(point, limits, strict=True)]
                axes.plot(*place, marker, color=color, markersize=6, clip_on=False)
        percents = [f"{100 * tick:g}" for tick in _TICKS]
        axes.set_xticks(ndtri(_TICKS), percents)
        axes.set_yticks(ndtri(_TICKS), percents)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])
        axes.set_xlabel("false accepts (%)")
        axes.set_ylabel("misses (%)")
        labels = [f"{name}: {one.of.entry['eer']:.2f} %" for one, name in zip(facts, names, strict=True)]
        if len(facts) <= _INSIDE:
            axes.legend(lines, labels, fontsize=8, loc="upper right")
        else:
            axes.legend(lines, labels, fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))

    return draw


def _det_curve(scores: SortedScores) -> NDArray[np.float64]:
    """Return false accepts and misses where neither is 0 or 1: (2, points)."""
    thresholds = np.sort([*_quantiles(scores.target), *_quantiles(scores.nontarget)])
    rates = np.array([scores.false_accept(thresholds), scores.miss(thresholds)])
    return rates[:, ((rates > 0) & (rates < 1)).all(axis=0)]


def _det_points(one: ScoreFacts, marks: Mapping[str, str]) -> list[tuple[str, float, float]]:
    """Return marker, false accepts and misses of each point that has a marker."""
    thresholds = {"EER": one.of.entry["eer_threshold"], **one.of.entry["min_dcf_threshold"]}
    return [
        (marks[name], float(one.scores.false_accept(threshold)), float(one.scores.miss(threshold)))
        for name, threshold in thresholds.items()
        if name in marks
    ]


def _det_limits(rates: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Return the ends of a probit axis from `low` to `high`, or wider to include all rates except 0 and 1."""
    from scipy.special import ndtri

    probits = ndtri([rate for rate in rates if 0 < rate < 1])
    ends = ndtri([low, high])
    return float(min([ends[0], *(probits - 0.1)])), float(max([ends[1], *(probits + 0.1)]))


def det_marks(facts: Sequence[ScoreFacts]) -> dict[str, str]:
    """Return the marker of each point on DET curves: "EER", and minDCF by its prior, the lowest prior first."""
    priors = sorted({prior for one in facts for prior in one.of.entry["min_dcf_threshold"]}, key=float)
    return {"EER": "o", **dict(zip(priors, "x+*^", strict=False))}


def _quantiles(scores: Ranked) -> list[float]:
    """Return scores in ascending order, dense at both ends, where the errors are."""
    from scipy.special import ndtr

    return [_quantile(scores, share) for share in ndtr(np.linspace(-4.5, 4.5, _POINTS))]


def _quantile(scores: Ranked, share: float) -> float:
    return scores.at(round(share * (scores.total - 1)))


def histogram(one: ScoreFacts) -> Callable[[Any], None]:
    """Return a function that draws densities of target and non-target scores and the thresholds of EER and minDCF."""

    def draw(axes: Any) -> None:
        kinds = ((one.scores.nontarget, "non-targets", COLORS[1]), (one.scores.target, "targets", COLORS[0]))
        low, high = (pick(_quantile(s, share) for s, *_ in kinds) for pick, share in ((min, 0.0005), (max, 0.9995)))
        edges = np.linspace(low, high, 70) if low < high else np.array([low - 0.5, low + 0.5])
        for scores, label, color in kinds:
            density = {"bins": edges, "weights": scores.weights, "density": True}
            axes.hist(scores.values, **density, histtype="stepfilled", alpha=0.55, color=color, label=label)
        marks = {"EER": one.of.entry["eer_threshold"]}
        marks |= {f"minDCF {p}": threshold for p, threshold in one.of.entry["min_dcf_threshold"].items()}
        for (name, threshold), style in zip(marks.items(), ["-", "--", ":", "-."], strict=False):
            axes.axvline(threshold, color=_INK, linestyle=style, linewidth=1.2, label=name)
        axes.set_xlabel("score")
        axes.set_ylabel("density")
        axes.legend(fontsize=8, loc="upper left")

    return draw


def training(systems: Sequence[System], key: str, label: str) -> Callable[[Any], None] | None:
    """Return a function that draws a value over the epochs of training, a line a system; None if no system has it."""
    lines = []
    for system in systems:
        points = [(r["epoch"], r[key]) for r in system.records.get("epoch", []) if r.get(key) is not None]
        if points:
            lines.append((system.name, np.array(points, dtype=np.float64)))
    if not lines:
        return None

    def draw(axes: Any) -> None:
        drawn = []
        for number, (_, points) in enumerate(lines):
            drawn += axes.plot(*points.T, "o-", color=COLORS[number % len(COLORS)], markersize=3, linewidth=1.3)
        if key in ("loss", "lr"):
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_ylabel(label)
        if len(lines) > 1:
            axes.legend(drawn, [name for name, _ in lines], fontsize=7)

    return draw


def embedding_map(points: NDArray[np.float64], names: Sequence[str]) -> Callable[[Any], None]:
    """Return a function that draws points (utts, 2), with a colour and marker for each speaker in `names`."""

    def draw(axes: Any) -> None:
        order, speakers = np.array(names), list(dict.fromkeys(names))
        drawn = []
        for number, name in enumerate(speakers):
            x, y = points[order == name].T
            color, marker = COLORS[number % len(COLORS)], "os^D"[number // 8 % 4]
            drawn.append(axes.scatter(x, y, s=22, color=color, marker=marker))
        axes.set_xlabel("first direction between speakers")
        axes.set_ylabel("second")
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "handletextpad": 0, "columnspacing": 1}
        axes.legend(drawn, speakers, fontsize=7, ncols=6, **place)

    return draw
