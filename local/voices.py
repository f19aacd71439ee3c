"""Synthetic voices: a glottal pulse train and noise, filtered by a moving vocal tract and by a channel.

Source and filter are those of Fant, "Acoustic Theory of Speech Production", 1960; vowel targets are after Peterson and
Barney, "Control methods used in a study of the vowels", 1952. Syllables are random, so the speech has no meaning.
A speaker (`Voice`) has a pitch, a vocal tract length, a deviation for each formant and each vowel, a source tilt, a
breathiness and a rate. A session (`Session`) adds an equalizer, a band limit, noise, a level, and a mood (pitch,
effort, rate).

Frames are 20 ms long, every 10 ms: (frames, bins) spectra of pulses and noise are multiplied by (frames, bins)
envelopes and overlap-added. The same seeds give the same samples on the same machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

SAMPLE_RATE = 16000
HOP = 160  # samples; frames of 2 HOP under a Hann window add up to one
FFT = 4 * HOP  # room for the ring of the formants
BINS = FFT // 2 + 1
HZ = (np.arange(BINS) * (SAMPLE_RATE / FFT)).astype(np.float32)  # (bins,) centre of each bin
WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2 * HOP) / (2 * HOP))).astype(np.float32)

NUM_FORMANTS = 7
UPPER_FORMANTS_HZ = (3400.0, 4400.0, 5400.0, 6500.0)  # F4 to F7 of a man, the same for all sounds
BANDWIDTHS_HZ = np.array([70, 90, 130, 200, 280, 360, 450], dtype=np.float32)

# F1, F2, F3 of a man in Hz, voice, noise (both 0 to 1), centre of the noise in Hz, shortest and longest duration in ms
VOWELS = np.array(
    [
        [280, 2250, 2950, 1.0, 0.0, 4000, 70, 180],  # beat
        [400, 1990, 2550, 1.0, 0.0, 4000, 60, 130],  # bit
        [530, 1840, 2480, 1.0, 0.0, 4000, 70, 170],  # bet
        [660, 1720, 2410, 1.0, 0.0, 4000, 80, 200],  # bat
        [730, 1090, 2440, 1.0, 0.0, 4000, 80, 200],  # father
        [570, 840, 2410, 1.0, 0.0, 4000, 80, 190],  # bought
        [440, 1020, 2240, 1.0, 0.0, 4000, 60, 130],  # book
        [310, 870, 2240, 1.0, 0.0, 4000, 70, 170],  # boot
        [640, 1190, 2390, 1.0, 0.0, 4000, 60, 140],  # but
        [490, 1350, 1690, 1.0, 0.0, 4000, 70, 170],  # bird
    ],
    dtype=np.float32,
)
CONSONANTS = np.array(
    [
        [300, 1700, 2600, 0.0, 0.50, 6200, 70, 140],  # s
        [320, 1800, 2500, 0.0, 0.50, 3200, 70, 140],  # sh
        [320, 1000, 2300, 0.0, 0.12, 5000, 60, 120],  # f
        [500, 1500, 2500, 0.0, 0.20, 1800, 50, 100],  # h
        [280, 1700, 2500, 0.4, 0.20, 5800, 50, 110],  # z
        [250, 1000, 2300, 0.3, 0.00, 4000, 50, 100],  # m
        [250, 1650, 2500, 0.3, 0.00, 4000, 50, 100],  # n
        [340, 1150, 2700, 0.6, 0.00, 4000, 50, 90],  # l
        [340, 1200, 1600, 0.6, 0.00, 4000, 50, 90],  # r
        [290, 2150, 2900, 0.6, 0.00, 4000, 50, 90],  # y
        [300, 800, 2300, 0.1, 0.00, 4000, 40, 80],  # b, closed
        [300, 1700, 2600, 0.1, 0.00, 4000, 40, 80],  # d, closed
    ],
    dtype=np.float32,
)
STOP = np.array([400, 1600, 2500, 0.0, 0.0, 4000, 40, 80], dtype=np.float32)  # p, t, k while closed
BURSTS = np.array(
    [
        [450, 1100, 2300, 0.0, 0.40, 1200, 15, 40],  # p
        [350, 1800, 2600, 0.0, 0.60, 4500, 20, 50],  # t
        [350, 1700, 2200, 0.0, 0.50, 2200, 25, 60],  # k
    ],
    dtype=np.float32,
)
PAUSE = np.array([500, 1500, 2500, 0.0, 0.0, 4000, 60, 200], dtype=np.float32)


@dataclass(frozen=True)
class Voice:
    """The properties of a speaker, the same in all sessions."""

    pitch_hz: float
    pitch_span: float  # standard deviation of slow pitch movements, in log Hz
    jitter: float  # relative, from period to period
    vibrato_hz: float
    tract: float  # factor of all formants; 1 is a vocal tract of 17.5 cm
    formants: Array  # (NUM_FORMANTS,) factor of each formant
    vowels: Array  # (vowels, 3) factor of F1 to F3 of each vowel
    bandwidth: float
    tilt: float  # exponent of the source's roll-off
    breath: float  # noise in voiced sounds
    hiss: float  # factor of the noise's frequency
    rate: float


@dataclass(frozen=True)
class Session:
    """The properties of one recording session, which differ between sessions of the same speaker."""

    channel: Array  # (bins,) gain
    noise: Array  # (bins,) spectrum of the noise, before the channel
    snr_db: float
    level_db: float  # relative to full scale
    pitch: float  # factor; pitch, effort and rate are the mood of the day
    effort: float
    rate: float


def draw_voice(rng: Generator, *, female: bool) -> Voice:
    """Draw a speaker."""
    return Voice(
        pitch_hz=(205.0 if female else 118.0) * np.exp(rng.normal(0, 0.14)),
        pitch_span=rng.uniform(0.06, 0.16),
        jitter=rng.uniform(0.004, 0.02),
        vibrato_hz=rng.uniform(3.0, 6.5),
        tract=(1.16 if female else 1.0) * np.exp(rng.normal(0, 0.08)),
        formants=np.exp(rng.normal(0, [0.08, 0.08, 0.09, 0.10, 0.10, 0.10, 0.10])).astype(np.float32),
        vowels=np.exp(rng.normal(0, 0.08, (len(VOWELS), 3))).astype(np.float32),
        bandwidth=np.exp(rng.normal(0, 0.35)),
        tilt=rng.uniform(0.40, 0.75),
        breath=np.exp(rng.normal(-3.5, 0.8)),
        hiss=np.exp(rng.normal(0, 0.12)),
        rate=np.exp(rng.normal(0, 0.15)),
    )


def draw_session(rng: Generator) -> Session:
    """Draw a session: place, equipment and mood."""
    low = np.float32(rng.uniform(60, 300))
    high = np.float32(rng.uniform(5500, 9000))
    band = 1 / (1 + (low / (HZ + 1)) ** 4) / (1 + (HZ / high) ** 16)  # power
    return Session(
        channel=(np.sqrt(band) * _smooth_curve(rng, 2.5)).astype(np.float32),
        noise=(_smooth_curve(rng, 3.5) / (1 + HZ / 300) ** np.float32(rng.uniform(0.0, 1.0))).astype(np.float32),
        snr_db=rng.uniform(16, 32),
        level_db=rng.uniform(-34, -18),
        pitch=np.exp(rng.normal(0, 0.07)),
        effort=rng.normal(0, 0.06),
        rate=np.exp(rng.normal(0, 0.10)),
    )


def _smooth_curve(rng: Generator, spread_db: float) -> Array:
    """Draw a (bins,) gain that is smooth over log frequency, with a standard deviation of about `spread_db`."""
    position = np.log(HZ + 200) / np.log(8200)  # (bins,), most of it from 0.6 to 1
    phase = np.pi * (position - position[0]) / (position[-1] - position[0])
    weights = rng.normal(0, spread_db, 6) * np.sqrt(2 / 6)
    curve_db = sum(w * np.cos((k + 1) * phase) for k, w in enumerate(weights))
    return np.asarray(10 ** (curve_db / 20), dtype=np.float32)


def synthesize(rng: Generator, voice: Voice, session: Session, num_frames: int) -> NDArray[np.int16]:
    """Return one utterance of `num_frames` * HOP samples, int16 at 16 kHz."""
    track = _articulate(rng, voice, session, num_frames)  # (frames, 6)
    pitch = _pitch(rng, voice, session, num_frames)  # (frames,)
    samples = num_frames * HOP
    pulses = _spectra(_pulse_train(rng, pitch, voice.jitter))  # (frames, bins)
    white = _spectra(rng.standard_normal(samples, dtype=np.float32))
    tract = _tract(track, voice)
    roll_off = (1 + (HZ / 220) ** 2) ** np.float32(-max(0.2, voice.tilt + session.effort))
    tilt = roll_off * HZ / (HZ + 60)  # the lips do not radiate constant flow
    voiced = track[:, 3:4] * tract * tilt
    hissed = track[:, 4:5] * _hiss(track[:, 5], voice)
    speech = pulses * voiced
    speech += white * (np.float32(voice.breath) * voiced * np.sqrt(HZ / 2000) + np.float32(0.15) * hissed)
    power = float(np.mean(np.square(np.abs(speech))))
    hum = white * session.noise
    gain = np.sqrt(power / float(np.mean(np.square(np.abs(hum)))) * 10 ** (-session.snr_db / 10))
    speech += np.float32(gain) * hum
    return _to_int16(_overlap_add(speech * session.channel), session.level_db)


def _articulate(rng: Generator, voice: Voice, session: Session, num_frames: int) -> Array:
    """Draw sounds and return (frames, 6): F1, F2, F3 in Hz, voice, noise and its centre in Hz, smoothed over time."""
    vowels = VOWELS.copy()
    vowels[:, :3] *= voice.vowels
    sounds: list[tuple[Array, int]] = [(PAUSE, int(rng.integers(5, 20)))]
    total = sounds[0][1]
    while total < num_frames:
        for sound in _syllable(rng, vowels):
            ms = rng.uniform(sound[6], sound[7]) / (voice.rate * session.rate)
            sounds.append((sound, max(1, round(ms / 10))))
            total += sounds[-1][1]
    targets = np.stack([sound for sound, _ in sounds])[:, :6]
    track = np.repeat(targets, [length for _, length in sounds], axis=0)[:num_frames]
    return np.concatenate([_smooth(track[:, :3], 9), _smooth(track[:, 3:], 3)], axis=1)


def _syllable(rng: Generator, vowels: Array) -> list[Array]:
    """Draw a syllable: a consonant, a stop with its burst, or neither; a vowel; sometimes a consonant or a pause."""
    draw = rng.random(4)
    vowel = vowels[rng.integers(len(vowels))]
    sounds = [vowel]
    if draw[0] < 0.25:
        sounds = [STOP, BURSTS[rng.integers(len(BURSTS))], vowel]
    elif draw[0] < 0.9:
        sounds = [CONSONANTS[rng.integers(len(CONSONANTS))], vowel]
    if draw[1] < 0.3:
        sounds.append(CONSONANTS[rng.integers(len(CONSONANTS))])
    if draw[2] < 0.12:
        sounds.append(PAUSE)
    return sounds


def _smooth(track: Array, width: int) -> Array:
    """Smooth each column of (frames, columns) by a Hann window of `width` frames; the ends are repeated."""
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(track, ((width // 2, width // 2), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)  # (frames, columns, width)
    return (views @ (window / window.sum()).astype(np.float32)).astype(np.float32)


def _pitch(rng: Generator, voice: Voice, session: Session, num_frames: int) -> Array:
    """Return the pitch, (frames,) in Hz: a slow random movement, a fall to the end, and vibrato."""
    knots = rng.normal(0, voice.pitch_span, num_frames // 25 + 2)
    seconds = np.arange(num_frames) / 100
    slow = np.interp(seconds * 4, np.arange(len(knots)), knots)
    fall = 0.12 - 0.2 * seconds / seconds[-1]
    vibrato = 0.012 * np.sin(2 * np.pi * (voice.vibrato_hz * seconds + rng.random()))
    return (voice.pitch_hz * session.pitch * np.exp(slow + fall + vibrato)).astype(np.float32)


def _pulse_train(rng: Generator, pitch: Array, jitter: float) -> Array:
    """Return (frames * HOP,) samples with one pulse a period and about unit power; two samples share a pulse."""
    hz = np.interp(np.arange(len(pitch) * HOP) / HOP, np.arange(len(pitch)), pitch)
    phase = np.cumsum(hz / SAMPLE_RATE)
    last = np.flatnonzero(np.diff(np.floor(phase)))  # the sample before each pulse
    place = last + 1 - (phase[last + 1] % 1) * SAMPLE_RATE / hz[last + 1]
    place = place + rng.normal(0, jitter, len(place)) * SAMPLE_RATE / hz[last]
    place = np.clip(place, 0, len(hz) - 2)
    height = np.sqrt(SAMPLE_RATE / hz[last]) * (1 + rng.normal(0, 3 * jitter, len(place)))
    index = place.astype(np.int64)
    train = np.zeros(len(hz))
    np.add.at(train, index, height * (1 - place + index))
    np.add.at(train, index + 1, height * (place - index))
    return train.astype(np.float32)


def _spectra(signal: Array) -> NDArray[np.complex64]:
    """Return (frames, bins) spectra of the windowed frames of (frames * HOP,); the last frame is half zeros."""
    from scipy.fft import rfft  # slow to load, and --help does not need it

    padded = np.concatenate([signal, np.zeros(HOP, dtype=np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP]
    return np.asarray(rfft(frames * WINDOW, FFT), dtype=np.complex64)


def _overlap_add(spectra: NDArray[np.complex64]) -> Array:
    """Return the (frames * HOP,) samples of (frames, bins) spectra."""
    from scipy.fft import irfft  # slow to load, and --help does not need it

    frames = np.asarray(irfft(spectra, FFT), dtype=np.float32).reshape(len(spectra), FFT // HOP, HOP)
    signal = np.zeros((len(spectra) + FFT // HOP - 1, HOP), dtype=np.float32)
    for part in range(FFT // HOP):
        signal[part : part + len(spectra)] += frames[:, part]
    return signal[: len(spectra)].reshape(-1)


def _tract(track: Array, voice: Voice) -> Array:
    """Return the vocal tract's (frames, bins) gain: a resonance for each formant, with unit gain at 0 Hz."""
    upper = np.broadcast_to(np.array(UPPER_FORMANTS_HZ, dtype=np.float32), (len(track), len(UPPER_FORMANTS_HZ)))
    hz = np.concatenate([track[:, :3], upper], axis=1) * voice.formants * np.float32(voice.tract)
    hz = np.minimum(hz, 7800)
    radius = np.exp(-np.pi * BANDWIDTHS_HZ * np.float32(voice.bandwidth) / SAMPLE_RATE)  # (formants,)
    first = -2 * radius * np.cos(2 * np.pi * hz / SAMPLE_RATE)  # (frames, formants): 1 + first / z + second / z^2
    second = np.square(radius)
    cosine = np.cos(2 * np.pi * HZ / SAMPLE_RATE)
    cosine2 = 2 * np.square(cosine) - 1
    gain = np.ones((len(track), BINS), dtype=np.float32)  # power
    for k in range(NUM_FORMANTS):
        a, b = first[:, k : k + 1], second[k]
        gain *= (1 + a + b) ** 2 / (1 + a**2 + b**2 + 2 * a * (1 + b) * cosine + 2 * b * cosine2)
    return np.sqrt(gain)


def _hiss(centre_hz: Array, voice: Voice) -> Array:
    """Return the (frames, bins) gain of fricative noise, a broad peak at `centre_hz` (frames,)."""
    distance = np.log((HZ + 100) / (centre_hz[:, None] * np.float32(voice.hiss)))
    return np.exp(-np.square(distance) * np.float32(2.5))


def _to_int16(signal: Array, level_db: float) -> NDArray[np.int16]:
    """Scale to `level_db` relative to full scale, or less where it would clip."""
    rms = float(np.sqrt(np.mean(np.square(signal), dtype=np.float64)))
    peak = float(np.max(np.abs(signal)))
    gain = min(10 ** (level_db / 20) / rms, 0.98 / peak)
    return np.rint(signal * np.float32(gain * 32767)).astype(np.int16)
