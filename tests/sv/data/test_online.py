"""Batches from waveforms, against a slow computation of each sample; the same with any workers and processes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torchaudio.functional import resample

from sv.audio.features import Fbank
from sv.audio.telephone import telephone
from sv.config import AugmentArgs, parse_config
from sv.data import Augmenter, ClipFolders, Loader, OnlineDataset, UtteranceSampler, WavScpSource, uniform
from sv.data.augmenter import CLEAN, NOISE, REVERB
from sv.data.online import SoundBatch
from sv.data.spec_augment import draw_bands
from sv.errors import UserError
from sv.io import write_table

RATE, UTTS = 16000, 40
SPEEDS = [0.9, 1.1]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """40 utterances of 0.2 to 2 s at levels from 0 to -60 dBFS; some shorter than a crop."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    table = {}
    for n in range(UTTS):
        utt = f"s{n // 4}-{n:02d}"
        table[utt] = folder / f"{utt}.flac"
        speech = rng.normal(0, 0.2, int(rng.uniform(0.2, 2) * RATE)) * 10 ** (-3 * n / UTTS)
        soundfile.write(table[utt], speech, RATE, subtype="PCM_24")
    write_table(folder / "wav.scp", table)
    write_table(folder / "utt2spk", {utt: utt[:2] for utt in table})
    return folder


def make(data_dir, noise_dir="", rir_dir="", prob=0.6, on_device=False, seed=5, **args) -> OnlineDataset:
    tree = {"num_frms": 60, "fbank_args": {"num_mel_bins": 20, "dither": 0.0}, "speeds": SPEEDS, **args}
    config = parse_config({"dataset_args": tree}, "test").dataset_args
    source = WavScpSource(data_dir)
    augmenter = Augmenter(AugmentArgs(), ClipFolders(noise_dir, rir_dir), prob=prob, seed=seed, sample_rate=RATE)
    speaker = source.speaker + 10 * np.arange(1 + len(config.speeds))[:, None]
    return OnlineDataset(source, speaker, augmenter, config, seed=seed, on_device=on_device)


def clean_speech(dataset, utt, epoch) -> tuple[np.ndarray, float]:
    """Compute a crop the slow way: decode the whole utterance, crop or repeat it, change the speed."""
    sounds = dataset.sounds(np.array([utt]), epoch)
    (speed,) = sounds.speech
    whole, _ = soundfile.read(f"{dataset.source._specs[utt]}", dtype="float32")
    samples = sounds.speech[speed][1].shape[1]
    start = int(uniform(dataset.seed, epoch, np.array([utt]))[0] * (max(0, len(whole) - samples) + 1))
    part = np.resize(whole[start : start + samples], samples)
    slow = resample(torch.from_numpy(part), round(RATE * speed), RATE).numpy()[: dataset.front_end.samples]
    return slow, speed


def test_crops_and_speeds_and_their_speakers(data_dir):
    dataset = make(data_dir, prob=0.0)
    utts = np.arange(UTTS)
    speech = dataset.front_end.waveforms(dataset.sounds(utts, 3))
    batch = dataset.batch(utts, 3)
    fbank = Fbank(dataset.args.fbank_args)(speech)
    torch.testing.assert_close(batch.features, fbank - fbank.mean(1, keepdim=True))
    speeds = []
    for utt in utts:
        slow, speed = clean_speech(dataset, utt, 3)
        np.testing.assert_allclose(speech[utt], slow, atol=1e-6)
        assert batch.speaker[utt] == dataset.source.speaker[utt] + 10 * [1.0, *SPEEDS].index(speed)
        speeds.append(speed)
    assert set(speeds) == {1.0, 0.9, 1.1}
    found = dataset.statistics(utts, 3)
    assert found["speed_0.9_percent"] == pytest.approx(100 * speeds.count(0.9) / UTTS)


