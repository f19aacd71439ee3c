#!/usr/bin/env python3
"""Embeddings of exported networks against torch's, on real speech: the table of docs/export.md.

Each encoder is built at its own size with random weights and statistics, and exported in both forms: `feats` gets the
features of torch, `waveform` the speech. A cell is 1 - cosine, rounded up. An experiment folder in place of a name is
measured with its own weights.

Needs a folder with speechocean762 in SV_CORPORA. Usage: bench/parity.py [NAME|EXP_DIR ...]
"""

import argparse
import math
import os
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from sv.audio.centered_fbank import make_fbank
from sv.config import parse_config
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.export.onnx_files import feats_model, front_end_model, join, run_of
from sv.export.parity import cosines
from sv.models import build_model
from sv.system import resolve

SECONDS = (0.5, 2.0, 10.0, 60.0)
RATE = 16000
FRONT_ENDS = {
    "ECAPA_TDNN_SpeechBrain": {"kind": "speechbrain"},
    "GE2E_LSTM": {"kind": "ge2e", "num_mel_bins": 40},
    "ReDimNetB0": {"kind": "redimnet", "num_mel_bins": 72},
    "ReDimNet2B0": {"kind": "redimnet", "num_mel_bins": 72},
}
ENCODERS = [  # one of each family that can be exported
    *[
        "resnet_small",
        "ResNet34",
        "SimAM_ResNet34_ASP",
        "ECAPA_TDNN_c512",
        "ECAPA_TDNN_GLOB_c512",
        "XI_VEC_ECAPA_TDNN_c512",
    ],
    *["ECAPA_TDNN_SpeechBrain", "GE2E_LSTM", "XVEC", "CAMPPlus", "ReDimNetB0", "ReDimNet2B0", "Res2Net34_Base"],
    *["ERes2Net34_Base", "ERes2NetV2", "Gemini_DF_ResNet60", "REPVGG_TINY_A0"],
]


def random_encoder(name: str) -> SpeakerEncoder:
    """Return an encoder with random weights, and statistics as of a trained one."""
    tree = {"model": name, "dataset_args": {"fbank_args": FRONT_ENDS.get(name, {})}}
    config = resolve(parse_config(tree, "bench"), "bench")
    torch.manual_seed(0)
    model = build_model(name, config.model_args)
    for buffer, values in model.named_buffers():
        if buffer.endswith("running_mean"):
            values.normal_(0, 0.1)
        elif buffer.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    return SpeakerEncoder(model.eval().for_inference(), config, torch.device("cpu"), "")


def read_speech(seconds: float) -> NDArray[np.float32]:
    """Return the first recordings of the corpus, one after the other: (samples,) at 16 kHz."""
    parts: list[NDArray[np.float32]] = []
    for path in sorted(Path(os.environ["SV_CORPORA"], "speechocean762", "WAVE").glob("*/*.flac")):
        parts.append(soundfile.read(path, dtype="float32")[0])
        if sum(map(len, parts)) >= seconds * RATE:
            break
    return np.concatenate(parts)[: round(seconds * RATE)]


def compare(encoder: SpeakerEncoder, speech: NDArray[np.float32]) -> dict[str, list[float]]:
    """Return 1 - cosine at each length, by form."""
    network = feats_model(encoder)
    of_feats, of_waveform = run_of(network), run_of(join(front_end_model(encoder), network))
    fbank = make_fbank(encoder.config.dataset_args.fbank_args)
    found: dict[str, list[float]] = {"feats": [], "waveform": []}
    for seconds in SECONDS:
        waveform = torch.from_numpy(speech[None, : round(seconds * RATE)])
        feats = fbank(waveform)
        expected = encoder.embed(feats).numpy()
        for form, embedding in (("feats", of_feats(feats)), ("waveform", of_waveform(waveform))):
            found[form].append(max(0.0, 1 - float(cosines(embedding, expected)[0])))
    return found


def rounded_up(value: float) -> str:
    """Return the power of ten that is not below a value: "1e-6"."""
    return f"1e{math.ceil(math.log10(max(value, 1e-9)))}"


def main() -> None:
    """Compare all encoders and print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", metavar="NAME|EXP_DIR", help="default: an encoder of each family")
    args = parser.parse_args()
    torch.set_num_threads(1)
    speech = read_speech(max(SECONDS))
    lengths = " | ".join(f"{seconds:g} s" for seconds in SECONDS)
    print(f"| encoder | form | {lengths} |\n| --- | --- |{' ---: |' * len(SECONDS)}")
    for name in args.systems or ENCODERS:
        encoder = load_encoder(name) if Path(name).is_dir() else random_encoder(name)
        for form, values in compare(encoder, speech).items():
            print(f"| `{encoder.config.model}` | {form} | {' | '.join(map(rounded_up, values))} |", flush=True)


if __name__ == "__main__":
    main()
