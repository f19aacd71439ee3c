"""A data dir of short recordings, for trainings from waveforms."""

from pathlib import Path

import numpy as np
import soundfile

from sv.io import write_table

RATE, SPEAKERS = 16000, 6


def write_recordings(folder: Path, utts: int, shortest: float, longest: float) -> None:
    """Write WAV files of six speakers, noises of a colour each, and their lists without features.

    Args:
        folder: the data dir.
        utts: of each speaker.
        shortest, longest: seconds.
    """
    rng, wavs = np.random.default_rng(0), {}
    for n in range(SPEAKERS * utts):
        utt = f"s{n // utts}-{n:02d}"
        wavs[utt] = folder / f"{utt}.wav"
        waveform = rng.normal(0, 0.1, int(rng.uniform(shortest, longest) * RATE)).astype(np.float32)
        waveform = np.convolve(waveform, np.random.default_rng(n // utts).normal(0, 1, 16), "same") / 4
        soundfile.write(wavs[utt], waveform, RATE)
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "utt2spk", {utt: utt[:2] for utt in wavs})
