"""Heads split over 2 and 4 processes of gloo against the same head in one: losses, gradients, what was right."""

import socket
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.losses import build_head
from sv.losses.head import Head
from sv.losses.label_confidence import Confidence

CASES: dict[str, tuple[str, dict[str, object]]] = {
    "softmax": ("softmax", {}),
    "am": ("am", {}),
    "aam": ("aam", {}),
    "aam easy": ("aam", {"easy_margin": True}),
    "sub-center": ("aam_subcenter", {"num_subcenters": 3}),
    "inter-top-k": ("aam_intertopk", {"top_k": 2}),
    "inter-top-k, all others": ("aam_intertopk", {"top_k": 9}),
    "inter-top-k, sub-center": ("aam_intertopk_subcenter", {"num_subcenters": 2, "top_k": 3}),
    "a-softmax": ("sphere", {}),
    "sphereface2-C": ("sphereface2", {"margin_type": "C"}),
    "sphereface2-A": ("sphereface2", {"margin_type": "A"}),
    "sphereface2-M": ("sphereface2", {"margin_type": "M", "gradient": "detached"}),
}
BATCH, DIM = 8, 6  # of all processes
OF_UTTS = ("losses", "correct", "label_losses", "speaker", "probability", "lead")
SPEAKERS = {  # no number of speakers is a multiple of the processes
    "some": (7, [0, 6, 3, 3, 1, 5, 2, 4]),
    "a process without targets": (11, [0, 1, 1, 0, 1, 0, 1, 0]),
    "fewest": (5, [4, 4, 4, 4, 4, 4, 4, 4]),
}


def make_head(case: str, num_speakers: int) -> Head:
    torch.manual_seed(3)
    name, options = CASES[case]
    return build_head(name, DIM, num_speakers, options).double()


def make_batch(num_speakers: int, speakers: list[int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_speakers)
    return torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64), torch.tensor(speakers)


def make_confidence(num_speakers: int, own: slice) -> Confidence:
    """Some labels are not trusted; classes of every process are ignored, or may hold another speaker."""
    weight = torch.linspace(0, 1, BATCH, dtype=torch.float64)
    ignored = torch.arange(-1, 2 * BATCH - 1).view(BATCH, 2) % num_speakers
    ignored[::3] = -1
    return Confidence(weight[own], ignored[own], torch.arange(num_speakers) % 2 == 0)


def outcome(head: Head, embedding: Tensor, speaker: Tensor, confidence: Confidence | None) -> dict[str, Tensor]:
    embedding = embedding.clone().requires_grad_()
    output = head(embedding, speaker, head.margins.default, confidence)
    output.loss.backward()
    grads = {name: p.grad for name, p in head.named_parameters() if p.grad is not None}
    assert embedding.grad is not None
    found = {"loss": output.loss, "losses": output.losses, "correct": output.correct, "embedding": embedding.grad}
    if output.label_losses is not None:
        found |= {"label_losses": output.label_losses, **head.predict(embedding)._asdict()}
    return {name: value.detach() for name, value in {**found, **grads}.items()}


WORKER = """
import torch, torch.distributed as dist
from tests_sv_losses_test_split import BATCH, CASES, SPEAKERS, make_batch, make_confidence, make_head, outcome
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
found = {}
for case in CASES:
    for name, (num_speakers, speakers) in SPEAKERS.items():
        embedding, speaker = make_batch(num_speakers, speakers)
        own = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
        for confidence in (None, make_confidence(num_speakers, own)):
            head = make_head(case, num_speakers)
            head.split(rank, size)
            found[f"{case}, {name}, {confidence is None}"] = outcome(head, embedding[own], speaker[own], confidence)
torch.save(found, path)
dist.destroy_process_group()
"""


def _work(words: dict[str, Any]) -> None:
    import sys

    sys.modules["tests_sv_losses_test_split"] = sys.modules[__name__]
    exec(WORKER, words)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_split_heads_equal_whole_ones(size: int, with_torch: ForkServerContext, tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        address = f"tcp://localhost:{s.getsockname()[1]}"
    paths = [tmp_path / f"{rank}.pt" for rank in range(size)]
    words = [{"address": address, "rank": rank, "size": size, "path": path} for rank, path in enumerate(paths)]
    processes = [with_torch.Process(target=_work, args=(word,)) for word in words]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * size
    found = [torch.load(path, weights_only=True) for path in paths]
    for case in CASES:
        for name, (num_speakers, speakers) in SPEAKERS.items():
            for confidence in (None, make_confidence(num_speakers, slice(BATCH))):
                head = make_head(case, num_speakers)
                expected = outcome(head, *make_batch(num_speakers, speakers), confidence)
                parts = [part[f"{case}, {name}, {confidence is None}"] for part in found]
                for key, value in expected.items():
                    ours = _join(key, [part[key] for part in parts], head)
                    where = f"{case}, {name}, {key}, {'sure' if confidence is None else 'weighted'}"
                    assert torch.allclose(ours, value, rtol=1e-9, atol=1e-12), where


def _join(key: str, parts: list[Tensor], head: Head) -> Tensor:
    """Join the results of all processes to that of a single one."""
    if key in OF_UTTS or key in head.row_parameters:
        return torch.cat(parts)
    if key == "embedding":  # DistributedDataParallel takes the mean over the processes of what each one adds
        return torch.cat(parts) / len(parts)
    assert all(torch.equal(part, parts[0]) for part in parts), f"the processes differ in {key}"
    return parts[0]


def test_rows_are_shared_out_whole() -> None:
    for size in (1, 2, 3, 7):
        shares = []
        for rank in range(size):
            head = make_head("sphereface2-C", 7)
            whole = head.get_parameter("weight").detach().clone()
            head.split(rank, size)
            shares.append(head.get_parameter("weight").detach())
        assert torch.equal(torch.cat(shares), whole)
        assert {len(share) for share in shares} <= {7 // size, 7 // size + 1}


def test_fewer_speakers_than_processes_are_refused() -> None:
    with pytest.raises(UserError, match="3 speakers cannot be split over 4 processes; use fewer processes"):
        make_head("am", 3).split(0, 4)