def test_the_snr_on_the_output_and_the_energy_of_rooms(data_dir, noise_dir, rir_dir):
    """SNRs are within 0.1 dB of the draw, for speech from 0 to -60 dBFS; reverberation keeps the power."""
    dirty, clean = make(data_dir, noise_dir, rir_dir, prob=1.0), make(data_dir, prob=0.0)
    utts = np.arange(UTTS)
    for epoch in (1, 2):
        draws = dirty.augmenter.draw(utts, epoch)
        speech = clean.front_end.waveforms(clean.sounds(utts, epoch)).double().numpy()
        output = dirty.front_end.waveforms(dirty.sounds(utts, epoch)).double().numpy()
        for utt in utts:
            before, after = np.mean(speech[utt] ** 2), np.mean(output[utt] ** 2)
            if draws.kind[utt] == REVERB:
                assert abs(10 * np.log10(after / before)) < 0.01
                assert 0.3 < np.corrcoef(speech[utt], output[utt])[0, 1] < 0.9999
            else:
                snr_db = 10 * np.log10(before / np.mean((output[utt] - speech[utt]) ** 2))
                assert abs(snr_db - draws.snr_db[utt]) < 0.1
        assert {REVERB, NOISE} < set(draws.kind.tolist())


def test_what_is_clean_is_not_touched(data_dir, noise_dir, rir_dir):
    dirty, clean = make(data_dir, noise_dir, rir_dir, prob=0.5), make(data_dir, prob=0.0)
    utts = np.arange(UTTS)
    same = dirty.augmenter.draw(utts, 1).kind == CLEAN
    features, expected = dirty.batch(utts, 1).features, clean.batch(utts, 1).features
    assert features[same].equal(expected[same])
    assert all(not a.allclose(b, atol=0.1) for a, b in zip(features[~same], expected[~same], strict=True))


def test_some_samples_go_through_a_telephone_line(data_dir):
    dataset, utts = make(data_dir, prob=0.0, telephone_prob=0.3), np.arange(UTTS)
    sounds = dataset.sounds(utts, 1)
    rows = sounds.telephone
    assert 3 < len(rows) < 25
    assert dataset.statistics(utts, 1)["telephone_percent"] == pytest.approx(100 * len(rows) / UTTS)
    through, clean = dataset.front_end.waveforms(sounds), make(data_dir, prob=0.0)
    plain = clean.front_end.waveforms(clean.sounds(utts, 1))
    torch.testing.assert_close(through[rows], telephone(plain[rows], RATE))
    others = np.setdiff1d(utts, rows.numpy())
    assert through[others].equal(plain[others])
    assert "telephone_percent" not in clean.statistics(utts, 1)


def test_bands_do_not_depend_on_the_telephone_line(data_dir):
    """The two have streams of random numbers of their own, so that the mean place of a band is the same."""
    masks = {"num_t_mask": 2, "num_f_mask": 2, "max_t": 1, "max_f": 1, "prob": 1.0}
    dataset = make(data_dir, prob=0.0, telephone_prob=0.5, spec_aug=True, spec_aug_args=masks)
    items = np.arange(20_000)
    on_line = dataset._draw_telephone(items, 1)
    both = draw_bands(dataset.args.spec_aug_args, 60, 20, seed=5, epoch=1, items=items)
    for bands, positions in zip(both, (60, 20), strict=True):
        place = (bands[:, 0].numpy() + 0.5) / positions  # (items, masks)
        assert abs(place[on_line].mean(axis=0) - place[~on_line].mean(axis=0)).max() < 0.02


@pytest.mark.slow
def test_batches_are_the_same_with_any_workers_and_from_any_step(data_dir, noise_dir, rir_dir):
    args = {"spec_aug": True, "fbank_args": {"num_mel_bins": 20, "dither": 1.0}}
    dataset = make(data_dir, noise_dir, rir_dir, **args)
    sampler = UtteranceSampler(np.arange(UTTS), global_batch=8, seed=1)
    plain = list(Loader(dataset, sampler, num_workers=0).epoch(2))
    for workers, first in ((1, 0), (3, 0), (2, 3)):
        loader = Loader(make(data_dir, noise_dir, rir_dir, **args), sampler, num_workers=workers)
        for batch, expected in zip(loader.epoch(2, first), plain[first:], strict=True):
            assert batch.features.equal(expected.features) and batch.speaker.equal(expected.speaker)
        loader.close()
    shares = [next(Loader(dataset, sampler, num_workers=0, process=(rank, 2)).epoch(2)) for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([share.features for share in shares]), plain[0].features)
    assert not plain[0].features.equal(next(Loader(dataset, sampler, num_workers=0).epoch(3)).features)


