"""Small data dirs with features in an ark."""

from pathlib import Path

import numpy as np

from sv.io import ArkWriter, write_table

MELS = 5


def make_dir(folder: Path, lengths: dict[str, int], *, compress: bool = True, mels: int = MELS) -> Path:
    """Write a data dir with random features; an id is speaker, dash, number."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=compress) as writer:
        for utt in sorted(lengths):
            writer.write(utt, rng.normal(10, 3, (lengths[utt], mels)).astype(np.float32))
    write_table(folder / "utt2num_frames", lengths)
    write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in lengths})
    return folder
