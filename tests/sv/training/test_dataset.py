"""Sources of a training: features, waveforms in files and in shards, and the classes at each speed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.durations import format_seconds
from sv.audio.tar_shards import Recording, index_path, read_entries, write_shard
from sv.config import Config, parse_config
from sv.data import FaultTolerantDataset, rows_of
from sv.errors import UserError
from sv.io import ArkWriter, read_table, write_table
from sv.system import resolve
from sv.training.dataset import TrainingData, build_dataset, read_data, with_speed_copies
from sv.training.distributed import World
from sv.training.run import train
from sv.training.teacher import teacher_scp
from sv.training.trainer import Trainer
from tests.sv.training.recordings import RATE, SPEAKERS, write_recordings

WORLD = World(0, 1, torch.device("cpu"))
MELS, UTTS = 16, 6
ARGS = {"num_frms": 20, "min_num_frames": 10, "fbank_args": {"num_mel_bins": MELS}}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A data dir of WAV files without features; beside it noise and rooms."""
    folder = tmp_path_factory.mktemp("speech")
    write_recordings(folder, UTTS, 0.3, 0.6)
    rng = np.random.default_rng(0)
    (folder / "noise").mkdir()
    soundfile.write(folder / "noise/n.wav", rng.normal(0, 0.1, RATE), RATE)
    soundfile.write(folder / "noise/r.wav", np.exp(-np.arange(900) / 100) * rng.normal(0, 0.1, 900), RATE)
    write_table(folder / "noise/wav.scp", {"noise/n": folder / "noise/n.wav"})
    (folder / "rir").mkdir()
    write_table(folder / "rir/wav.scp", {"rir/r": folder / "noise/r.wav"})
    return folder


@pytest.fixture(scope="module")
def make_config():
    """A resolved configuration of a training from waveforms; any key may be given."""

    def make(**changes):
        tree = {
            "model": "resnet_small",
            "model_args": {"m_channels": 2, "embed_dim": 8},
            "num_epochs": 2,
            "margin_update": {"increase_start_epoch": 1, "fix_start_epoch": 2},
            "dataset_args": {**ARGS, "speeds": [0.9, 1.1], "spec_aug": True},
            "dataloader_args": {"batch_size": 4, "num_workers": 2},
            "scheduler_args": {"initial_lr": 0.4, "final_lr": 0.1, "warm_up_epoch": 1},
            "heldout_speakers": 2,
            "train_feats": "online",
            "tensorboard": False,
        }
        return resolve(parse_config({**tree, **changes}, "test"), "test")

    return make


def with_noise(speech):
    return {"noise_data": str(speech / "noise"), "reverb_data": str(speech / "rir")}


@pytest.mark.slow
def test_a_teacher_says_the_same_of_an_utterance_whatever_is_done_to_its_crop(
    speech, make_config, tmp_path, monkeypatch
):
    scp = teacher_scp(tmp_path / "t", speech)
    scp.parent.mkdir(parents=True)
    (tmp_path / "t/models").mkdir()
    (tmp_path / "t/models/avg_model.pt").touch()
    rng = np.random.default_rng(0)
    said = {utt: rng.standard_normal(8).astype(np.float32) for utt in read_table(speech / "utt2spk")}
    with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
        for utt, embedding in said.items():
            writer.write(utt, embedding)
    seen: dict[str, list[np.ndarray]] = {}
    step = Trainer._step

    def look(trainer, batch):
        names = [trainer.loader.dataset.index.utts[row] for row in rows_of(batch.utts)]
        assert np.array_equal(trainer._target(batch), np.stack([said[name] for name in names]))
        for name, crop in zip(names, batch.features.numpy(), strict=True):
            seen.setdefault(name, []).append(crop)
        step(trainer, batch)

    monkeypatch.setattr(Trainer, "_step", look)
    args = {**ARGS, "speeds": [], "aug_prob": 1.0}
    taught = {"teacher": str(tmp_path / "t"), "teacher_args": {"center": False}}
    train(make_config(**with_noise(speech), **taught, dataset_args=args), speech, tmp_path / "e", WORLD)
    twice = [crops for crops in seen.values() if len(crops) > 1]
    assert len(twice) > 4 and all(not np.array_equal(crops[0], crops[1]) for crops in twice)


