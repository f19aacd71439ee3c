"""A data dir whose durations and frames are known."""

from pathlib import Path

import numpy as np
import soundfile

from sv.io import ArkWriter, write_table


def write_data(tmp_path: Path) -> Path:
    """Three utterances at 8 and 16 kHz, one of them a speed copy, with features of 5, 10 and 15 frames."""
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    soundfile.write(tmp_path / "b.flac", np.zeros(12345), 8000)
    wavs = {"a": "a.wav", "b": "b.flac"}
    specs = {utt: str(tmp_path / name) for utt, name in wavs.items()}
    specs["sp0.9-a"] = f"sox -t wav {specs['a']} -t wav - speed 0.9 |"
    write_table(tmp_path / "wav.scp", specs)
    write_table(tmp_path / "utt2spk", {utt: utt for utt in specs})
    with ArkWriter(tmp_path / "feats.ark", tmp_path / "feats.scp", compress=True) as writer:
        for index, utt in enumerate(sorted(specs), start=1):
            writer.write(utt, np.random.default_rng(0).normal(size=(5 * index, 4)))
    return tmp_path
