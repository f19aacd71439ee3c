"""What a training reads its batches from, by `train_feats`: arks, or waveforms that are augmented on the way."""

import numpy as np

from sv.config import Config
from sv.data import (
    ArkDataset,
    Augmenter,
    CropReader,
    Dataset,
    FeatsIndex,
    OnlineDataset,
    ShardSource,
    WaveSource,
    WavSource,
)
from sv.data.sampling import Longs
from sv.errors import UserError
from sv.io import base_speaker


def build_dataset(config: Config, index: FeatsIndex, reader: CropReader, *, on_gpu: bool) -> Dataset:
    """The batches of a training.

    Args:
        config: resolved.
        index: its speakers are the classes.
        reader: of the index's arks.
        on_gpu: training is on a GPU, which then computes what is computed.

    Raises:
        UserError: see `WavSource` and `Augmenter`; an utterance of the index without waveform.
    """
    args = config.dataset_args
    if config.train_feats == "ark":
        spec_aug = args.spec_aug_args if args.spec_aug else None
        return ArkDataset(reader, num_frms=args.num_frms, seed=config.seed, center=args.cmvn, spec_aug=spec_aug)
    source = _wave_source(config, index)
    augmenter = Augmenter(
        args.augment_args,
        prob=args.aug_prob,
        seed=config.seed,
        sample_rate=args.fbank_args.sample_rate,
        noise_data=config.noise_data,
        reverb_data=config.reverb_data,
        skip_bad=True,
    )
    if config.do_lm:  # the copies keep their classes, and have no utterance
        args = args.model_copy(update={"speeds": []})
    speaker = _speaker_at_speeds(index, args.speeds)
    rows = _rows_in(source, index)
    return OnlineDataset(source, rows, speaker, augmenter, args, seed=config.seed, on_device=on_gpu)


def _wave_source(config: Config, index: FeatsIndex) -> WaveSource:
    sample_rate = config.dataset_args.fbank_args.sample_rate
    if config.train_feats == "shard":
        return ShardSource(index.path / "shard.list", sample_rate=sample_rate)
    return WavSource(index.path, sample_rate=sample_rate)


def with_speed_copies(speakers: list[str], config: Config) -> list[str]:
    """Classes of a training from waveforms: the speakers, and each of them at each speed, sorted as those of arks are.

    Raises:
        UserError: there are speed copies among the speakers already, or a speed that is none.
    """
    speeds = config.dataset_args.speeds if config.train_feats != "ark" else []
    if bad := [speed for speed in speeds if not 0.1 <= speed <= 10 or speed == 1.0 or speeds.count(speed) > 1]:
        raise UserError(f"dataset_args.speeds: {bad[0]}; give each once, from 0.1 to 10; 1.0 is there anyway")
    copies = [name for name in speakers if base_speaker(name) != name]
    if speeds and copies:
        raise UserError(
            f"{copies[0]} is a speed copy, and dataset_args.speeds would make copies of it; "
            "give the data dir without copies, or set dataset_args.speeds=[]"
        )
    return sorted([*speakers, *(_copy_of(name, speed) for speed in speeds for name in speakers)], key=str.encode)


def _copy_of(speaker: str, speed: float) -> str:
    """The name that tools/perturb_data_dir_speed.sh gives to it."""
    return f"sp{speed:g}-{speaker}"


def _speaker_at_speeds(index: FeatsIndex, speeds: list[float]) -> Longs:
    """(1 + speeds, utts) class of each utterance at 1.0 and at each speed; -1 for speakers that are held out."""
    number = {name: i for i, name in enumerate(index.speakers)}
    copies = [[number.get(_copy_of(name, speed), -1) for name in index.speakers] for speed in speeds]
    table = np.array([list(range(len(index.speakers))), *copies], dtype=np.int64)
    return np.where(index.speaker >= 0, table[:, index.speaker], -1)


def _rows_in(source: WaveSource, index: FeatsIndex) -> Longs:
    """(utts,) number within `source` of each utterance of the index."""
    number = {utt: i for i, utt in enumerate(source.utts)}
    rows = np.array([number.get(index.utts[i], -1) for i in range(len(index))], dtype=np.int64)
    if (rows < 0).any():
        missing = index.utts[int((rows < 0).argmax())]
        raise UserError(
            f"{index.path / 'feats.scp'}: {missing} has no waveform; make features and shards again (stage 2)"
        )
    return rows
