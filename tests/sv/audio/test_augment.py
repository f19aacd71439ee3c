"""Reverberation, noise, speed and masks on batches, against slow and obvious computations."""

import numpy as np
import pytest
import torch

from sv.audio.augment import add_noise, change_speed, mask, reverberate, samples_needed
from sv.audio.files import change_speed as change_speed_of_one


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def power_db(x: torch.Tensor) -> np.ndarray:
    return 10 * np.log10(np.mean(np.square(x.double().numpy()), axis=1))


@pytest.mark.parametrize("speech_db", [0, -20, -40, -60, -80])
@pytest.mark.parametrize("noise_db", [0, -60])
def test_the_snr_on_the_output_is_the_one_asked_for_at_any_level(speech_db, noise_db):
    speech = noise(4, 32000) * 10 ** (speech_db / 20)
    snr_db = torch.tensor([0.0, 7.3, 15.0, 20.0])
    noisy = add_noise(speech, noise(4, 32000, seed=1) * 10 ** (noise_db / 20), snr_db)
    measured = power_db(speech) - power_db(noisy - speech)
    np.testing.assert_allclose(measured, snr_db, atol=0.01)


def test_silent_speech_and_silent_noise_stay_what_they_are():
    silence, speech, snr_db = torch.zeros(2, 500), noise(2, 500), torch.zeros(2)
    assert add_noise(silence, speech, snr_db).equal(silence)
    assert add_noise(speech, silence, snr_db).equal(speech)
    assert reverberate(silence, noise(2, 50), torch.tensor([3, 4])).equal(silence)
    assert reverberate(speech, torch.zeros(2, 50), torch.tensor([3, 4])).abs().max() == 0


@pytest.mark.parametrize("taps", [1, 40, 900, 3000])  # the last one longer than the speech
def test_a_room_is_a_convolution_moved_back_by_the_direct_path_at_the_same_power(taps):
    speech, rir = noise(3, 1000).double(), noise(3, taps, seed=1).double()
    peak = torch.tensor([0, taps // 3, taps - 1])
    wet = reverberate(speech, rir, peak)
    for one, x, h, at in zip(wet.numpy(), speech.numpy(), rir.numpy(), peak.tolist(), strict=True):
        full = np.zeros(at + 1000)
        convolved = np.convolve(x, h)[: at + 1000]
        full[: len(convolved)] = convolved
        expected = full[at:]
        np.testing.assert_allclose(one, expected * np.sqrt(np.mean(x**2) / np.mean(expected**2)), atol=1e-9)


def test_the_direct_path_alone_changes_nothing():
    speech, rir = noise(2, 800), torch.zeros(2, 100)
    rir[0, 7], rir[1, 99] = 0.3, 2.0
    torch.testing.assert_close(reverberate(speech, rir, torch.tensor([7, 99])), speech, atol=1e-5, rtol=0)


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.0, 0.5])
def test_speed_of_a_batch_is_that_of_each_alone_and_long_enough(speed):
    for samples in (1600, 1601, 1609):
        batch = noise(3, samples_needed(samples, 16000, speed))
        changed = change_speed(batch, 16000, speed)
        assert samples <= changed.shape[1] <= samples + 2
        assert samples_needed(samples, 16000, speed) <= np.ceil(samples * speed)
        for one, alone in zip(changed, batch, strict=True):
            np.testing.assert_allclose(one, change_speed_of_one(alone.numpy(), 16000, speed), atol=1e-5)


def test_masks_are_those_asked_for_in_each_sample():
    features = torch.ones(2, 6, 5)
    start, length = torch.tensor([[1, 4], [0, 0]]), torch.tensor([[2, 1], [0, 3]])
    frames = mask(features, start, length, dim=1)
    assert frames[:, :, 0].tolist() == [[1, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1]]
    assert frames.equal(frames[:, :, :1].expand(-1, -1, 5))
    mels = mask(features, start, length, dim=2)
    assert mels[:, 0].tolist() == [[1, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
