#!/usr/bin/env python3
"""Log-mel fbank on one thread: ours against torchaudio, kaldi_native_fbank and the bare FFT.

The floor is the FFT of the frames alone. Usage: bench/fbank.py [--quick]
"""

import kaldi_native_fbank
import numpy as np
import torch
import torchaudio
from torch import Tensor

from bench.common import best_seconds, parse_quick, report
from sv.audio.features import Fbank
from sv.config import FbankConfig

RATE = 16000


def kaldi(waveform: Tensor) -> np.ndarray:
    """Compute features with kaldi_native_fbank, as a Python program would: (frames, 80)."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither, options.frame_opts.window_type, options.mel_opts.num_bins = 0, "hamming", 80
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, (waveform[0] * 32768).numpy())
    fbank.input_finished()
    return np.stack([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)])


def audio(waveform: Tensor) -> Tensor:
    """Compute features with torchaudio, which takes one waveform at a time: (batch, frames, 80)."""
    settings = {"num_mel_bins": 80, "window_type": "hamming", "dither": 0.0}
    return torch.stack([torchaudio.compliance.kaldi.fbank(row[None] * 32768, **settings) for row in waveform])


def measure(batch: int, seconds: float, budget: float) -> None:
    """Measure a batch of waveforms of `seconds` each."""
    waveform = 0.1 * torch.randn(batch, int(seconds * RATE), generator=torch.Generator().manual_seed(0))
    fbank = Fbank(FbankConfig())
    frames = torch.randn(batch * fbank.num_frames(waveform.shape[1]), fbank.fft_length)
    case = f"batch {batch} x {seconds:g} s, 80 mels, 1 thread"

    def bare_fft() -> None:
        for block in frames.split(512):
            torch.fft.rfft(block)

    ours, theirs, floor = best_seconds(lambda: fbank(waveform), lambda: audio(waveform), bare_fft, budget=budget)
    report("fbank", f"{case}, against torchaudio", ours, theirs, floor, us_per_frame=1e6 * ours / len(frames))
    if batch == 1:
        ours, theirs = best_seconds(lambda: fbank(waveform), lambda: kaldi(waveform), budget=budget)
        report("fbank", f"{case}, against kaldi_native_fbank", ours, theirs)


def main() -> None:
    """Run all cases and print their figures."""
    quick = parse_quick(__doc__)
    torch.set_num_threads(1)
    for batch, seconds in [(1, 2), (1, 8), (1, 60), (32, 2)]:
        measure(batch, seconds, budget=2.0 if quick else 10.0)


if __name__ == "__main__":
    main()
