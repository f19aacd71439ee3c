"""A random model and random features, extracted as the step does."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from sv.config import parse_config, save_config
from sv.embeddings.parts import Extraction
from sv.io import ArkWriter, write_table
from sv.models import build_model

MELS = 16
UTTS = [f"spk{i % 3}/v/{i:05d}.wav" for i in range(7)]
UTTS.sort()
ARGS = {"feat_dim": MELS, "embed_dim": 8}


def make_feats(data: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    data.mkdir(parents=True, exist_ok=True)
    lengths = {utt: int(rng.choice([30, 30, 45, 60])) for utt in UTTS}
    with ArkWriter(data / "fbank.ark", data / "feats.scp", compress=True) as writer:
        for utt in UTTS:
            writer.write(utt, rng.normal(10, 2, (lengths[utt], MELS)).astype(np.float32))
    write_table(data / "utt2num_frames", lengths)
    write_table(data / "utt2spk", {utt: utt.split("/")[0] for utt in UTTS})
    write_table(data / "spk2utt", {f"spk{i}": " ".join(u for u in UTTS if u.startswith(f"spk{i}")) for i in range(3)})
    (data / "fbank.yaml").write_text(f"num_mel_bins: {MELS}\nwindow: hamming\ndither: 0.0\n")


def make_model(path: Path, seed: int = 0, **args: int) -> None:
    torch.manual_seed(seed)
    state = build_model("resnet_small", {**ARGS, **args}).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**state, "projection.weight": torch.zeros(3, 8)}, path)


def make_system(tmp_path: Path, **changes: object) -> tuple[Path, Path]:
    """An experiment folder and a data dir."""
    exp, data = tmp_path / "exp", tmp_path / "data"
    tree = {"model": "resnet_small", "model_args": ARGS, "dataset_args": {"fbank_args": {"num_mel_bins": MELS}}}
    exp.mkdir(parents=True)
    save_config(parse_config({**tree, **changes}, "test"), exp / "config.yaml")
    make_model(exp / "models" / "avg_model.pt")
    make_feats(data)
    return exp, data


def work_of(system: tuple[Path, Path], max_frames: int = 0) -> Extraction:
    return Extraction(*system, system[0] / "embeddings" / "data", max_frames=max_frames)


def split(work: Extraction, num_jobs: int) -> Extraction:
    """Return the same work in another number of parts."""
    return dataclasses.replace(work, num_jobs=num_jobs)


def extract(work: Extraction, num_jobs: int = 2) -> bytes:
    """Do what the script does, even if all is done, and return the archive."""
    work.mark().path.unlink(missing_ok=True)
    parts = split(work, num_jobs)
    assert parts.begin() == num_jobs
    for job in range(1, num_jobs + 1):
        parts.run(job)
    parts.finish()
    return work.ark.read_bytes()
