"""How much speech a recording holds, by silero-vad if it is installed, else by a measure that refuses steady sounds.

silero-vad (Silero Team, 2021, https://github.com/snakers4/silero-vad) is a network in TorchScript, which torch runs.
Without it, speech is what stands out of its surroundings and keeps changing its spectrum: noise, hum, and tones do
neither, but music, animals and sirens pass. docs/verification.md compares both.
"""

import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchaudio.functional import resample

from sv.audio.features import Fbank
from sv.audio.files import Waveform
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
    samples = torch.from_numpy(waveform)
    if sample_rate not in _SILERO_RATES:
        samples, sample_rate = resample(samples, sample_rate, 16000), 16000
    samples = samples * (_PEAK / samples.abs().max().clamp(min=1e-6))
    with torch.no_grad():
        model.reset_states()
        speech = model.audio_forward(samples[None], sample_rate)[0] >= _LEAST_PROBABILITY  # (chunks,)
    return float(speech.sum()) / _CHUNKS_PER_S


@lru_cache(maxsize=1)
def _silero() -> Any:
    """Load the network of silero-vad; None, and a line in the log, without it.

    Its package is not imported: that would set the number of torch's threads.
    """
    found = find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        log.warning(
            "silero-vad is not installed: music, animals and other sounds that change are taken for speech; "
            "install it: pip install silero-vad"
        )
        return None
    path = Path(found.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # silero-vad comes in no other form that torch reads alone
        return torch.jit.load(path, map_location="cpu").eval()


def changing_seconds(waveform: Waveform, sample_rate: int) -> float:
    """Return the seconds in which a recording stands out of its surroundings and changes its spectrum; 0 in < 0.2 s.

    Args:
        waveform: (samples,) in [-1, 1].
        sample_rate: Hz.
    """
    if len(waveform) < _SHORTEST_S * sample_rate:
        return 0.0
    samples = torch.from_numpy(waveform)
    if sample_rate != _BANDS.sample_rate:
        samples = resample(samples, sample_rate, _BANDS.sample_rate)
    level = _DB * Fbank(_BANDS)(samples[None])[0].double().numpy()  # (frames, bands) dB
    level = level.clip(level.max() - _HEARD_DB)
    stands_out = (level - np.percentile(level, 10, axis=0)).clip(0).mean(1) > _STANDS_OUT_DB
    shape = level - level.mean(1, keepdims=True)
    change = np.sqrt(np.square(shape[2 * _FRAMES :] - shape[: -2 * _FRAMES]).mean(1))
    return float((stands_out[_FRAMES:-_FRAMES] & (change > _CHANGES_DB)).sum()) * _BANDS.frame_shift / 1000
