#!/usr/bin/env python3
"""Extraction of embeddings of whole utterances of real speech: utterances a second, and against one at a time.

usual        the usual way (WeSpeaker's): read the features, subtract the mean, and call the network as it is trained
torch        steps/extract_embeddings.sh --backend torch
onnxruntime  steps/extract_embeddings.sh --backend onnx; its export is a figure of its own
ceiling      the bare convolutions and products of the network, by torch: what no change of ours can beat

The weights are random. The three take turns. With one thread, CPU time is measured; with several (--threads) or several
processes of one thread that share the utterances (--processes), it is wall time. `cosine` is the lowest one of an
embedding of onnxruntime and that of torch. Utterances: --first of SV_CORPORA's speechocean762, else noise.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import nn

from bench.common import best_seconds, report
from sv.audio.features import Fbank
from sv.config import parse_config, save_config
from sv.embeddings.encoder import load_encoder
from sv.embeddings.extraction import embed_rows, open_source
from sv.embeddings.onnx_network import OnnxNetwork
from sv.embeddings.parts import Extraction
from sv.errors import log
from sv.export.extraction import LOWEST_COSINE
from sv.export.onnx_files import network_model
from sv.export.parity import cosines
from sv.io import ArkWriter, write_table
from sv.models import build_model

MODELS, QUICK_MODELS = "ResNet34,ECAPA_TDNN_GLOB_c512,CAMPPlus", "ResNet34,ECAPA_TDNN_GLOB_c512"


def make_data(folder: Path, utts: int, copies: int = 1) -> Path:
    """Write a data dir with the features of utterances of real speech; of noise, without SV_CORPORA.

    Args:
        folder: of the data dir.
        utts: how many files.
        copies: how often each of them is in the lists.
    """
    fbank, frames = Fbank(parse_config({}, "bench").dataset_args.fbank_args), {}
    with ArkWriter(folder / "fbank.ark", folder / "feats.scp", compress=True) as writer, torch.inference_mode():
        for number, wave in enumerate(read_waves(utts)):
            feats = fbank(torch.from_numpy(wave)[None])[0].numpy()
            for copy in range(copies):
                writer.write(utt := f"{number:05d}-{copy}", feats)
                frames[utt] = len(feats)
    write_table(folder / "utt2num_frames", frames)
    write_table(folder / "utt2spk", {utt: utt for utt in frames})
    return folder


def read_waves(utts: int) -> Iterator[NDArray[np.float32]]:
    """Iterate over waveforms (samples,): files of speechocean762 from all its speakers, or noise of 2 to 4 s."""
    corpora = os.environ.get("SV_CORPORA", "")
    if corpora:
        paths = sorted((Path(corpora) / "speechocean762" / "WAVE").rglob("*.*"))
        for path in paths[:: max(1, len(paths) // utts)][:utts]:
            yield soundfile.read(path, dtype="float32")[0]
    else:
        rng = np.random.default_rng(0)
        for _ in range(utts):
            yield rng.normal(0, 0.1, 160 * int(rng.integers(200, 400))).astype(np.float32)


def make_system(folder: Path, name: str, options: Mapping[str, Any]) -> Path:
    """Write a system with random weights."""
    save_config(parse_config({"model": name, "model_args": dict(options)}, "bench"), folder / "config.yaml")
    (folder / "models").mkdir()
    torch.save(build_model(name, options).state_dict(), folder / "models" / "avg_model.pt")
    return folder


def gpu_rates(device: str, name: str, options: Mapping[str, Any], utts: int) -> tuple[float, float]:
    """Return utterances a second on a device, one by one and in batches of equal length; for bench/gpu.py.

    Args:
        device: "cuda", "cpu".
        name, options: of the encoder.
        utts: how many; without SV_CORPORA their features are noise.
    """
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        data, exp = Path(folder) / "data", Path(folder) / "exp"
        data.mkdir()
        exp.mkdir()
        make_data(data, utts, copies=1 if device == "cpu" else 5)
        encoder = load_encoder(make_system(exp, name, options), device=device)
        source = open_source(Extraction(exp, data, exp / "out"))
        rows = range(len(source.index))
        for batch_frames in (0, 20_000):
            embed_rows(encoder, source, rows[:2], batch_frames=batch_frames)
            start = time.perf_counter()
            embed_rows(encoder, source, rows, batch_frames=batch_frames)
            rates.append(len(rows) / (time.perf_counter() - start))
    return rates[0], rates[1]


def ceiling(model: nn.Module, feats: torch.Tensor) -> Callable[[], object]:
    """Return what runs the convolutions and linear layers of a network on the inputs that they have for `feats`."""
    calls: list[tuple[nn.Module, torch.Tensor]] = []
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    hooks = [layer.register_forward_pre_hook(lambda layer, x: calls.append((layer, x[0]))) for layer in layers]
    with torch.inference_mode():
        model(feats)
    for hook in hooks:
        hook.remove()

    def run() -> None:
        with torch.inference_mode():
            for layer, x in calls:
                layer(x)

    return run


def share(embed: Callable[[range], object], rows: range, processes: int) -> Callable[[], object]:
    """Return what embeds the rows, in as many processes."""
    if processes == 1:
        return lambda: embed(rows)
    fork = get_context("fork")
    parts = [rows[len(rows) * n // processes : len(rows) * (n + 1) // processes] for n in range(processes)]

    def run() -> None:
        started = [fork.Process(target=embed, args=(part,)) for part in parts]
        for process in started:
            process.start()
        for process in started:
            process.join()
            assert process.exitcode == 0

    return run


def measure(name: str, data: Path, threads: int, budget: float, *, processes: int = 1) -> None:
    """Report the figures of one encoder."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads * processes == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        exp = make_system(Path(folder), name, {})
        work = Extraction(exp, data, exp / "out")
        trained, source = load_encoder(exp), open_source(work)
        start = time.process_time()
        path = exp / "network.onnx"
        path.write_bytes(network_model(trained, LOWEST_COSINE).SerializeToString())
        export = time.process_time() - start
        exported = replace(trained, model=OnnxNetwork(trained.model, path, threads))
        rows, plain = range(len(source.index)), build_model(name, {}).eval()

        def usual(part: range) -> None:
            with torch.no_grad():
                for row in part:
                    feats = torch.from_numpy(source.read(row))
                    plain((feats - feats.mean(0))[None])

        ours, theirs = embed_rows(exported, source, rows), embed_rows(trained, source, rows)
        feats = torch.randn(1, int(np.median(source.index.num_frames)), trained.model.feat_dim)
        encoders = [
            lambda part: embed_rows(exported, source, part),
            lambda part: embed_rows(trained, source, part),
            usual,
        ]
        times = best_seconds(*(share(embed, rows, processes) for embed in encoders), budget=budget, clock=clock)
        one, bare = best_seconds(
            lambda: exported.embed(feats, centered=True),
            ceiling(trained.model, feats),
            budget=budget / 4,
            clock=clock,
        )
    case, count = f"{name}, {processes} processes of {threads} threads", len(rows)
    cosine = float(cosines(theirs, ours).min())
    report("extract", f"{case}, torch", times[1] / count, times[2] / count, utts_per_second=count / times[1])
    report(
        "extract", f"{case}, onnxruntime", times[0] / count, times[2] / count, utts_per_second=count / times[0],
        cosine=f"1 - {1 - cosine:.1e}", export_seconds=export,
    )  # fmt: skip
    report("extract", f"{case}, onnxruntime, the median length, floor: torch's bare layers", one, None, bare)


def main() -> None:
    """Measure each encoder with each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help=f"which encoders; default: {MODELS}")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, in one process")
    parser.add_argument("--processes", default="2", help="numbers of processes, of one thread")
    parser.add_argument("--first", type=int, default=60, help="utterances")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MODELS}, five utterances, one thread")
    args = parser.parse_args()
    log.setLevel("WARNING")
    utts, budget = (5, 1.0) if args.quick else (args.first, 20.0)
    given = [(int(n), 1) for n in args.threads.split(",")] + [(1, int(n)) for n in args.processes.split(",") if n]
    modes = [(1, 1)] if args.quick else given
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder), utts)
        for name in (args.models or (QUICK_MODELS if args.quick else MODELS)).split(","):
            for threads, processes in modes:
                measure(name, data, threads, budget, processes=processes)


if __name__ == "__main__":
    main()
