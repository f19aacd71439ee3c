"""The telephone line: its band and its code, on tones and on real speech."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.telephone import band_limit, mu_law, telephone


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> torch.Tensor:
    return (level * torch.sin(2 * math.pi * hertz * torch.arange(int(rate * seconds)) / rate))[None]


def middle(waveform: torch.Tensor) -> torch.Tensor:
    """Cut off the edges, where a filter rings."""
    return waveform[:, 1000:-1000]


def decibels(part: torch.Tensor, whole: torch.Tensor) -> float:
    return 10 * math.log10(float(middle(part).square().mean()) / float(middle(whole).square().mean()) + 1e-12)


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize(
    ("hertz", "expected", "tolerance"),
    [(400, 0, 0.01), (1000, 0, 0.01), (3300, 0, 0.01), (300, -3, 0.1), (3400, -3, 0.1)],
)
def test_the_band_is_kept(rate: int, hertz: float, expected: float, tolerance: float) -> None:
    wave = tone(hertz, rate)
    assert decibels(band_limit(wave, rate), wave) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("hertz", [50, 200, 3600, 3900])
def test_what_lies_outside_the_band_is_gone(hertz: float) -> None:
    wave = tone(hertz, 8000)
    assert decibels(band_limit(wave, 8000), wave) < -50


def test_the_filter_neither_delays_nor_wraps_around() -> None:
    click = torch.zeros(1, 4000)
    click[0, 100] = 1
    answer = band_limit(click, 8000)
    assert int(answer.abs().argmax()) == 100
    assert float(answer[:, 2000:].abs().max()) < 1e-3


def test_mu_law_has_256_values_and_is_the_formula() -> None:
    wave = torch.linspace(-1.2, 1.2, 20001)
    coded = mu_law(wave)
    assert len(coded.unique()) == 256
    x = wave.clamp(-1, 1).double()
    step = ((x.sign() * torch.log1p(255 * x.abs()) / math.log(256) + 1) / 2 * 255 + 0.5).floor() / 255 * 2 - 1
    expected = step.sign() * (torch.exp(step.abs() * math.log(256)) - 1) / 255
    assert (coded - expected).abs().max() < 1e-5
    assert torch.equal(mu_law(torch.zeros(3)).abs() < 1e-3, torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("level", [0.5, 0.05])
def test_mu_law_keeps_its_distance_at_any_level(level: float) -> None:
    wave = tone(440, 8000, level=level)
    assert -40 < decibels(mu_law(wave) - wave, wave) < -34


def test_each_waveform_of_a_batch_is_as_it_is_alone() -> None:
    waves = torch.randn(3, 5001, generator=torch.Generator().manual_seed(1)) * 0.1
    together = telephone(waves, 16000)
    assert together.shape == waves.shape
    for number in range(
        3
    ):  # rounding may move a sample to the next step of mu-law, which is the larger the louder it is
        difference = (telephone(waves[number : number + 1], 16000)[0] - together[number]).abs()
        assert difference.max() < 0.02 and (difference > 1e-4).sum() < 50


def test_real_speech_keeps_its_band_and_loses_the_rest(corpora: Path) -> None:
    path = min((corpora / "speechocean762" / "WAVE").rglob("*.flac"))
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    wave = torch.from_numpy(samples)[None]
    through = telephone(wave, rate)
    power, left = (np.abs(np.fft.rfft(x[0].numpy())) ** 2 for x in (wave, through))
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    inside, above = (hertz > 400) & (hertz < 3200), hertz > 3700
    assert 10 * math.log10(left[inside].sum() / power[inside].sum()) == pytest.approx(0, abs=0.3)
    assert 10 * math.log10(left[above].sum() / left[inside].sum()) < -25
    assert np.corrcoef(band_limit(wave, rate)[0].numpy(), through[0].numpy())[0, 1] > 0.99
