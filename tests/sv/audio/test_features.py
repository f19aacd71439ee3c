"""Fbank against kaldi_native_fbank, torchaudio and float64; dither; log energy and VAD against plain loops."""

from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray

from sv.audio.features import Fbank, dither_noise, energy_vad, log_energy, make_window, subtract_mean
from sv.audio.mel import log_mel, mel_banks
from sv.config import FbankConfig

Floats = NDArray[np.float32]
RATE = 16000
WINDOWS = ["hamming", "povey", "hanning"]
TOLERANCE = 5e-3  # of a log-mel value
# Where a bin holds less of a frame's energy than this, float32 rounding decides: kaldi_native_fbank and torchaudio
# differ there from each other by more than the tolerance (by 0.06 in the worst bin of 7 million, povey window).
FLOAT32_NOISE = 3e-8


def voice(samples: int = 24000, seed: int = 0, rate: int = RATE) -> Floats:
    """A synthetic vowel with moving pitch, and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.5 * time)) / rate
    harmonics = sum(np.cos(k * phase + k) / k for k in range(1, 25))
    wave = 0.05 * harmonics * (1 + np.sin(2 * np.pi * 3 * time)) + rng.normal(0, 0.003, samples)
    return (np.round(np.clip(wave, -1, 0.999) * 32768) / 32768).astype(np.float32)


def ours(waveform: Floats, **settings: object) -> Floats:
    return Fbank(FbankConfig(**settings))(torch.from_numpy(waveform)[None])[0].numpy()  # type: ignore[arg-type]


def kaldi(
    waveform: Floats,
    window: str,
    rate: int = RATE,
    mels: int = 80,
    low: float = 20,
    high: float = 0,
    snip_edges: bool = True,
) -> Floats:
    options = kaldi_native_fbank.FbankOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.dither, frame.window_type, frame.samp_freq, frame.snip_edges = 0, window, rate, snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = mels, low, high
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(rate, waveform * 32768)
    fbank.input_finished()
    return np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


def audio(waveform: Floats, window: str, rate: int = RATE, mels: int = 80, low: float = 20, high: float = 0) -> Floats:
    return torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(waveform)[None] * 32768,
        num_mel_bins=mels,
        window_type=window,
        dither=0.0,
        sample_frequency=rate,
        low_freq=low,
        high_freq=high,
    ).numpy()


def slow_frames(waveform: Floats, length: int = 400, shift: int = 160) -> NDArray[np.float64]:
    """Cut frames one at a time: (frames, length) float64 on 16-bit scale, mean removed."""
    frames = [waveform[s : s + length] for s in range(0, len(waveform) - length + 1, shift)]
    return np.stack([f.astype(np.float64) * 32768 - (f.astype(np.float64) * 32768).mean() for f in frames])


def slow(waveform: Floats, window: str) -> NDArray[np.float64]:
    """Compute 80 mels at 16 kHz by the definition, in float64."""
    frames = slow_frames(waveform)
    emphasized = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(emphasized * make_window(window, 400).numpy(), 512)) ** 2  # (frames, 257)
    mel_energy = power[:, :256] @ mel_banks(FbankConfig()).T
    return np.log(np.maximum(mel_energy, np.finfo(np.float32).eps))


def loud_enough(waveform: Floats, fbank: Floats) -> NDArray[np.bool_]:
    """Return which bins float32 computes accurately, (frames, mels)."""
    energy = (slow_frames(waveform) ** 2).sum(1, keepdims=True)
    return np.exp(fbank) >= FLOAT32_NOISE * energy


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_kaldi_and_torchaudio_on_synthetic_speech(window: str, seed: int) -> None:
    waveform = voice(seed=seed)
    fbank = ours(waveform, window=window)
    for other in (kaldi(waveform, window), audio(waveform, window), slow(waveform, window)):
        assert fbank.shape == other.shape == (148, 80)
        assert np.abs(fbank - other).max() < TOLERANCE


@pytest.mark.parametrize(
    ("samples", "rate"), [*((n, RATE) for n in (400, 559, 560, 719, 720, 24000)), (4630, 44100), (4631, 44100)]
)
def test_frames_over_the_ends_are_kaldis(samples: int, rate: int) -> None:
    """At 44.1 kHz the shift is odd, 441 samples."""
    waveform = voice(samples)
    found = ours(waveform, window="povey", high_freq=-400.0, snip_edges=False, sample_rate=rate)
    expected = kaldi(waveform, "povey", rate, high=-400, snip_edges=False)
    assert found.shape == expected.shape and np.abs(found - expected).max() < TOLERANCE
    fbank, frames = Fbank(FbankConfig(snip_edges=False, sample_rate=rate)), len(found)
    fewest = fbank.num_samples(frames)
    assert fbank.num_frames(fewest) == frames and (
        fewest == fbank.frame_length or fbank.num_frames(fewest - 1) == frames - 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_equal_to_kaldi_and_torchaudio_on_real_speech(corpora: Path, window: str) -> None:
    files = sorted(corpora.glob("speechocean762/WAVE/*/*.flac"))[::130]
    differences, unclear = [], []
    for file in files:
        waveform = soundfile.read(file, dtype="float32")[0]
        fbank, reference = ours(waveform, window=window), slow(waveform, window)
        clear = loud_enough(waveform, fbank)
        for other in (kaldi(waveform, window), audio(waveform, window)):
            differences.append(np.abs(fbank - other)[clear].max())
        unclear.append(1 - clear.mean())
        assert np.abs(fbank - reference)[~clear].max(initial=0) < 0.1
    assert len(files) >= 20
    assert max(differences) < TOLERANCE
    assert np.mean(unclear) < 0.01


@pytest.mark.parametrize("window", WINDOWS)
def test_digital_silence_is_the_floor(window: str) -> None:
    silence = np.zeros(16000, dtype=np.float32)
    fbank = ours(silence, window=window)
    assert (fbank == np.log(np.finfo(np.float32).eps)).all()
    assert np.abs(fbank - kaldi(silence, window)).max() < TOLERANCE
    assert np.abs(fbank - audio(silence, window)).max() < TOLERANCE


def test_speech_between_digital_silence(corpora: Path) -> None:
    waveform = soundfile.read(next(iter(sorted(corpora.glob("speechocean762/WAVE/*/*.flac")))), dtype="float32")[0]
    waveform = np.concatenate([np.zeros(5000, np.float32), waveform, np.zeros(5000, np.float32)])
    fbank = ours(waveform)
    clear = loud_enough(waveform, fbank)
    assert np.abs(fbank - kaldi(waveform, "hamming"))[clear].max() < TOLERANCE
    assert (fbank[:29] == fbank[0, 0]).all()


@pytest.mark.parametrize(("mels", "low", "high"), [(80, 20.0, 0.0), (40, 100.0, -400.0), (23, 20.0, 3700.0)])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_other_rates_and_frequencies(rate: int, mels: int, low: float, high: float) -> None:
    waveform = voice(rate, rate=rate)
    fbank = ours(waveform, sample_rate=rate, num_mel_bins=mels, low_freq=low, high_freq=high)
    assert np.abs(fbank - kaldi(waveform, "hamming", rate, mels, low, high)).max() < TOLERANCE
    assert np.abs(fbank - audio(waveform, "hamming", rate, mels, low, high)).max() < TOLERANCE


def test_a_constant_added_changes_nothing() -> None:
    waveform = voice()
    assert np.abs(ours(waveform + np.float32(0.25)) - ours(waveform)).max() < TOLERANCE


@pytest.mark.parametrize(("samples", "frames"), [(399, 0), (400, 1), (559, 1), (560, 2), (82320, 513), (82319, 512)])
def test_frames_lie_whole_within_the_signal(samples: int, frames: int) -> None:
    fbank = Fbank(FbankConfig())
    assert fbank.num_frames(samples) == frames
    if frames:
        waveform = voice(samples)
        assert np.abs(ours(waveform) - kaldi(waveform, "hamming")).max() < TOLERANCE


def test_a_batch_equals_its_waveforms_alone_bit_for_bit() -> None:
    fbank = Fbank(FbankConfig())
    batch = torch.from_numpy(np.stack([voice(100000, seed) for seed in range(3)]))
    together = fbank(batch)
    assert together.shape == (3, 623, 80)
    for row in range(3):
        assert torch.equal(together[row], fbank(batch[row : row + 1])[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_degrade_it(dtype: torch.dtype) -> None:
    fbank, waveform = Fbank(FbankConfig()), torch.from_numpy(voice())[None]
    with torch.autocast("cpu", dtype):
        inside = fbank(waveform)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, fbank(waveform))


def test_nothing_of_it_goes_into_a_checkpoint_or_a_gradient() -> None:
    fbank = Fbank(FbankConfig())
    assert not fbank.state_dict()
    assert not fbank(torch.from_numpy(voice())[None].requires_grad_()).requires_grad


@pytest.mark.parametrize(("rows", "block"), [(3, 1000), (3, 100), (1, 7)])
def test_blocks_of_any_shape_give_the_same(monkeypatch: pytest.MonkeyPatch, rows: int, block: int) -> None:
    batch = torch.from_numpy(np.stack([voice(100000, seed) for seed in range(3)]))
    fbank = Fbank(FbankConfig())
    whole = fbank(batch)
    monkeypatch.setattr("sv.audio.features._block_shape", lambda device, batch, frames: (rows, min(frames, block)))
    assert (fbank(batch) - whole).abs().max() < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("batch", [1, 7])
def test_same_on_the_gpu(batch: int) -> None:
    fbank, waveform = Fbank(FbankConfig()), torch.from_numpy(np.stack([voice(200000, s) for s in range(batch)]))
    with torch.autocast("cuda", torch.bfloat16):
        on_gpu = fbank.cuda()(waveform.cuda())
    assert on_gpu.dtype == torch.float32
    assert (on_gpu.cpu() - fbank.cpu()(waveform)).abs().max() < TOLERANCE


def test_dither_depends_on_the_utterance_alone() -> None:
    noise = dither_noise("id10001/x/00001.wav", 50000)
    assert torch.equal(noise, dither_noise("id10001/x/00001.wav", 50000))
    assert torch.equal(noise[:100], dither_noise("id10001/x/00001.wav", 100))
    assert not torch.equal(noise, dither_noise("id10001/x/00002.wav", 50000))
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02


def test_dither_is_as_loud_as_kaldis() -> None:
    silence = torch.zeros(1, 160000)
    noise = dither_noise("a", 160000)[None]
    once = Fbank(FbankConfig(dither=1.0))(silence, noise)
    assert torch.allclose(Fbank(FbankConfig(dither=2.0))(silence, noise), once + 2 * np.log(2), atol=1e-4)
    assert torch.equal(Fbank(FbankConfig(dither=0.0))(silence, noise), Fbank(FbankConfig())(silence))
    theirs = torchaudio.compliance.kaldi.fbank(silence, num_mel_bins=80, window_type="hamming", dither=1.0)
    assert (once[0].mean(0) - theirs.mean(0)).abs().max() < 0.3  # 998 frames of noise; each bin varies by about 1


def test_mean_is_subtracted_over_the_frames_given() -> None:
    feats = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 8.0]]])
    expected = torch.tensor([[[-1.0, -2.0], [1.0, 2.0]], [[0.0, -4.0], [0.0, 4.0]]])
    assert torch.equal(subtract_mean(feats), expected)
    assert torch.equal(subtract_mean(feats[0]), expected[0])
    assert subtract_mean(feats.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_log_energy_is_kaldis_raw_energy(offset: float) -> None:
    waveform = voice(100000) + np.float32(offset)
    energy = log_energy(torch.from_numpy(waveform), FbankConfig()).numpy()
    expected = [np.log((frame**2).sum()) for frame in slow_frames(waveform)]
    assert np.abs(energy - expected).max() < 1e-3
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither, options.use_energy, options.raw_energy = 0, True, True
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(RATE, waveform * 32768)
    theirs = np.array([fbank.get_frame(i)[0] for i in range(len(energy))])
    assert np.abs(energy - theirs).max() < 1e-3


def plain_vad(energy: Floats, threshold: float, mean_scale: float, context: int, proportion: float) -> list[float]:
    """Compute Kaldi's ComputeVadEnergy frame by frame."""
    threshold += mean_scale * sum(energy.tolist()) / len(energy)
    voiced = []
    for frame in range(len(energy)):
        near = [energy[t] for t in range(frame - context, frame + context + 1) if 0 <= t < len(energy)]
        voiced.append(1.0 if sum(e > threshold for e in near) >= len(near) * proportion else 0.0)
    return voiced


