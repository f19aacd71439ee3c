"""What a training reads its batches from, by `train_feats`: arks, or waveforms that are augmented on the way."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sv.config import Config, FbankConfig
from sv.data import (
    ArkDataset,
    ArkReader,
    Augmenter,
    ClipFolders,
    Dataset,
    FbankReader,
    FeatsIndex,
    OnlineDataset,
    UttIndex,
    WaveformSource,
    index_waveforms,
    open_waveforms,
    read_index,
)
from sv.data.sampling import Longs
from sv.errors import UserError
from sv.io import base_speaker


@dataclass(frozen=True)
class TrainingData:
    """The utterances of a data dir, and where they are read from.

    Attributes:
        index: of the utterances; where there is no source, of arks.
        source: of their waveforms, in the order of the index; None: training is from arks.
    """

    index: UttIndex
    source: WaveformSource | None = None

    def with_speakers(self, speakers: list[str]) -> "TrainingData":
        """The same with another numbering of speakers, see `UttIndex.with_speakers`."""
        return replace(self, index=self.index.with_speakers(speakers))

    def reader(self, fbank_args: FbankConfig) -> ArkReader | FbankReader:
        """Of whole utterances."""
        if self.source is not None:
            return FbankReader(self.source, fbank_args)
        assert isinstance(self.index, FeatsIndex), "without waveforms there are arks"
        return ArkReader(self.index, fbank_args.num_mel_bins)


def read_data(config: Config, data_dir: Path) -> TrainingData:
    """Of a training, by its `train_feats`.

    Raises:
        UserError: see `read_index`, `WavScpSource` and `TarSource`.
    """
    if config.train_feats == "ark":
        return TrainingData(read_index(data_dir))
    fbank_args = config.dataset_args.fbank_args
    source = open_waveforms(data_dir, config.train_feats, fbank_args.sample_rate)
    return TrainingData(index_waveforms(source, data_dir, fbank_args), source)


def build_dataset(config: Config, data: TrainingData, *, on_gpu: bool) -> Dataset:
    """The batches of a training.

    Args:
        config: resolved.
        data: the speakers of its index are the classes.
        on_gpu: training is on a GPU, which then computes what is computed.

    Raises:
        UserError: see `Augmenter`.
    """
    args = config.dataset_args
    if data.source is None:
        reader = data.reader(args.fbank_args)
        assert isinstance(reader, ArkReader)
        spec_aug = args.spec_aug_args if args.spec_aug else None
        return ArkDataset(reader, num_frms=args.num_frms, seed=config.seed, center=args.cmvn, spec_aug=spec_aug)
    augmenter = Augmenter(
        args.augment_args,
        ClipFolders(config.noise_data, config.reverb_data, skip_bad=True),
        prob=args.aug_prob,
        seed=config.seed,
        sample_rate=args.fbank_args.sample_rate,
    )
    if config.do_lm:  # the copies keep their classes, and have no utterance
        args = args.model_copy(update={"speeds": []})
    speaker = _speaker_at_speeds(data.index, args.speeds)
    return OnlineDataset(data.source, speaker, augmenter, args, seed=config.seed, on_device=on_gpu)


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


def _speaker_at_speeds(index: UttIndex, speeds: list[float]) -> Longs:
    """(1 + speeds, utts) class of each utterance at 1.0 and at each speed; -1 for speakers that are held out."""
    number = {name: i for i, name in enumerate(index.speakers)}
    copies = [[number.get(_copy_of(name, speed), -1) for name in index.speakers] for speed in speeds]
    table = np.array([list(range(len(index.speakers))), *copies], dtype=np.int64)
    return np.where(index.speaker >= 0, table[:, index.speaker], -1)
