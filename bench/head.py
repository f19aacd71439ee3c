#!/usr/bin/env python3
"""SphereFace2's head, loss and all gradients: one pass over blocks of speakers against the plain form.

The plain form holds (batch, speakers) matrices and is left out if they would take more than 4 GiB. The floor is three
bare matrix products: cosines, gradient of the embeddings, gradient of the weights. Usage: bench/head.py [--quick]
"""

import resource
from collections.abc import Callable

import torch
from torch import Tensor

from bench.common import best_seconds, parse_quick, report
from sv.losses import build_head
from sv.losses.cosine import cosine_matrix
from sv.losses.pairs import Pairs
from sv.losses.sphereface2 import SphereFace2, sphereface2

DIM = 256
PLAIN_MATRICES = 18  # (batch, speakers) float32 matrices that the plain form holds at its peak, at most
SPEAKERS = {5_994: "VoxCeleb2", 17_982: "VoxCeleb2 with two speed copies", 100_000: "VoxBlink2", 1_000_000: "a million"}


def fused(head: SphereFace2, embedding: Tensor, speaker: Tensor, margin: float) -> None:
    """Compute loss and gradients with the head, block by block."""
    head.zero_grad(set_to_none=True)
    head(embedding, speaker, margin).loss.backward()


def plain(head: SphereFace2, embedding: Tensor, speaker: Tensor, margin: float) -> None:
    """Compute loss and gradients from whole matrices, by autograd."""
    head.zero_grad(set_to_none=True)
    cosine = cosine_matrix(embedding, head.weight)
    sphereface2(cosine, speaker, head.bias.squeeze(), pairs=Pairs(head.options, margin)).mean().backward()


def products(embedding: Tensor, weight: Tensor) -> Callable[[], None]:
    """Return the floor: the three matrix products, in blocks that fit memory; results are overwritten."""
    weight_grad, embedding_grad = torch.empty_like(weight), torch.zeros_like(embedding)
    block = max(1, (1 << 28) // (4 * len(embedding)))

    def run() -> None:
        for rows, grad in zip(weight.split(block), weight_grad.split(block), strict=True):
            cosine = embedding @ rows.T
            embedding_grad.addmm_(cosine, rows)
            torch.mm(cosine.T, embedding, out=grad)

    return run


def measure(batch: int, speakers: int, margin_type: str, budget: float) -> None:
    """Measure one case."""
    torch.manual_seed(0)
    head = build_head("sphereface2", DIM, speakers, {"margin_type": margin_type})
    assert isinstance(head, SphereFace2)
    embedding, speaker = torch.randn(batch, DIM, requires_grad=True), torch.randint(speakers, (batch,))
    arguments = (head, embedding, speaker, head.margins.default)
    candidates = [lambda: fused(*arguments), products(embedding.detach(), head.weight.detach())]
    if PLAIN_MATRICES * 4 * batch * speakers < 4 << 30:
        candidates.append(lambda: plain(*arguments))
    ours, floor, *reference = best_seconds(*candidates, budget=budget)
    case = f"sphereface2-{margin_type} b{batch} c{speakers} fp32, {torch.get_num_threads()} threads"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report("head", case, ours, reference[0] if reference else None, floor, process_peak_gib=peak)


def main() -> None:
    """Run all cases and print their figures."""
    quick = parse_quick(__doc__)
    for speakers in SPEAKERS:
        for batch in (128, 512):
            for margin_type in ("C", "A"):
                if not quick or speakers == 17_982:
                    measure(batch, speakers, margin_type, budget=4.0 if quick else 12.0)


if __name__ == "__main__":
    main()
