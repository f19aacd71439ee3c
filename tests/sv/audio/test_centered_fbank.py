"""Features of other toolkits, against torchaudio's and against the definition in float64."""

from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from sv.audio.centered_fbank import make_fbank
from sv.audio.features import Fbank
from sv.config import FbankConfig, parse_config
from sv.errors import UserError

SPEECHBRAIN = {"kind": "speechbrain", "low_freq": 0.0}
REDIMNET = {"kind": "redimnet", "num_mel_bins": 72, "high_freq": 7600.0}
REDIMNET_TF = {**REDIMNET, "kind": "redimnet_tf", "unit_variance": True}
GE2E = {"kind": "ge2e", "num_mel_bins": 40, "low_freq": 0.0, "window": "hanning"}
KINDS = [SPEECHBRAIN, REDIMNET, REDIMNET_TF, GE2E]


def noise(samples: int = 16000, level: float = 0.1) -> Tensor:
    """A second of noise that grows louder, in two waveforms."""
    torch.manual_seed(3)
    return level * torch.randn(2, samples) * torch.linspace(0.01, 1, samples)


def ours(waveform: Tensor, settings: dict[str, Any]) -> Tensor:
    return make_fbank(FbankConfig(**settings))(waveform)


def torchaudios(waveform: Tensor, **options: Any) -> Tensor:
    return torchaudio.transforms.MelSpectrogram(16000, win_length=400, hop_length=160, **options)(waveform).mT


def test_redimnets_are_torchaudios_after_pre_emphasis() -> None:
    waveform = noise()
    mirrored = torch.cat([waveform[:, 1:2], waveform], dim=1)
    emphasized = mirrored[:, 1:] - 0.97 * mirrored[:, :-1]
    theirs = torchaudios(
        emphasized, n_fft=512, n_mels=72, f_min=20.0, f_max=7600.0, window_fn=torch.hamming_window, pad_mode="reflect"
    )
    torch.testing.assert_close(ours(waveform, REDIMNET), (theirs + 1e-6).log(), rtol=1e-4, atol=1e-4)


def test_redimnets_of_unit_variance_do_not_depend_on_level_and_offset() -> None:
    settings = {**REDIMNET, "unit_variance": True}
    whole = ours(noise(), settings)
    torch.testing.assert_close(ours(3 * noise() + 0.2, settings), whole, rtol=1e-3, atol=1e-3)
    centered = noise() - noise().mean(dim=1, keepdim=True)
    plain = ours(centered / centered.std(dim=1, correction=0, keepdim=True), REDIMNET)
    torch.testing.assert_close(plain, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [0.1, 0.001])  # above -30 dBFS, and below
