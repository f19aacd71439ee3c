#!/usr/bin/env python3
"""Measure the cost of leaving torch: EER, embeddings and time of exported systems (onnxruntime, int8, sherpa-onnx).

torch          features and network of steps/extract_embeddings.sh
onnxruntime    the same features, the network of steps/export.py
int8           that network, quantized dynamically by onnxruntime
sherpa-onnx    waveforms, the file of steps/export.py, and the features that sherpa-onnx computes
enroll, test   embeddings of onnxruntime against those of sherpa-onnx

Scores are plain cosines, no mean is subtracted. `cosine` is that of an utterance's embedding with the first network's,
`time` the CPU time of the network on one thread (of sherpa-onnx with its features) over the duration. Networks take
turns. --first N takes N utterances, and measures no EER.
Usage: bench/runtimes.py [--trials NAME] [--networks torch,onnxruntime,int8,sherpa-onnx] [--first N] EXP_DIR DATA_DIR
e.g.: bench/runtimes.py --trials O.kaldi exp/campplus data/campplus/test
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import sherpa_onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from sv.audio.centered_fbank import make_fbank
from sv.audio.utterances import Utterances
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.export.files import write_file
from sv.export.parity import cosines
from sv.io import DataDir, Vectors, read_trials
from sv.metrics.error_rates import eer, sort_scores
from sv.scoring.cosine import cosine_scores, unit_vectors

Floats = NDArray[np.float32]
Network = Callable[[Floats, Floats], Floats]  # waveform (samples,), features (frames, mels) -> embedding (dim,)
TORCH, ONNX, INT8, SHERPA = "torch", "onnxruntime", "int8", "sherpa-onnx"


def of_torch(encoder: SpeakerEncoder) -> Network:
    """Return the network as trained."""
    return lambda _, feats: encoder.embed(torch.from_numpy(feats)).numpy()


def of_onnx(path: Path) -> Network:
    """Return a network of onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda _, feats: session.run(None, {"feats": feats[None]})[0][0]


def of_sherpa(path: Path, sample_rate: int) -> Network:
    """Return the network of sherpa-onnx, which computes its own features."""
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(
        sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(path), num_threads=1)
    )

    def embed(waveform: Floats, _: Floats) -> Floats:
        stream = extractor.create_stream()
        stream.accept_waveform(sample_rate, waveform)
        stream.input_finished()
        return np.array(extractor.compute(stream), dtype=np.float32)

    return embed


def embed_all(
    networks: Mapping[str, Network], encoder: SpeakerEncoder, data: DataDir, utts: Sequence[str]
) -> tuple[dict[str, Vectors], dict[str, float]]:
    """Return the embeddings of utterances, and the CPU seconds for each second of audio, by network."""
    config = encoder.config.dataset_args.fbank_args
    fbank, utterances = make_fbank(config), Utterances(data, config.sample_rate)
    found: dict[str, list[Floats]] = {name: [] for name in networks}
    seconds, duration = dict.fromkeys(networks, 0.0), 0.0
    for utt in utts:
        waveform = utterances.read(utt)
        feats = fbank(torch.from_numpy(waveform)[None])[0].numpy()
        duration += len(waveform) / config.sample_rate
        for name, network in networks.items():
            start = time.process_time()
            found[name].append(network(waveform, feats))
            seconds[name] += time.process_time() - start
    return (
        {name: unit_vectors(Vectors(list(utts), np.stack(rows))) for name, rows in found.items()},
        {name: spent / duration for name, spent in seconds.items()},
    )


def eer_of(trials: Path, enroll: Vectors, test: Vectors) -> float:
    """Return the EER in percent of a list."""
    target, nontarget = [], []
    for block in read_trials(trials, test.ids):
        scores = cosine_scores(block, test, enroll)
        assert block.is_target is not None, "a list without labels"
        target.append(scores[block.is_target])
        nontarget.append(scores[~block.is_target])
    return eer(sort_scores(np.concatenate(target), np.concatenate(nontarget)))


def main() -> None:
    """Export, embed with each runtime and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="a trained or imported system")
    parser.add_argument("data", type=Path, help="data dir with trials/")
    parser.add_argument("--trials", default="O.kaldi", help="name of the list")
    parser.add_argument("--networks", default=f"{TORCH},{ONNX},{INT8},{SHERPA}", help="which to compare")
    parser.add_argument("--first", type=int, default=0, help="utterances to embed; 0: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder(args.exp_dir)
    with tempfile.TemporaryDirectory() as name:
        plain, small = Path(name) / "x.onnx", Path(name) / "int8.onnx"
        write_file(args.exp_dir, plain, "onnx", "feats")
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8)
        rate, data = encoder.config.dataset_args.fbank_args.sample_rate, DataDir(args.data)
        known = {TORCH: of_torch(encoder), ONNX: of_onnx(plain), INT8: of_onnx(small), SHERPA: of_sherpa(plain, rate)}
        networks = {name: known[name] for name in args.networks.split(",")}
        vectors, seconds = embed_all(networks, encoder, data, data.utts[: args.first or None])
        megabytes = {path: path.stat().st_size / 1e6 for path in (plain, small)}
    print(f"{args.exp_dir.name}: {megabytes[plain]:.2f} MB, in int8 {megabytes[small]:.2f} MB\n")
    print("| enroll | test | EER (%) | cosine, mean | lowest | time |\n| --- | --- | ---: | ---: | ---: | ---: |")
    first, trials = next(iter(vectors.values())), args.data / "trials" / args.trials
    for enroll, test in product(vectors, vectors):
        if enroll != test and {enroll, test} != {ONNX, SHERPA}:
            continue
        error = "" if args.first else f"{eer_of(trials, vectors[enroll], vectors[test]):.3f}"
        same = cosines(vectors[test].matrix, first.matrix)
        more = f"{same.mean():.5f} | {same.min():.5f} | {seconds[test]:.4f}" if enroll == test else " |  | "
        print(f"| {enroll} | {test} | {error} | {more} |")


if __name__ == "__main__":
    main()
