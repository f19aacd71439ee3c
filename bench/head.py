#!/usr/bin/env python3
"""Heads, loss and all gradients: in passes over blocks of speakers against the plain form.

The plain form holds (batch, speakers) matrices and is left out if they would take more than 4 GiB. The floor is bare
matrix products: cosines, gradient of the embeddings, gradient of the weights; a softmax needs the cosines twice, since
it holds no matrix of them between its passes. Usage: bench/head.py [--quick] [--speakers N,...] [--losses NAME,...]
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from bench.common import best_seconds, report
from sv.losses import build_head
from sv.losses.cosine import cosine_matrix
from sv.losses.head import Head
from sv.losses.margin_softmax import MarginSoftmax
from sv.losses.pairs import Pairs
from sv.losses.softmax import Softmax
from sv.losses.softmax_head import SoftmaxHead
from sv.losses.sphereface2 import SphereFace2, sphereface2

DIM = 256
PLAIN_MATRICES = 18  # (batch, speakers) float32 matrices that the plain form holds at its peak, at most
SPEAKERS = (5_994, 17_982, 100_000, 1_000_000)  # VoxCeleb2, with two speed copies, VoxBlink2, a million
QUICK_SPEAKERS = 17_982
LOSSES: dict[str, tuple[str, dict[str, object]]] = {
    "sphereface2-C": ("sphereface2", {"margin_type": "C"}),
    "sphereface2-A": ("sphereface2", {"margin_type": "A"}),
    "softmax": ("softmax", {}),
    "aam": ("aam", {}),
    "aam_subcenter": ("aam_subcenter", {}),
    "aam_intertopk": ("aam_intertopk", {}),
}


def ours(head: Head, embedding: Tensor, speaker: Tensor) -> None:
    """Compute loss and gradients with the head, block by block."""
    head.zero_grad(set_to_none=True)
    head(embedding, speaker, head.margins.default).loss.backward()


def plain(head: Head, embedding: Tensor, speaker: Tensor) -> None:
    """Compute loss and gradients from whole matrices, by autograd."""
    head.zero_grad(set_to_none=True)
    margin = head.margins.default
    if isinstance(head, SphereFace2):
        cosine = cosine_matrix(embedding, head.weight)
        losses = sphereface2(cosine, speaker, head.bias.squeeze(), pairs=Pairs(head.options, margin))
    elif isinstance(head, MarginSoftmax):
        losses = head.losses(head.cosines(embedding), speaker, margin)
    else:
        assert isinstance(head, Softmax)
        losses = cross_entropy(linear(embedding, head.weight, head.bias), speaker, reduction="none")
    losses.mean().backward()


def products(embedding: Tensor, weight: Tensor, times: int) -> Callable[[], None]:
    """Return the floor: the matrix products, in blocks that fit memory; results are overwritten.

    Args:
        embedding: (batch, dim).
        weight: (rows, dim).
        times: how often the cosines are computed.
    """
    weight_grad, embedding_grad = torch.empty_like(weight), torch.zeros_like(embedding)
    block = max(1, (1 << 28) // (4 * len(embedding)))

    def run() -> None:
        for rows, grad in zip(weight.split(block), weight_grad.split(block), strict=True):
            for _ in range(times):
                cosine = embedding @ rows.T
            embedding_grad.addmm_(cosine, rows)
            torch.mm(cosine.T, embedding, out=grad)

    return run


def measure(batch: int, speakers: int, loss: str, budget: float) -> None:
    """Measure one case."""
    torch.manual_seed(0)
    name, options = LOSSES[loss]
    head = build_head(name, DIM, speakers, options)
    embedding, speaker = torch.randn(batch, DIM, requires_grad=True), torch.randint(speakers, (batch,))
    weight = head.get_parameter("weight").detach().flatten(0, -2)
    floor = products(embedding.detach(), weight, 2 if isinstance(head, SoftmaxHead) else 1)
    candidates: list[Callable[[], None]] = [lambda: ours(head, embedding, speaker), floor]
    if PLAIN_MATRICES * 4 * batch * len(weight) < 4 << 30:
        candidates.append(lambda: plain(head, embedding, speaker))
    seconds, of_floor, *reference = best_seconds(*candidates, budget=budget, clock=clock())
    case = f"{loss} b{batch} c{speakers} fp32, {torch.get_num_threads()} threads"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report("head", case, seconds, reference[0] if reference else None, of_floor, process_peak_gib=peak)


def clock() -> Callable[[], float]:
    """Return CPU time for one thread (OMP_NUM_THREADS=1), which other work on the machine disturbs less."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def main() -> None:
    """Run the cases that are asked for and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SPEAKERS} speakers, within a minute")
    parser.add_argument("--speakers", default=",".join(map(str, SPEAKERS)), help="numbers of speakers")
    parser.add_argument("--losses", default=",".join(LOSSES), help="which heads")
    args = parser.parse_args()
    for speakers in [QUICK_SPEAKERS] if args.quick else map(int, args.speakers.split(",")):
        for batch in (128, 512):
            for loss in args.losses.split(","):
                measure(batch, speakers, loss, budget=1.5 if args.quick else 12.0)


if __name__ == "__main__":
    main()
