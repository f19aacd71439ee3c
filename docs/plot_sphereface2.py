#!/usr/bin/env python3
"""Draw the pictures of docs/sphereface2.md into docs/images: from the losses themselves, and from the study's table.

e.g.: . ./path.sh; docs/plot_sphereface2.py
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sv.errors import run_step
from sv.io import atomic_write
from sv.losses.aam_softmax import AamSoftmax
from sv.losses.options import AamOptions, MarginType, SphereFace2Options
from sv.losses.pairs import Pairs, adjust_similarity, softplus

_IMAGES = Path(__file__).parent / "images"
_STUDY = Path(__file__).parents[1] / "egs" / "speechocean762" / "STUDY.md"
_PLAIN = {"lambda": 0.7, "t": 3.0, "margin": 0.2, "scale": 32.0}  # the row "plain" of its table of options
_SPEAKERS, _DIM = 17_982, 256  # speed copies of VoxCeleb2's speakers; cosines of unlike vectors are about 0 +- 1/16
DEGREES = torch.linspace(0.5, 179.5, 359, dtype=torch.float64)
_TYPES: tuple[MarginType, ...] = ("C", "A", "M")
_COLORS = ["#3b78c3", "#d9772b", "#3c9d5d", "#b84a8b", "#8a6fd1"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.manual_seed(0)
    _save("g", _draw_g)
    _save("logits", _draw_logits)
    _save("gradients", _draw_gradients)
    _save("bias", _draw_bias)
    _save("options", _draw_options, panels=len(_PLAIN))


def _save(name: str, draw: Callable[[Sequence[Any]], None], panels: int = 2) -> None:
    """Draw sets of axes side by side into sphereface2_NAME.png."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9, 3.4), layout="constrained")
    some = fig.subplots(1, panels)
    for axes in some:
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    draw(some)
    with atomic_write(_IMAGES / f"sphereface2_{name}.png", "wb") as f:
        fig.savefig(f, format="png", dpi=160, facecolor="white")


def _pairs(margin_type: MarginType, *, margin: float | None = None) -> Pairs:
    """Return the pairs of a margin type with its default margin, or another one."""
    options = SphereFace2Options(margin_type=margin_type)
    return Pairs(options, options.margins.default if margin is None else margin)


def _slope(losses: Callable[[Tensor], Tensor]) -> Tensor:
    """Return |d loss / d angle| at `DEGREES`, in 1 / radian."""
    angle = torch.deg2rad(DEGREES).requires_grad_()
    (slope,) = torch.autograd.grad(losses(torch.cos(angle)).sum(), angle)
    return slope.abs()


def _draw_g(both: Sequence[Any]) -> None:
    cosine = torch.linspace(-1, 1, 201, dtype=torch.float64)
    for color, t in zip(_COLORS, (1, 2, 3, 5), strict=False):
        both[0].plot(cosine, adjust_similarity(cosine, t), color=color, label=f"t = {t}")
        drawn = torch.randn(200_000, dtype=torch.float64) / math.sqrt(_DIM)
        values = adjust_similarity(drawn, t)
        both[1].hist(values.numpy(), bins=120, density=True, histtype="step", color=color, label=f"t = {t}")
    both[0].set(xlabel="cosine", ylabel="g(cosine)", xticks=np.linspace(-1, 1, 5))
    both[1].set(xlabel="g of the cosines of unlike vectors (256 dimensions)", ylabel="density")
    both[0].legend()
    both[1].legend()


def _draw_logits(both: Sequence[Any]) -> None:
    cosine, zero = torch.cos(torch.deg2rad(DEGREES)), torch.zeros((), dtype=torch.float64)
    for color, margin_type in zip(_COLORS, _TYPES, strict=False):
        pairs = _pairs(margin_type)
        label = f"{margin_type}, m = {pairs.margin}"
        both[0].plot(DEGREES, pairs.target_logit(cosine, zero), color=color, label=label)
        both[1].plot(DEGREES, pairs.nontarget_logit(cosine, zero), color=color, label=label)
    for axes, pair in zip(both, ("the same speaker", "another speaker"), strict=True):
        axes.plot(DEGREES, _pairs("C", margin=0).target_logit(cosine, zero), "k:", label="no margin")
        axes.set(xlabel="angle (degrees)", ylabel="logit without bias", title=f"pair with {pair}", xlim=(0, 120))
        axes.legend()


def pulls(margin_type: MarginType) -> tuple[Tensor, Tensor]:
    """Return the gradients of SphereFace2 for target and other pairs at `DEGREES`, at the balanced bias."""
    pairs = _pairs(margin_type)
    bias = torch.tensor(pairs.balanced_bias(_SPEAKERS), dtype=torch.float64)
    weight = pairs.options.target_weight
    return (
        _slope(lambda cosine: weight * softplus(-pairs.target_logit(cosine, bias))),
        _slope(lambda cosine: (1 - weight) * softplus(pairs.nontarget_logit(cosine, bias))),
    )


