"""Frames and mel triangles, in numbers that can be checked by hand."""

import numpy as np
import pytest

from sv.audio.mel import count_frames, frame_samples, mel_banks, mirrored_samples
from sv.config import FbankConfig
from sv.errors import UserError


def test_frames_lie_whole_within_the_signal() -> None:
    assert frame_samples(FbankConfig()) == (400, 160)
    found = [count_frames(samples, FbankConfig()) for samples in (0, 399, 400, 559, 560, 16000)]
    assert found == [0, 0, 1, 1, 2, 98]


def test_without_snip_edges_there_is_a_frame_a_shift() -> None:
    config = FbankConfig(snip_edges=False)
    assert mirrored_samples(config) == (120, 200)  # the first frame is centred at sample 80, the half of a shift
    found = [count_frames(samples, config) for samples in (0, 399, 400, 559, 560, 719, 720, 16000)]
    assert found == [0, 0, 3, 3, 4, 4, 5, 100]
    odd = FbankConfig(snip_edges=False, sample_rate=44100)  # a shift of 441
    assert [count_frames(samples, odd) for samples in (441 * 10 + 220, 441 * 10 + 221)] == [10, 11]
    with pytest.raises(UserError, match="snip_edges false takes frames that overlap; set frame_shift lower"):
        mirrored_samples(FbankConfig(frame_shift=30.0))


def test_triangles_are_one_at_their_centers_and_zero_at_those_of_their_neighbors() -> None:
    banks = mel_banks(FbankConfig(num_mel_bins=10, low_freq=0.0))
    mel = 1127 * np.log1p(np.arange(256) * 16000 / 512 / 700)
    centers = np.arange(1, 11) * 1127 * np.log1p(8000 / 700) / 11
    expected = np.maximum(0, 1 - np.abs(mel - centers[:, None]) / centers[0])
    np.testing.assert_allclose(banks, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low_freq": 300.0, "high_freq": 200.0}, "low_freq 300.0 to high_freq 200.0 is not within 0 to 8000"),
        ({"high_freq": 8001.0}, "high_freq 8001.0"),
        ({"num_mel_bins": 300}, "lies between two of 256 FFT bins at 16000 Hz; set num_mel_bins lower"),
        ({"frame_shift": 0.01}, "frames of 25.0 ms every 0.01 ms are 400 and 0 samples"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mel_banks(FbankConfig(**settings))  # type: ignore[arg-type]
