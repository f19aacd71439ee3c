"""`sv.losses.pair_block` as one Triton kernel, in place of some twenty passes over the (batch, block) matrix.

A tile of the matrix is read once and written once. Sums are made per tile and added up afterwards, in the same order
each time: two runs give the same bits. Held to the torch form by the same tests, in Triton's interpreter; no GPU has
run or timed it yet, so that it works only where SV_TRITON=1 asks for it.

Imports triton, which torch brings along on Linux with CUDA; TRITON_INTERPRET=1 runs it on the CPU, slowly, for tests.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from sv.losses.pair_block import BlockSums
from sv.losses.pairs import Pairs

_ROWS, _COLS = 16, 128  # of a tile


def pair_block(
    products: Tensor,
    inverse: Tensor,
    bias: Tensor,
    row: Tensor,
    target_slope: Tensor,
    pairs: Pairs,
    margin: float,
    factor: float,
) -> BlockSums:
    """As `sv.losses.pair_block.pair_block`, of contiguous float32; the gradient lies where the products were."""
    batch, block = products.shape
    grid = (triton.cdiv(batch, _ROWS), triton.cdiv(block, _COLS))
    losses, hardest, probability = (products.new_empty(grid[1], batch) for _ in range(3))
    along = products.new_empty(grid[0], block)
    margin = pairs.nontarget_margin(margin)
    angle, shift = (margin, 0.0) if pairs.margin_type == "A" else (0.0, margin)
    _kernel[grid](
        products,
        inverse,
        bias,
        row,
        target_slope,
        losses,
        hardest,
        probability,
        along,
        batch,
        block,
        pairs.t - 1,
        pairs.scale * 2 ** (1 - pairs.t),
        pairs.scale * (shift - 1),
        factor * (pairs.scale if pairs.gradient == "detached" else pairs.t * pairs.scale * 2 ** (1 - pairs.t)),
        math.cos(angle),
        math.sin(angle),
        torch.finfo(torch.float32).eps,
        ANGLE=angle > 0,
        POWER=pairs.t != 1,
        DETACHED=pairs.gradient == "detached",
        ROWS=_ROWS,
        COLS=_COLS,
    )
    return BlockSums(losses.sum(dim=0), hardest.amax(dim=0), probability.sum(), along.sum(dim=0), products)


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]  # pointers and numbers; capitals are known when it is compiled
    products,
    inverse,
    bias,
    row,
    target_slope,
    losses,
    hardest,
    probability,
    along,
    batch,
    block,
    exponent,
    logit_factor,
    logit_shift,
    slope_factor,
    cos_angle,
    sin_angle,
    eps,
    ANGLE: tl.constexpr,
    POWER: tl.constexpr,
    DETACHED: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1) * COLS + tl.arange(0, COLS)
    inside = (i < batch)[:, None] & (j < block)[None, :]
    place = products + i[:, None].to(tl.int64) * block + j[None, :]
    norms = tl.load(inverse + j, mask=j < block, other=0.0)
    cosine = tl.load(place, mask=inside, other=0.0) * norms[None, :]
    is_target = tl.load(row + i, mask=i < batch, other=-1)[:, None] == j[None, :]
    slope = tl.full((ROWS, COLS), slope_factor, tl.float32)
    moved = cosine
    if ANGLE:  # cos(theta - angle), continued, as in sv.losses.cosine.add_angle_with_slope
        square = tl.maximum((1 - cosine) * (1 + cosine), 0.0)
        inverse_sine = 1 / tl.sqrt(tl.maximum(square, eps))
        chord = tl.where(square <= eps, 2.0, 1.0) * tl.where(square > 0, 1.0, 0.0)
        beyond = cosine >= cos_angle
        moved = tl.where(beyond, cosine + (1 - cos_angle), cosine * cos_angle + square * inverse_sine * sin_angle)
        if not DETACHED:
            slope *= tl.where(beyond, 1.0, cos_angle - cosine * inverse_sine * chord * sin_angle)
    twice = tl.maximum(moved + 1, 0.0, propagate_nan=tl.PropagateNan.ALL)
    logit = twice
    if POWER:
        power = tl.where(twice > 0, tl.exp2(exponent * tl.log2(tl.maximum(twice, 1e-30))), 0.0)
        logit *= power
        if not DETACHED:
            slope *= power
    logit = logit * logit_factor + logit_shift + tl.load(bias)
    other = inside & (is_target == 0)
    small = tl.exp(-tl.abs(logit))  # in (0, 1]
    one_more = 1 + small
    rounded = tl.where(one_more == 1, 1.0, one_more - 1)  # what of `small` is left in it
    log1p = tl.where(one_more == 1, small, tl.log(one_more) * (small / rounded))
    softplus = tl.maximum(logit, 0.0) + log1p
    sigmoid = tl.where(logit >= 0, 1.0, small) / one_more
    sums = tl.program_id(1) * batch + i
    tl.store(losses + sums, tl.sum(tl.where(other, softplus, 0.0), axis=1), mask=i < batch)
    tl.store(hardest + sums, tl.max(tl.where(other, logit, -float("inf")), axis=1), mask=i < batch)
    tl.store(probability + sums, tl.sum(tl.where(other, sigmoid, 0.0), axis=1), mask=i < batch)
    target = tl.load(target_slope + i, mask=i < batch, other=0.0)
    grad = tl.where(is_target, target[:, None], sigmoid * slope)
    grad = tl.where(inside, grad, 0.0)
    tl.store(along + tl.program_id(0) * block + j, tl.sum(grad * cosine, axis=0), mask=j < block)
    tl.store(place, grad * norms[None, :], mask=inside)
