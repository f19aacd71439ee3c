"""Measure how much speech a recording holds, by silero-vad, or else by a detector that ignores steady sounds.

silero-vad (Silero Team, 2021, https://github.com/snakers4/silero-vad) is a network that torch runs, or onnxruntime if
there is no torch.
Without it, speech is what stands out of its surroundings and keeps changing its spectrum: noise, hum, and tones do
neither, but music, animals and sirens pass. docs/verification.md compares both.
"""

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.audio.files import Waveform
from sv.audio.mel import log_mel
from sv.config import FbankConfig
from sv.errors import log

_SHORTEST_S = 0.2
_SILERO_RATES = (8000, 16000)
_CHUNKS_PER_S = 31.25  # of silero-vad: 512 samples at 16 kHz
_LEAST_PROBABILITY = 0.5
_PEAK = 0.5  # of what silero-vad hears; it misses more speech that peaks at 0.1 or less

_BANDS = FbankConfig(num_mel_bins=20, low_freq=60.0, high_freq=7900.0, frame_length=32.0)
_STANDS_OUT_DB = 4.0  # mean over the bands, above the level that a band has in its softest tenth
_CHANGES_DB = 5.0  # root mean square over the bands, after the level, within 80 ms
_HEARD_DB = 60.0  # below the highest level, all counts as silence
_FRAMES = 4  # to either side, 80 ms together
_DB = 10 / np.log(10)  # of a natural logarithm of power


def speech_seconds(waveform: Waveform, sample_rate: int) -> float:
    """Return the seconds of speech in a recording; 0 in less than 0.2 s.

    Args:
        waveform: (samples,) in [-1, 1].
        sample_rate: Hz.
    """
    if len(waveform) < _SHORTEST_S * sample_rate:
        return 0.0
    model = _silero()
    if model is None:
        return changing_seconds(waveform, sample_rate)
    if sample_rate not in _SILERO_RATES:
        waveform, sample_rate = _resampled(waveform, sample_rate, 16000), 16000
    waveform = waveform * np.float32(_PEAK / max(float(np.abs(waveform).max()), 1e-6))
    return float((model(waveform, sample_rate) >= _LEAST_PROBABILITY).sum()) / _CHUNKS_PER_S


def _resampled(waveform: Waveform, rate: int, wanted: int) -> Waveform:
    from scipy.signal import resample_poly

    divisor = math.gcd(rate, wanted)
    return np.asarray(resample_poly(waveform, wanted // divisor, rate // divisor), dtype=np.float32)


@lru_cache(maxsize=1)
def _silero() -> "Callable[[Waveform, int], NDArray[np.float32]] | None":
    """Load the network of silero-vad: (waveform, rate) -> probability of speech, (chunks,).

    Without it, return None and log a line. Its package is not imported: that would set the number of torch's threads.
    """
    found = find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        log.warning(
            "silero-vad is not installed: music, animals and other sounds that change are taken for speech; "
            "install it: pip install silero-vad"
        )
        return None
    data = Path(found.submodule_search_locations[0]) / "data"
    if find_spec("torch") is None:
        return _by_onnxruntime(data / "silero_vad.onnx")
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # silero-vad comes in no other form that torch reads alone
        model = torch.jit.load(data / "silero_vad.jit", map_location="cpu").eval()

    def by_torch(waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for a chunk of 32 ms, others would only wait for one another
        try:
            with torch.no_grad():
                model.reset_states()
                batch = torch.from_numpy(waveform)[None]
                found: NDArray[np.float32] = model.audio_forward(batch, sample_rate)[0].numpy()
        finally:
            torch.set_num_threads(threads)
        return found

    return by_torch


def _by_onnxruntime(path: Path) -> "Callable[[Waveform, int], NDArray[np.float32]]":
    """Load the network from its ONNX file, which takes a chunk and the end of the one before it."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1  # as above
    session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
        chunk, before = (512, 64) if sample_rate == 16000 else (256, 32)
        padded = np.pad(waveform, (before, -len(waveform) % chunk))
        state, found = np.zeros((2, 1, 128), dtype=np.float32), []
        for start in range(0, len(padded) - before, chunk):
            samples = padded[None, start : start + before + chunk]
            output, state = session.run(None, {"input": samples, "state": state, "sr": np.array(sample_rate)})
            found.append(output[0, 0])
        return np.array(found, dtype=np.float32)

    return run


def changing_seconds(waveform: Waveform, sample_rate: int) -> float:
    """Return the seconds in which a recording stands out of its surroundings and changes its spectrum; 0 in < 0.2 s.

    Args:
        waveform: (samples,) in [-1, 1].
        sample_rate: Hz.
    """
    if len(waveform) < _SHORTEST_S * sample_rate:
        return 0.0
    if sample_rate != _BANDS.sample_rate:
        waveform = _resampled(waveform, sample_rate, _BANDS.sample_rate)
    level = _DB * log_mel(waveform, _BANDS)  # (frames, bands) dB
    level = level.clip(level.max() - _HEARD_DB)
    stands_out = (level - np.percentile(level, 10, axis=0)).clip(0).mean(1) > _STANDS_OUT_DB
    shape = level - level.mean(1, keepdims=True)
    change = np.sqrt(np.square(shape[2 * _FRAMES :] - shape[: -2 * _FRAMES]).mean(1))
    return float((stands_out[_FRAMES:-_FRAMES] & (change > _CHANGES_DB)).sum()) * _BANDS.frame_shift / 1000
