"""Export the network for the jobs of steps/extract_embeddings.sh: on CPUs, onnxruntime is faster than torch.

The network is exported once, before the jobs, and is removed with their parts. Its embeddings are those of torch up to
rounding, so that no mark or fingerprint tells which of the two computed them. bench/extract.py measures both.
"""

from collections.abc import Sequence
from typing import Literal

from sv.embeddings.parts import Extraction
from sv.errors import UserError, WrongCall, log
from sv.io import atomic_write
from sv.jobs.gpus import parse_gpus

Backend = Literal["auto", "onnx", "torch"]

LONG = 360_000  # frames a job, one hour of speech: the export takes 5 to 25 s, which shorter jobs do not gain
LOWEST_COSINE = 1 - 1e-5


def prepare_network(works: Sequence[Extraction], num_jobs: int, backend: Backend) -> None:
    """Write the exported network for the jobs of some works by one model, unless torch is to embed.

    Args:
        works: all of one model, begun; those that are done already are left alone.
        num_jobs: number of jobs that share the works.
        backend: "auto" exports for long extractions on CPUs, and tells in a line if that is not possible.

    Raises:
        UserError: with "onnx", a GPU was asked for; a package is missing; the network cannot be exported, or its
            embeddings are not those of torch.
    """
    works = [work for work in works if work.stale()]
    if backend == "torch" or not works:
        return
    if works[0].gpus != "none" and parse_gpus(works[0].gpus):
        if backend == "onnx":
            raise WrongCall(f"--backend onnx computes on CPUs, not with --gpus {works[0].gpus}; give --gpus none")
        return
    if backend == "auto" and sum(int(work.open()[0].num_frames.sum()) for work in works) < LONG * num_jobs:
        return
    try:
        content = _export(works[0])
    except UserError as error:
        if backend == "onnx":
            raise
        log.info("torch computes the embeddings, since onnxruntime cannot: %s", error)
        return
    for work in works:
        with atomic_write(work.network, "wb") as f:
            f.write(content)
    log.info("onnxruntime computes the embeddings; --backend torch: torch does")


def _export(work: Extraction) -> bytes:
    """Return the network of a work, without the subtraction of the mean; compared with torch's."""
    from sv.embeddings.encoder import load_encoder
    from sv.export.onnx_files import network_model

    encoder = load_encoder(work.exp_dir, work.model_file)
    content: bytes = network_model(encoder, LOWEST_COSINE).SerializeToString()
    return content
