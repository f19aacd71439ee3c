"""Plots of a report, as PNG and as SVG that follows the page's colours.

Legends get lines and names explicitly, because matplotlib leaves out labels that begin with "_".
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import atomic_write
from sv.metrics.cllr import act_dcf
from sv.metrics.error_rates import Ranked, SortedScores, min_dcf
from sv.report.gather import ScoreFacts, SpeakerErrors, System
from sv.report.tables import eer_decimals

COLORS = ["#3b78c3", "#d9772b", "#3c9d5d", "#b84a8b", "#8a6fd1", "#b59a1f", "#4aa7b5", "#c44e4e"]
_TICKS = np.array([0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999])
_REACH = ((0.0001, 0.5), (0.001, 0.6))  # smallest range of false accepts and of misses that a DET plot shows
_POINTS = 300  # points of a curve for each kind of trials; more make no visible difference
_LEGEND_LETTERS = 52  # of a legend's line below a plot
INK = "#777777"  # becomes the page's text colour in the SVG; legible on white in the PNG


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
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sv", "font.size": 10})
    matplotlib.rcParams["axes.formatter.min_exponent"] = 99  # 0.1 on log axes: exponents are too small to read
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.add_subplot()
    for name in ("xaxis", "yaxis"):
        getattr(axes, name).label.set_color(INK)
    axes.tick_params(colors=INK, which="both")
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=INK, alpha=0.2, linewidth=0.5)
    draw(axes)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set_alpha(0)
        for text in legend.get_texts():
            text.set(color=INK, parse_math=False)  # names may contain a "$"
    return fig


def save(fig: Any, png: Path, description: str) -> str:
    """Write the figure as PNG; return it as SVG, without a size and with lines in the page's text colour.

    Args:
        fig: from `figure`.
        png: path to write.
        description: what the picture shows, for those who cannot see it.
    """
    with atomic_write(png, "wb") as f:
        fig.savefig(f, format="png", dpi=200, facecolor="white")
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    prefix = re.sub(r"\W", "-", png.stem)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)  # several SVGs share one page
    text = re.sub(r'<svg ([^>]*?)height="[^"]*" ', r"<svg \1", text, count=1).replace(' width="', ' data-width="', 1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)


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
        eers = [f"{one.of.entry['eer']:.{min(2, eer_decimals(one.scores))}f} %" for one in facts]
        _legend_below(axes, lines, [f"{name}: {eer}" for name, eer in zip(names, eers, strict=True)])

    return draw


def _legend_below(axes: Any, handles: Sequence[Any], names: Sequence[str], **place: Any) -> None:
    """Put the legend under the plot, where it hides nothing, in as many columns as the names allow."""
    columns = max(1, _LEGEND_LETTERS // (max(map(len, names)) + 4))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.6 / axes.figure.get_figheight()), "columnspacing": 1}
    axes.legend(handles, names, ncols=min(6, columns), **below, **place)


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


def calibration(facts: Sequence[ScoreFacts], names: Sequence[str]) -> Callable[[Any], None]:
    """Return a function that draws the cost of log-likelihood ratios over the prior, as decided and at best.

    Solid: actDCF, the cost of decisions at Bayes' threshold. Dotted: minDCF, that at the best threshold. Between them
    lies what calibration loses. Costs are normalized as those of the tables, so that 1 is a system that always decides
    for the likelier side (Brummer and de Villiers, "The BOSARIS Toolkit", 2011, arXiv 1304.2865, section 2.3).
    """
    log_odds = np.linspace(-5, 5, 41)
    priors = (1 / (1 + np.exp(-log_odds))).tolist()

    def draw(axes: Any) -> None:
        lines = []
        for number, one in enumerate(facts):
            color = COLORS[number % len(COLORS)]
            actual = [act_dcf(one.scores, prior) for prior in priors]
            best = [min_dcf(one.scores, prior) for prior in priors]
            lines += axes.plot(log_odds, actual, color=color, linewidth=1.4)
            axes.plot(log_odds, best, color=color, linewidth=1.2, linestyle=":")
        axes.set_ylim(0, 1.2)
        axes.set_xlabel("logit of p_target")
        axes.set_ylabel("normalized cost")
        _legend_below(axes, lines, names)

    return draw


def speakers(errors: SpeakerErrors, named: int = 3) -> Callable[[Any], None]:
    """Return a function that draws a point for each speaker: its false accepts and misses, the worst with their names.

    Args:
        errors: error rates of each speaker.
        named: speakers whose names are written.
    """

    def draw(axes: Any) -> None:
        misses, accepts = errors.shares()
        axes.plot(accepts, misses, "o", color=COLORS[0], alpha=0.6, markersize=5, clip_on=False)
        for row in errors.worst(named):
            if np.isfinite(misses[row] + accepts[row]):
                side = -1 if accepts[row] > np.nanmax(accepts) / 2 else 1  # so that long names stay within the axes
                place = {"xytext": (4 * side, 2), "textcoords": "offset points", "ha": "right" if side < 0 else "left"}
                axes.annotate(errors.names[row], (accepts[row], misses[row]), **place, color=INK, parse_math=False)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("false accepts (%)")
        axes.set_ylabel("misses (%)")

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
            axes.legend(drawn, [name for name, _ in lines])

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
        _legend_below(axes, drawn, speakers, handletextpad=0)

    return draw
