"""Samples as users give them, and the recordings that no system should judge."""

import numpy as np
import pytest
import torch

from sv.audio.recordings import check_audio, to_waveform
from sv.errors import UserError

RATE = 16000
NOISE = np.random.default_rng(0).normal(0, 0.05, 2 * RATE).astype(np.float32)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0, 16384, -32768], np.int16),
        np.array([[0.0], [0.5], [-1.0]]),
        torch.tensor([[0.0, 0.5, -1.0]], dtype=torch.bfloat16),
        torch.tensor([0, 16384, -32768], dtype=torch.int16),
    ],
)
def test_samples_of_any_type_become_float32_from_minus_1_to_1(samples: object) -> None:
    waveform = to_waveform(samples, "x")
    assert waveform.dtype == np.float32 and waveform.tolist() == [0.0, 0.5, -1.0]


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([0.0, 0.5], "x: a list; give a file, or samples as a numpy array or torch tensor"),
        (np.zeros((2, 3)), r"x: shape \(2, 3\); give samples of one channel"),
        (np.zeros(3, np.int32), "x: samples of type int32; give floats from -1 to 1, or int16"),
    ],
)
def test_other_samples_are_refused(samples: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        to_waveform(samples, "x")


@pytest.mark.usefixtures("noise_is_speech")
@pytest.mark.parametrize(
    ("waveform", "told"),
    [
        (np.full(RATE, np.nan), "NaN or infinite samples"),
        (NOISE[: RATE - 1], "too short, 1.00 s"),
        (NOISE / 1000, "silence"),
        (NOISE * 100, "give samples from -1 to 1"),
        (np.clip(NOISE * 20, -1, 1), "clipped, .* % of its samples are at its highest value"),
        (np.clip(NOISE * 20, -1, 1) / 10, "clipped"),  # and then made softer
        (np.append(np.zeros(RATE, np.float32), NOISE[:1600]), "of speech found; give 0.5 s or more"),
    ],
)
def test_what_no_system_should_judge_is_refused(waveform: np.ndarray, told: str) -> None:
    check_audio(NOISE, RATE, "x")
    with pytest.raises(UserError, match=f"x: .*{told}"):
        check_audio(waveform.astype(np.float32), RATE, "x")
