"""Frames of the waveform itself."""

import numpy as np
import pytest
import torch

from sv.audio.centered_fbank import make_fbank
from sv.audio.mel import INT16_SCALE, count_frames
from sv.config import FbankConfig
from sv.errors import UserError

CONFIG = FbankConfig(kind="waveform", num_mel_bins=160, frame_length=10.0, frame_shift=10.0, dither=2.0)


@pytest.mark.parametrize(("samples", "frames"), [(160, 1), (319, 1), (320, 2), (16_001, 100)])
def test_frames_are_the_samples_in_order_without_the_incomplete_last_one(samples: int, frames: int) -> None:
    front_end, waveform = make_fbank(CONFIG), torch.randn(2, samples)
    found = front_end(waveform)
    assert found.shape == (2, frames, 160)
    assert torch.equal(found.flatten(1), waveform[:, : frames * 160])
    assert front_end.num_frames(samples) == frames
    assert front_end.num_frames(front_end.num_samples(frames)) == frames
    assert front_end.num_frames(front_end.num_samples(frames) - 1) == frames - 1


def test_a_waveform_shorter_than_a_frame_has_none() -> None:
    assert count_frames(np.array([159]), CONFIG).tolist() == [0]


def test_dither_is_added_in_16_bit_steps() -> None:
    waveform, noise = torch.randn(1, 480), torch.randn(1, 480)
    found = make_fbank(CONFIG)(waveform, noise)
    torch.testing.assert_close(found.flatten(1), waveform + 2 * noise / INT16_SCALE)


@pytest.mark.parametrize("change", [{"num_mel_bins": 80}, {"frame_length": 25.0}, {"sample_rate": 8000}])
def test_frames_that_overlap_or_have_other_sizes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"kind waveform: frames of \d+ samples every \d+, and num_mel_bins \d+; make"):
        make_fbank(FbankConfig(**{**CONFIG.model_dump(), **change}))
