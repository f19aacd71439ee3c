"""Training data: where the frames of each utterance lie, which are wanted next, and batches read in the background."""

from sv.data.augmenter import Augmenter
from sv.data.crops import CropReader
from sv.data.feats import FeatsIndex, read_index
from sv.data.loader import ArkDataset, Batch, Dataset, Loader
from sv.data.online import OnlineDataset
from sv.data.sampling import UtteranceSampler, uniform
from sv.data.waves import WaveSource, WavSource

__all__ = [
    "ArkDataset",
    "Augmenter",
    "Batch",
    "CropReader",
    "Dataset",
    "FeatsIndex",
    "Loader",
    "OnlineDataset",
    "UtteranceSampler",
    "WavSource",
    "WaveSource",
    "read_index",
    "uniform",
]
