"""The front-end as a convolution computes the same features."""

from typing import Any

import pytest
import torch

from sv.audio.centered_fbank import make_fbank
from sv.config import FbankConfig
from sv.export.graphs import conv_front_end

SHERPA: dict[str, Any] = {"window": "povey", "high_freq": -400.0, "snip_edges": False}  # as docs/export.md says


@pytest.mark.parametrize(
    "fbank",
    [
        {},
        {"window": "povey", "num_mel_bins": 40, "sample_rate": 8000},
        {"int16_scale": False, "high_freq": -400.0},
        SHERPA,
        {"kind": "speechbrain"},
        {"kind": "redimnet", "num_mel_bins": 72, "unit_variance": True},
        {"kind": "redimnet_tf", "num_mel_bins": 72, "high_freq": 7600.0},
        {"kind": "ge2e", "num_mel_bins": 40},
    ],
    ids=str,
)
def test_front_end_as_a_convolution_has_the_same_features(fbank: dict[str, Any]) -> None:
    config = FbankConfig(**fbank)
    noise = torch.randn(2, 16321, generator=torch.Generator().manual_seed(0))
    waveform = 0.003 * noise.cumsum(1) + 0.05 * noise  # louder at low frequencies, as speech is
    expected = make_fbank(config)(waveform)
    found = conv_front_end(config)(waveform)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)