@pytest.mark.parametrize(("context", "proportion"), [(0, 0.6), (2, 0.12), (2, 0.61), (5, 0.33), (400, 0.51)])
@pytest.mark.parametrize(("threshold", "mean_scale"), [(5.0, 0.5), (5.5, 0.5), (16.0, 0.0), (1.0, 1.0)])
def test_vad_is_kaldis(threshold: float, mean_scale: float, context: int, proportion: float) -> None:
    rng = np.random.default_rng(3)
    for frames in (1, 2, 7, 300):
        energy = rng.normal(16, 4, frames).astype(np.float32)
        voiced = energy_vad(
            energy,
            energy_threshold=threshold,
            energy_mean_scale=mean_scale,
            frames_context=context,
            proportion_threshold=proportion,
        )
        assert voiced.dtype == np.float32
        assert voiced.tolist() == plain_vad(energy, threshold, mean_scale, context, proportion)


def test_vad_finds_the_speech_between_silence() -> None:
    waveform = np.concatenate([np.zeros(16000, np.float32), voice(16000), np.zeros(16000, np.float32)])
    voiced = energy_vad(log_energy(torch.from_numpy(waveform), FbankConfig()).numpy())
    assert not voiced[:97].any() and not voiced[201:].any()
    assert voiced[100:198].mean() > 0.5


def test_log_mel_without_torch_is_that_of_fbank() -> None:
    config = FbankConfig(num_mel_bins=20, low_freq=60.0, high_freq=7900.0, frame_length=32.0)
    waveform = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    expected = Fbank(config)(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(log_mel(waveform, config), expected, atol=1e-3)
