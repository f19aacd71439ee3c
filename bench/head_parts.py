#!/usr/bin/env python3
"""Time of the parts of SphereFace2's fused head: each part of a block alone, times the number of blocks.

`seconds` is for all 17,982 speakers; `share` is relative to the three matrix products, which are the floor. Each part
is repeated on one block, so that its data is in the cache if it fits. Usage: bench/head_parts.py [--quick]
"""

from collections.abc import Callable

import torch

from bench.common import best_seconds, parse_quick, report
from bench.head import clock
from sv.losses.blocks import block_rows
from sv.losses.options import MarginType, SphereFace2Options
from sv.losses.pairs import Pairs, softplus

DIM, SPEAKERS = 256, 17_982
MARGIN_TYPES: tuple[MarginType, ...] = ("C", "A")


def parts(batch: int, rows: int, margin_type: MarginType) -> dict[str, Callable[[], object]]:
    """Return the parts of `_Pass.add_block` in sv/losses/fused.py, in its order, for `rows` speakers."""
    embedding, weight = torch.nn.functional.normalize(torch.randn(batch, DIM)), torch.randn(rows, DIM)
    cosine = embedding @ torch.nn.functional.normalize(weight).T
    grad, logit, inverse = torch.randn_like(cosine), torch.randn_like(cosine) - 10, torch.rand(rows)
    embedding_grad, weight_grad = torch.zeros_like(embedding), torch.empty_like(weight)
    options, bias = SphereFace2Options(margin_type=margin_type), torch.zeros(())
    pairs = Pairs(options, options.margins.default)

    def products() -> None:
        torch.mm(embedding, weight.T)
        embedding_grad.addmm_(grad, weight)
        weight_grad.addmm_(grad.T, embedding)

    def rows_of_weight() -> None:
        torch.linalg.vector_norm(weight, dim=1)
        torch.mul(weight, inverse.unsqueeze(1), out=weight_grad)

    return {
        "products": products,
        "cosine to logit and slope": lambda: pairs.nontarget_logit_and_slope(cosine, bias, 1.0),
        "softplus": lambda: softplus(logit),
        "sigmoid": lambda: logit.sigmoid(),
        "losses, hardest, bias: sums": lambda: (logit.sum(dim=1), logit.amax(dim=1), logit.sum()),
        "gradient times slope and norm": lambda: (grad.mul_(cosine), cosine.mul_(inverse), grad.mul_(inverse)),
        "gradient along W": lambda: (grad * cosine).sum(dim=0),
        "rows of W": rows_of_weight,
    }


def main() -> None:
    """Run all cases and print their figures."""
    quick = parse_quick(__doc__)
    for batch in (128, 512):
        rows = block_rows(batch, torch.empty(0))
        for margin_type in MARGIN_TYPES:
            torch.manual_seed(0)
            found = parts(batch, rows, margin_type)
            seconds = best_seconds(*found.values(), budget=2.0 if quick else 10.0, clock=clock())
            for part, time in zip(found, seconds, strict=True):
                case = f"sphereface2-{margin_type} b{batch}: {part}"
                report("head_parts", case, time * SPEAKERS / rows, share=time / seconds[0])


if __name__ == "__main__":
    main()
