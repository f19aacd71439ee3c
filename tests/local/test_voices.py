from dataclasses import replace

import numpy as np
import pytest

from local.voices import BINS, HOP, HZ, Session, draw_session, draw_voice, synthesize


def clean_session():
    flat = np.ones(BINS, dtype=np.float32)
    return Session(channel=flat, noise=flat, snr_db=60.0, level_db=-25.0, pitch=1.0, effort=0.0, rate=1.0)


def spectrum(samples):
    """(bins,) mean power of 40 ms frames, 25 Hz apart."""
    frames = samples[: len(samples) // 640 * 640].reshape(-1, 640) / 32768
    return np.square(np.abs(np.fft.rfft(frames * np.hanning(640)))).mean(axis=0)


def median_pitch(samples):
    """Hz, from 70 to 350: whose first six multiples stand out most from the places between them, in loud frames."""
    frames = samples[: len(samples) // 1024 * 1024].reshape(-1, 1024) / 32768
    loud = frames[np.square(frames).mean(axis=1) > np.square(frames).mean()]
    level = np.log(np.abs(np.fft.rfft(loud * np.hanning(1024), 16000)) + 1e-6)  # a bin a Hz
    hz, harmonics = np.arange(70, 350), np.arange(1, 7)
    peaks, valleys = (level[:, np.rint(np.outer(hz, h)).astype(int)].sum(axis=2) for h in (harmonics, harmonics - 0.5))
    return float(np.median(hz[(peaks - valleys).argmax(axis=1)]))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("female", [False, True])
def test_an_utterance_has_the_voice_s_pitch(seed, female):
    voice = replace(draw_voice(np.random.default_rng(seed), female=female), pitch_span=0.02, jitter=0.002)
    samples = synthesize(np.random.default_rng(seed), voice, clean_session(), 600)
    assert abs(np.log(median_pitch(samples) / voice.pitch_hz)) < 0.25


def test_the_same_numbers_give_the_same_samples():
    voice, session = draw_voice(np.random.default_rng(1), female=True), draw_session(np.random.default_rng(2))
    first, second = (synthesize(np.random.default_rng(3), voice, session, 200) for _ in range(2))
    other = synthesize(np.random.default_rng(4), voice, session, 200)
    assert first.shape == (200 * HOP,) and first.dtype == np.int16
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_level_without_clipping():
    voice = draw_voice(np.random.default_rng(5), female=False)
    samples = synthesize(np.random.default_rng(6), voice, clean_session(), 400) / 32768
    assert 20 * np.log10(np.sqrt(np.mean(np.square(samples)))) == pytest.approx(-25, abs=0.2)
    assert np.abs(samples).max() < 0.99


def test_a_channel_shapes_the_spectrum_and_noise_fills_pauses():
    voice, session = draw_voice(np.random.default_rng(7), female=False), clean_session()
    steep = Session(np.where(HZ < 4000, 1, 10).astype(np.float32), session.noise, 60.0, -25.0, 1.0, 0.0, 1.0)
    noisy = Session(session.channel, session.noise, 10.0, -25.0, 1.0, 0.0, 1.0)
    plain, lifted, hum = (
        spectrum(synthesize(np.random.default_rng(8), voice, s, 400)) for s in (session, steep, noisy)
    )
    upper_db = 10 * np.log10(lifted[170:].sum() / lifted[:150].sum() / (plain[170:].sum() / plain[:150].sum()))
    assert upper_db == pytest.approx(20, abs=0.5)
    assert hum[280:].sum() > 3 * plain[280:].sum()