@pytest.mark.slow
def test_a_training_from_waveforms_goes_on_bit_by_bit_and_says_what_it_drew(
    speech, make_config, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    config = make_config(**with_noise(speech))
    train(config, speech, tmp_path / "whole", WORLD)
    step = Trainer._step

    def stop_in_mid_epoch(self, batch):
        step(self, batch)
        if self.place.step == 8:
            self._save()
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_step", stop_in_mid_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(config, speech, tmp_path / "parts", WORLD)
    monkeypatch.undo()
    workers = make_config(**with_noise(speech), dataloader_args={"batch_size": 4, "num_workers": 0})
    train(workers, speech, tmp_path / "parts", WORLD)
    for name in ("model_0.pt", "model_1.pt", "model_2.pt"):
        assert (tmp_path / "whole/models" / name).read_bytes() == (tmp_path / "parts/models" / name).read_bytes()
    speakers = read_table(tmp_path / "whole" / "spk2id")
    heldout = (tmp_path / "whole/heldout_spk").read_text().split()
    assert len(speakers) == 3 * (SPEAKERS - 2) and list(speakers) == sorted(speakers)
    assert not any(name.endswith(tuple(heldout)) for name in speakers)
    epoch = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()][-1]
    shares = [epoch[f"{kind}_percent"] for kind in ("clean", "reverb", "noise", "music", "babble")]
    assert sum(shares) == pytest.approx(100) and shares[1] > 0 and shares[3] == shares[4] == 0
    assert sum(epoch[f"speed_{speed}_percent"] for speed in (0.9, 1, 1.1)) == pytest.approx(100)
    assert 0 <= epoch["noise_snr"] <= 15
    assert "drawn: clean_percent " in (tmp_path / "whole/train.log").read_text()


@pytest.mark.slow
def test_other_noise_is_refused_when_a_training_goes_on(speech, make_config, tmp_path):
    config = make_config(**with_noise(speech), num_epochs=1)
    train(config, speech, tmp_path / "exp", WORLD)
    other = tmp_path / "noise"
    other.mkdir()
    write_table(other / "wav.scp", {"noise/other": speech / "noise/n.wav"})
    with pytest.raises(UserError, match="was begun with other data"):
        train(make_config(noise_data=str(other), num_epochs=1), speech, tmp_path / "exp", WORLD)


def test_wespeaker_names_of_the_same_are_understood(make_config):
    assert make_config(train_feats="raw").train_feats == "online"
    assert make_config(train_feats="feat").train_feats == "ark"


@pytest.mark.parametrize(
    ("speeds", "speakers", "message"),
    [
        ([1.0], ["a", "b"], "dataset_args.speeds: 1.0; give each once, from 0.1 to 10, without 1.0"),
        ([0.9, 0.9], ["a", "b"], "dataset_args.speeds: 0.9; give each once"),
        ([0.9], ["a", "sp0.9-a"], "sp0.9-a is a speed copy"),
    ],
)
def test_speeds_that_make_no_sense_are_refused(make_config, speeds, speakers, message):
    config = make_config(dataset_args={**ARGS, "speeds": speeds})
    with pytest.raises(UserError, match=message):
        with_speed_copies(speakers, config)


def test_a_data_dir_without_waveforms_or_noise_is_refused(speech, make_config, tmp_path):
    with pytest.raises(UserError, match="nothing to augment with"):
        train(make_config(), speech, tmp_path / "exp", WORLD)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "utt2spk").write_text((speech / "utt2spk").read_text())
    with pytest.raises(UserError, match=r"wav.scp does not exist; prepare the data"):
        train(make_config(**with_noise(speech)), bare, tmp_path / "exp", WORLD)
    soundfile.write(bare / "short.wav", np.zeros(399), RATE)
    write_table(bare / "wav.scp", {**read_table(speech / "wav.scp"), "s5-35": bare / "short.wav"})
    with pytest.raises(UserError, match=r"s5-35: 0.0249 s are less than one frame of 25 ms; leave it out"):
        train(make_config(**with_noise(speech)), bare, tmp_path / "exp", WORLD)


