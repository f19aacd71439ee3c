"""Batches of a training, by `train_feats`: from arks of features, or from waveforms that are augmented on the way."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sv.config import Config, DatasetArgs
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
from sv.data.voiced import Voiced, VoicedReader, read_voiced
from sv.errors import UserError
from sv.io import original_speakers


@dataclass(frozen=True)
class TrainingData:
    """The utterances of a data dir, and where they are read from.

    Attributes:
        index: the utterances, with their places in arks if there is no `source`.
        source: their waveforms, in the order of the index; None if training reads arks.
        voiced: with arks and the VAD, the frames of speech, which the index counts.
    """

    index: UttIndex
    source: WaveformSource | None = None
    voiced: Voiced | None = None

    def with_speakers(self, speakers: list[str]) -> "TrainingData":
        """Return the data with its speakers numbered anew, see `UttIndex.with_speakers`."""
        return replace(self, index=self.index.with_speakers(speakers))

    def reader(self, args: DatasetArgs) -> ArkReader | VoicedReader | FbankReader:
        """Return a reader of whole utterances."""
        if self.source is not None:
            return FbankReader(self.source, args)
        assert isinstance(self.index, FeatsIndex), "without waveforms there are arks"
        mels = args.fbank_args.num_mel_bins
        if self.voiced is None:
            return ArkReader(self.index, mels)
        return VoicedReader(ArkReader(self.voiced.index, mels), self.voiced, self.index)


def read_data(config: Config, data_dir: Path) -> TrainingData:
    """Read the index of a training's data dir, and open its waveforms unless `train_feats` is ark.

    Raises:
        UserError: see `read_index`, `read_voiced`, `WavScpSource` and `TarSource`.
    """
    if config.train_feats == "ark":
        index = read_index(data_dir)
        if not config.dataset_args.vad:
            return TrainingData(index)
        voiced = read_voiced(index)
        return TrainingData(replace(index, num_frames=voiced.num_frames), voiced=voiced)
    fbank_args = config.dataset_args.fbank_args
    source = open_waveforms(data_dir, config.train_feats, fbank_args.sample_rate)
    return TrainingData(index_waveforms(source, data_dir, fbank_args), source)


def build_dataset(config: Config, data: TrainingData, *, on_gpu: bool) -> Dataset:
    """Build the dataset that makes a training's batches.

    Args:
        config: resolved.
        data: what to read; the speakers of its index are the classes.
        on_gpu: training is on a GPU, which then computes features and augmentation.

    Raises:
        UserError: see `Augmenter`.
    """
    args = config.dataset_args
    if data.source is None:
        reader = data.reader(args)
        assert isinstance(reader, ArkReader | VoicedReader)
        spec_aug = args.spec_aug_args if args.spec_aug else None
        return ArkDataset(reader, num_frms=args.num_frms, seed=config.seed, center=args.cmvn, spec_aug=spec_aug)
    augmenter = Augmenter(
        args.augment_args,
        ClipFolders(config.noise_data, config.reverb_data, skip_bad=True),
        prob=args.aug_prob,
        seed=config.seed,
        sample_rate=args.fbank_args.sample_rate,
    )
    if config.do_lm:  # the classes of speed copies stay, without utterances
        args = args.model_copy(update={"speeds": []})
    speaker = _speaker_at_speeds(data.index, args.speeds)
    return OnlineDataset(data.source, speaker, augmenter, args, seed=config.seed, on_device=on_gpu)


def with_speed_copies(speakers: list[str], config: Config) -> list[str]:
    """Return the classes of a training: the speakers and, if it reads waveforms, each of them at each speed, sorted.

    Raises:
        UserError: a speed is out of range or given twice, or the speakers have speed copies already.
    """
    speeds = config.dataset_args.speeds if config.train_feats != "ark" else []
    if bad := [speed for speed in speeds if not 0.1 <= speed <= 10 or speed == 1.0 or speeds.count(speed) > 1]:
        raise UserError(f"dataset_args.speeds: {bad[0]}; give each once, from 0.1 to 10, without 1.0")
    copies = [name for name, original in original_speakers(speakers).items() if original != name]
    if speeds and copies:
        raise UserError(
            f"{copies[0]} is a speed copy already, and dataset_args.speeds would copy it again; "
            "give the data dir without copies, or set dataset_args.speeds=[]"
        )
    return sorted([*speakers, *(_copy_of(name, speed) for speed in speeds for name in speakers)], key=str.encode)


def _copy_of(speaker: str, speed: float) -> str:
    """Return the name of a speed copy, as tools/perturb_data_dir_speed.sh writes it."""
    return f"sp{speed:g}-{speaker}"


def _speaker_at_speeds(index: UttIndex, speeds: list[float]) -> Longs:
    """Return the class of each utterance at 1.0 and at each speed, (1 + speeds, utts); -1 for held-out speakers."""
    number = {name: i for i, name in enumerate(index.speakers)}
    copies = [[number.get(_copy_of(name, speed), -1) for name in index.speakers] for speed in speeds]
    table = np.array([list(range(len(index.speakers))), *copies], dtype=np.int64)
    return np.where(index.speaker >= 0, table[:, index.speaker], -1)