def test_a_batch_for_a_device_becomes_the_same_features_there(data_dir, noise_dir, rir_dir):
    utts = np.arange(8)
    moved = make(data_dir, noise_dir, rir_dir, on_device=True).batch(utts, 1)
    assert not moved.features.numel()
    there = moved.to(torch.device("cpu"))
    here = make(data_dir, noise_dir, rir_dir).batch(utts, 1)
    assert there.features.equal(here.features) and there.speaker.equal(here.speaker)


def test_a_batch_for_a_device_is_pinned_whole(
    data_dir: Path, noise_dir: Path, rir_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make(data_dir, noise_dir, rir_dir, on_device=True, telephone_prob=0.5, spec_aug=True).batch(
        np.arange(20), 1
    )
    copies: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        copies.append(tensor.clone())
        return copies[-1]

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    pinned = batch.pin()
    assert isinstance(pinned, SoundBatch)
    held = [leaf for leaf in tree_leaves(vars(pinned.sounds)) if isinstance(leaf, Tensor)]
    assert len(held) == 11 + 2 * len(pinned.sounds.speech)
    assert {id(tensor) for tensor in [*held, pinned.speaker]} == {id(tensor) for tensor in copies}


def test_spec_augment_hides_other_bands_in_each_sample(data_dir):
    args = {"spec_aug": True, "spec_aug_args": {"prob": 0.5, "num_t_mask": 2, "max_t": 10, "max_f": 8}}
    features = make(data_dir, prob=0.0, **args).batch(np.arange(UTTS), 1).features
    frames, mels = (features == 0).all(2).sum(1), (features == 0).all(1).sum(1)
    hidden = frames > 0
    assert 8 < hidden.sum() < 32 and hidden.equal(mels > 0)
    assert frames.max() <= 20 and mels.max() <= 8
    assert len(set(zip(frames[hidden].tolist(), mels[hidden].tolist(), strict=True))) > 5
    whole = make(data_dir, prob=0.0).batch(np.arange(UTTS), 1).features
    assert features[~hidden].equal(whole[~hidden])


def test_dither_is_of_its_size_and_differs_by_sample(data_dir):
    utts = np.arange(UTTS)
    plain = make(data_dir, prob=0.0).batch(utts, 1).features
    dithered = make(data_dir, prob=0.0, fbank_args={"num_mel_bins": 20, "dither": 1.0}).batch(utts, 1).features
    change = (dithered - plain).abs().mean((1, 2))
    assert change[-10:].mean() > 3 * change[:10].mean() > 0  # it is heard behind quiet speech


def test_silent_speech_gives_finite_features(tmp_path, noise_dir, rir_dir):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    write_table(tmp_path / "wav.scp", {"a-1": tmp_path / "a.wav"})
    write_table(tmp_path / "utt2spk", {"a-1": "a"})
    dataset = make(tmp_path, noise_dir, rir_dir, prob=1.0)
    for epoch in range(8):
        assert dataset.batch(np.array([0]), epoch).features.isfinite().all()


def test_a_bad_training_file_is_named_by_the_loader(data_dir, tmp_path):
    dataset = make(data_dir, prob=0.0)
    dataset.source._specs[3] = str(tmp_path / "gone.wav")
    sampler = UtteranceSampler(np.arange(UTTS), global_batch=UTTS, seed=1)
    with pytest.raises(UserError, match=r"s0-03: .*gone.wav does not exist"):
        next(Loader(dataset, sampler, num_workers=2).epoch(1))