def aam_pulls(own_degrees: float) -> tuple[Tensor, Tensor]:
    """Return the gradients of AAM-softmax for the target pair, and for others if the target pair is at an angle."""
    options = AamOptions()
    head, margin = AamSoftmax(_DIM, 2, options), options.margins.default
    others = torch.randn(_SPEAKERS - 1, dtype=torch.float64) / math.sqrt(_DIM)
    log_others = torch.logsumexp(head.scale * others, 0)
    own = head.scale * head.moved(torch.tensor(math.cos(math.radians(own_degrees)), dtype=torch.float64), margin)
    all_but_one = torch.logaddexp(log_others, own)
    return (
        _slope(lambda cosine: softplus(log_others - head.scale * head.moved(cosine, margin))),
        _slope(lambda cosine: torch.logaddexp(all_but_one, head.scale * cosine)),
    )


def _draw_gradients(both: Sequence[Any]) -> None:
    for color, margin_type in zip(_COLORS, _TYPES[:2], strict=False):
        for axes, slope in zip(both, pulls(margin_type), strict=True):
            axes.plot(DEGREES, slope, color=color, label=f"SphereFace2-{margin_type}, m = {_pairs(margin_type).margin}")
    for style, degrees in (("--", 40), (":", 70)):
        target, other = aam_pulls(degrees)
        if degrees == 40:  # the target pair's own pull is the same curve for all
            both[0].plot(DEGREES, target, color=_COLORS[2], linestyle=style, label="AAM, m = 0.2")
        both[1].plot(DEGREES, other, color=_COLORS[2], linestyle=style, label=f"AAM, own speaker at {degrees}°")
    for axes, pair in zip(both, ("the same speaker", "another speaker"), strict=True):
        axes.set(xlabel="angle (degrees)", ylabel="|d loss / d angle|", xlim=(0, 120), title=f"pair with {pair}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)


def _draw_bias(both: Sequence[Any]) -> None:
    cosine = torch.cos(torch.deg2rad(DEGREES))
    for color, speakers in zip(_COLORS, (100, 1_000, 17_982, 1_000_000), strict=False):
        pairs = _pairs("C")
        bias = torch.tensor(pairs.balanced_bias(speakers), dtype=torch.float64)
        probability = torch.sigmoid(_pairs("C", margin=0).target_logit(cosine, bias))
        both[0].plot(DEGREES, probability, color=color, label=f"{speakers:,} speakers, b = {bias:.1f}")
    both[0].set(xlabel="angle (degrees)", ylabel="probability of the same speaker", xlim=(40, 160))
    counts = np.geomspace(30, 1e6, 60).round().astype(int)
    for color, weight in zip(_COLORS, (0.5, 0.7, 0.9), strict=False):
        pairs = Pairs(SphereFace2Options(target_weight=weight), 0.2)
        biases = [pairs.balanced_bias(int(n)) for n in counts]
        both[1].semilogx(counts, biases, color=color, label=f"λ = {weight}")
    both[1].set(xlabel="speakers", ylabel="balanced bias")
    both[0].legend(loc="upper right")
    both[1].legend()


def measured_options() -> dict[str, dict[float, list[float]]]:
    """Return option -> value -> EERs of O and H with the cosine, then with PLDA: the study's first table of options."""
    found: dict[str, dict[float, list[float]]] = {}
    lines = iter(_STUDY.read_text(encoding="utf-8").splitlines())
    next(line for line in lines if line.startswith("| option |"))
    option = ""
    for line in lines:
        if not line.startswith("|"):
            break
        words, *eers = (cell.strip(" `") for cell in line.strip("|").split("|"))
        *name, value = words.removeprefix("--").split(" ")
        if value == "plain":
            found = {known: {at: [float(eer) for eer in eers]} for known, at in _PLAIN.items()}
        elif value.replace(".", "").isdigit():
            option = name[0] if name else option  # a value alone is one of the option above it
            found[option][float(value)] = [float(eer) for eer in eers]
    return {option: dict(sorted(values.items())) for option, values in found.items()}


def _draw_options(some: Sequence[Any]) -> None:
    for axes, (option, values) in zip(some, measured_options().items(), strict=True):
        for color, column, name in ((_COLORS[0], 1, "cosine"), (_COLORS[1], 3, "PLDA")):
            axes.plot(list(values), [eers[column] for eers in values.values()], "o-", color=color, label=name)
        axes.set(xlabel={"lambda": "λ", "margin": "m", "scale": "s"}.get(option, option), ylim=(7, 11))
        axes.set_xticks(list(values), [f"{value:g}" for value in values])
    some[0].set_ylabel("EER on H (%)")
    some[0].legend()


if __name__ == "__main__":
    run_step(main)