def test_large_margin_fine_tuning_has_the_classes_of_the_speeds_and_draws_none(speech, make_config):
    data = read_data(make_config(**with_noise(speech)), speech)
    drawn = {}
    for do_lm in (False, True):
        config = make_config(do_lm=do_lm, **with_noise(speech))
        classes = with_speed_copies(data.index.speakers, config)
        dataset = build_dataset(config, data.with_speakers(classes), on_gpu=False)
        drawn[do_lm] = {classes[n][:2] for n in dataset.batch(np.arange(len(data.index)), 1).speaker.tolist()}
        assert len(classes) == 3 * SPEAKERS
    assert drawn[False] >= {"sp", "s0"}
    assert drawn[True] == {f"s{n}" for n in range(SPEAKERS)}


@pytest.fixture
def wave_dir(tmp_path: Path) -> Path:
    """Six utterances of three speakers as WAV and FLAC files, and two shards."""
    rng, wavs, recordings = np.random.default_rng(0), {}, []
    for number in range(6):
        utt, ending = f"s{number // 2}/{number}.wav", "wav" if number % 2 else "flac"
        path, samples = tmp_path / f"{number}.{ending}", 6001 + 97 * number
        soundfile.write(path, rng.normal(0, 0.1, samples), RATE)
        wavs[utt] = str(path)
        recordings.append(Recording(utt, utt[:2], ending, path.read_bytes(), RATE, samples))
    write_table(tmp_path / "wav.scp", wavs)
    write_table(tmp_path / "utt2spk", {utt: utt[:2] for utt in wavs})
    write_table(tmp_path / "utt2dur", {one.utt: format_seconds(one.num_samples / RATE) for one in recordings})
    write_shard(tmp_path / "1.tar", recordings[:4][::-1])
    write_shard(tmp_path / "2.tar", recordings[4:])
    (tmp_path / "shard.list").write_text(f"{tmp_path}/1.tar\n{tmp_path}/2.tar\n")
    return tmp_path


def waveform_config(make_config: Callable[..., Config], train_feats: str) -> Config:
    args = {
        "num_frms": 20,
        "min_num_frames": 10,
        "fbank_args": {"num_mel_bins": MELS},
        "speeds": [0.9, 1.1],
        "aug_prob": 0.0,
    }
    return make_config(train_feats=train_feats, dataset_args=args)


def with_copies(config: Config, folder: Path) -> TrainingData:
    data = read_data(config, folder)
    copies = sorted(f"{copy}{name}" for copy in ("", "sp0.9-", "sp1.1-") for name in data.index.speakers)
    return data.with_speakers(copies)


def test_shards_give_the_batches_of_files(wave_dir: Path, make_config: Callable[..., Config]) -> None:
    configs = [waveform_config(make_config, kind) for kind in ("online", "shard")]
    data = [with_copies(config, wave_dir) for config in configs]
    assert data[0].index.fingerprint() == data[1].index.fingerprint()
    online, shard = (build_dataset(*each, on_gpu=False) for each in zip(configs, data, strict=True))
    utts = np.array([3, 0, 5, 2, 4, 1])
    for epoch in range(3):
        one, other = online.batch(utts, epoch), shard.batch(utts, epoch)
        assert one.features.shape == (6, 20, MELS)
        assert one.features.equal(other.features) and one.speaker.equal(other.speaker)
    assert online.fingerprint() == shard.fingerprint()


def test_a_corrupt_member_is_replaced(wave_dir: Path, make_config: Callable[..., Config]) -> None:
    entry = read_entries(wave_dir / "2.tar")[0]
    with open(wave_dir / "2.tar", "r+b") as f:
        f.seek(entry.offset)
        f.write(bytes(entry.size))
    index_path(wave_dir / "2.tar").touch()
    config = waveform_config(make_config, "shard")
    data = with_copies(config, wave_dir)
    dataset = build_dataset(config, data, on_gpu=False)
    mended = FaultTolerantDataset(dataset, np.arange(6), data.index, seed=0, max_share=0.2)
    batch = mended.batch(np.array([0, 4]), 1)
    assert batch.utts[0] == 0 and batch.utts[1] == 5
    assert list(mended.bad.why) == [entry.utt] and f"{wave_dir}/2.tar" in mended.bad.why[entry.utt]
    assert mended.bad.why[entry.utt].endswith("make the shard again (steps/make_shards.sh --verify true)")
