"""Voices count as speech; noise, hum and tones do not, nor does music where silero-vad is installed."""

import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from local.voices import draw_session, draw_voice, synthesize
from sv.audio import speech
from sv.audio.files import read_file
from sv.audio.recordings import MIN_SPEECH_S, is_narrow
from sv.audio.speech import changing_seconds, speech_seconds

RATE = 16000
TIME = np.arange(4 * RATE) / RATE
Measure = Callable[[np.ndarray, int], float]

needs_silero = pytest.mark.skipif(find_spec("silero_vad") is None, reason="silero-vad is not installed")
both = pytest.mark.parametrize("measure", [changing_seconds, pytest.param(speech_seconds, marks=needs_silero)])


def sine(hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * TIME)


def steady_sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    white = rng.normal(size=len(TIME))
    spectrum = np.fft.rfft(white)
    return {
        "white": white,
        "pink": np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1))),
        "brown": np.cumsum(white) - np.linspace(0, white.sum(), len(white)),
        "waves": white * (1 + 0.9 * sine(4.0)),
        "hum": sum(sine(50.0 * k) / k for k in range(1, 30)) + 0.01 * white,
        **{f"tone of {hz} Hz": sine(hz) for hz in (50, 220, 1000, 5000)},
    }


def scaled(sound: np.ndarray, peak: float = 0.3) -> np.ndarray:
    return (peak * sound / np.abs(sound).max()).astype(np.float32)


@both
@pytest.mark.parametrize("name", steady_sounds())
def test_steady_sounds_are_no_speech(measure: Measure, name: str) -> None:
    assert measure(scaled(steady_sounds()[name]), RATE) < MIN_SPEECH_S


@both
@pytest.mark.parametrize("rate", [8000, RATE, 44100])
@pytest.mark.parametrize("peak", [0.01, 0.9])
def test_a_voice_is_speech_at_any_rate_and_level(measure: Measure, rate: int, peak: float) -> None:
    rng = np.random.default_rng(0)
    spoken = synthesize(rng, draw_voice(rng, female=True), draw_session(rng), 300)  # 3 s
    voice = torch.from_numpy(scaled(spoken.astype(np.float32), peak))
    assert 1.0 < measure(resample(voice, RATE, rate).numpy(), rate) < 3.1


@needs_silero
def test_music_and_clicks_are_no_speech() -> None:
    rng, music = np.random.default_rng(1), np.zeros(4 * RATE)
    for start in range(0, len(music), RATE // 4):
        time = np.arange(min(RATE // 2, len(music) - start)) / RATE
        hz = 220 * 2 ** (rng.integers(-12, 18) / 12)
        note = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 8))
        music[start : start + len(time)] += note * np.exp(-4 * time)
    clicks = np.zeros(4 * RATE)
    clicks[:: RATE // 3] = 1.0
    for sound in (music, clicks):
        assert speech_seconds(scaled(sound), RATE) < MIN_SPEECH_S


def test_without_silero_the_other_measure_is_used_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    speech._silero.cache_clear()
    chirp = scaled(np.sin(2 * np.pi * (200 + 400 * (TIME % 1.0)) * TIME))
    assert speech_seconds(chirp, RATE) == speech_seconds(chirp, RATE) == changing_seconds(chirp, RATE)
    assert [message.count("silero-vad is not installed: music") for message in caplog.messages] == [1]
    speech._silero.cache_clear()


@needs_silero
def test_silero_runs_on_one_thread_and_leaves_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    silero = torch.jit.RecursiveScriptModule
    forward = silero.__getattr__

    def watched(self: object, name: str) -> object:
        if name == "audio_forward":
            seen.append(torch.get_num_threads())
        return forward(self, name)

    monkeypatch.setattr(silero, "__getattr__", watched)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        speech_seconds(np.zeros(16000, np.float32), 16000)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


@both
def test_almost_nothing_holds_no_speech(measure: Measure) -> None:
    for samples in (1, 400, RATE // 5 - 1):
        assert measure(np.full(samples, 0.1, np.float32), RATE) == 0.0


@pytest.mark.slow
@both
def test_real_speech_is_not_refused_nor_called_narrow(corpora: Path, measure: Measure) -> None:
    folder = corpora / "speechocean762"
    files = [line.split()[1] for line in (folder / "test" / "wav.scp").read_text().splitlines()]
    missed, narrow = [], []
    for file in random.Random(0).sample(files, 60):
        waveform, rate = read_file(str(folder / file))
        if measure(waveform, rate) < MIN_SPEECH_S:
            missed.append(file)
        if is_narrow(waveform, rate):
            narrow.append(file)
    assert not narrow and all("SPEAKER1404" in file for file in missed)  # who whispers


@pytest.mark.slow
@needs_silero
def test_real_noises_are_refused(corpora: Path) -> None:
    files = random.Random(0).sample(sorted((corpora / "esc10").glob("*/*.flac")), 60)
    assert sum(speech_seconds(*read_file(str(file))) >= MIN_SPEECH_S for file in files) <= 1


@needs_silero
@pytest.mark.parametrize("rate", [8000, 16000])
def test_silero_says_the_same_by_onnxruntime(rate: int, corpora: Path) -> None:
    pytest.importorskip("onnxruntime")
    by_torch = speech._silero()
    assert by_torch is not None
    (folder,) = find_spec("silero_vad").submodule_search_locations  # type: ignore[union-attr, misc]
    by_onnxruntime = speech._by_onnxruntime(Path(folder) / "data" / "silero_vad.onnx")
    file = next((corpora / "speechocean762" / "WAVE").glob("*/*.flac"))
    waveform = read_file(str(file))[0][:: 16000 // rate]
    np.testing.assert_allclose(by_onnxruntime(waveform, rate), by_torch(waveform, rate), atol=1e-3)
