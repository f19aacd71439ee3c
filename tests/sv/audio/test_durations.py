"""Durations in tables."""

import numpy as np
import pytest

from sv.audio.durations import format_seconds, min_samples


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_written_durations_tell_the_samples_exactly(rate: int) -> None:
    lengths = [*range(1, 2000), *np.random.default_rng(0).integers(1, 10**9, 2000).tolist()]
    assert [min_samples(format_seconds(samples / rate), rate) for samples in lengths] == lengths


@pytest.mark.parametrize("seconds", ["inf", "1e300", "-1e300", "nan", "a", ""])
def test_what_is_no_duration_is_refused(seconds: str) -> None:
    with pytest.raises(ValueError):
        min_samples(seconds, 16000)