def test_ge2es_are_torchaudios_of_a_loud_waveform(level: float) -> None:
    waveform = noise(level=level)
    rms = waveform.square().mean(dim=1, keepdim=True).sqrt()
    loud = waveform * (10 ** (-1.5) / rms).clamp(min=1)
    theirs = torchaudios(loud, n_fft=400, n_mels=40, pad_mode="constant", norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(ours(waveform, GE2E), theirs, rtol=1e-3, atol=1e-6)


def slow_speechbrain(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute 80 mels frame by frame and triangle by triangle, (frames, mels)."""
    padded = np.concatenate([np.zeros(200), waveform, np.zeros(200)])
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)
    hz = 700 * (10 ** (mels / 2595) - 1)
    frames = []
    for start in range(0, len(padded) - 399, 160):
        power = np.abs(np.fft.rfft(padded[start : start + 400] * window)) ** 2  # (201,)
        bins = []
        for mel in range(80):
            width = hz[mel + 1] - hz[mel]
            gains = [max(0.0, 1 - abs(40.0 * k - hz[mel + 1]) / width) for k in range(201)]
            bins.append(10 * np.log10(max(float(np.dot(gains, power)), 1e-10)))
        frames.append(bins)
    decibels = np.array(frames)
    return np.maximum(decibels, decibels.max() - 80)


def test_speechbrains_are_those_of_the_definition() -> None:
    waveform = noise(3200, level=0.5)
    waveform[0, :1000] = 0  # 80 dB below the loudest
    for row, features in zip(waveform, ours(waveform, SPEECHBRAIN), strict=True):
        expected = slow_speechbrain(row.double().numpy())
        np.testing.assert_allclose(features.numpy(), expected, rtol=1e-3, atol=2e-3)
    assert (expected > expected.max() - 79).all()


def slow_redimnet_tf(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute 72 mels frame by frame, (frames, mels); 256 bins are spread up to 8 kHz, not up to 7969 Hz."""
    waveform = (waveform - waveform.mean()) / (waveform.std() + 1e-8)
    waveform = waveform - 0.97 * np.concatenate([waveform[1:2], waveform[:-1]])
    padded = np.concatenate([np.zeros(80), waveform, np.zeros(80)])
    mel = 2595 * np.log10(1 + np.linspace(0, 8000, 256) / 700)
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 74)
    angles = 2 * np.pi * np.outer(np.arange(256), np.arange(400)) / 512
    frames = []
    for start in range(0, len(padded) - 399, 160):
        frame = padded[start : start + 400] * np.hamming(400)
        power = ((np.cos(angles) @ frame) ** 2 + (np.sin(angles) @ frame) ** 2).clip(1e-8, 1e8)
        bins = []
        for low, center, high in zip(edges, edges[1:], edges[2:], strict=False):
            gains = np.minimum((mel - low) / (center - low), (high - mel) / (high - center)).clip(0)
            bins.append(np.log(np.clip(gains @ power, 1e-8, 1e8) + 1e-8))
        frames.append(bins)
    return np.array(frames)


def test_redimnets_tf_are_those_of_the_definition() -> None:
    waveform = noise(3200)
    for row, features in zip(waveform, ours(waveform, REDIMNET_TF), strict=True):
        expected = slow_redimnet_tf(row.double().numpy())
        np.testing.assert_allclose(features.numpy(), expected, rtol=1e-3, atol=2e-3)
    assert expected.shape == (19, 72)


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["kind"])
def test_frames_are_counted_as_they_are_made(settings: dict[str, Any]) -> None:
    fbank = make_fbank(FbankConfig(**settings))
    for samples in (400, 559, 560, 16000):
        assert fbank.num_frames(samples) == fbank(noise(samples)).shape[1]
        assert fbank.num_frames(samples) == 1 + (samples - 240 * (settings["kind"] == "redimnet_tf")) // 160
    assert fbank.num_frames(399) == 0
    for frames in (4, 200):
        assert fbank.num_frames(fbank.num_samples(frames)) == frames
        assert fbank.num_frames(fbank.num_samples(frames) - 1) < frames


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["kind"])
def test_dither_is_added_in_16_bit_steps(settings: dict[str, Any]) -> None:
    fbank, waveform, dither = make_fbank(FbankConfig(**settings, dither=2.0)), noise(), torch.randn(2, 16000)
    assert torch.equal(fbank(waveform, dither), fbank(waveform + dither * 2 / 32768))


def test_silence_is_finite() -> None:
    for settings in KINDS:
        assert ours(torch.zeros(1, 1600), settings).isfinite().all()


def test_kaldis_of_samples_up_to_1_have_a_higher_floor() -> None:
    waveform = noise()
    waveform[:, :4000] = 0
    plain, scaled = Fbank(FbankConfig())(waveform), Fbank(FbankConfig(int16_scale=False))(waveform)
    theirs = torchaudio.compliance.kaldi.fbank(waveform[:1], num_mel_bins=80, window_type="hamming", dither=0.0)
    torch.testing.assert_close(scaled[0], theirs, rtol=1e-3, atol=5e-3)
    loud = slice(60, None)
    torch.testing.assert_close(scaled[:, loud], plain[:, loud] - 2 * np.log(32768), rtol=1e-3, atol=5e-3)
    assert (scaled[:, :20] == plain[:, :20]).all()  # both at the floor


def test_settings_of_older_features_are_told_as_before() -> None:
    old = FbankConfig().settings()
    assert not {"kind", "int16_scale", "snip_edges", "unit_variance"} & set(old)
    assert FbankConfig(int16_scale=False).settings() == {**old, "int16_scale": False}


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"x\.yaml: dataset_args\.fbank_args\.kind is 'mfcc'; known: kaldi, speech"):
        parse_config({"dataset_args": {"fbank_args": {"kind": "mfcc"}}}, "x.yaml")
