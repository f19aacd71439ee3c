"""Training data: where the frames of each utterance lie, which are wanted next, and batches read in the background.

Loader, online and replacement load torch, which takes seconds; they are imported when a name of theirs is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sv.data.augmenter import Augmenter
from sv.data.crops import CropReader
from sv.data.feats import FeatsIndex, UttIndex, read_index
from sv.data.sampling import Sampler, UtteranceSampler, build_sampler, rows_of, uniform
from sv.data.tar_source import ShardSource
from sv.data.wave_feats import WaveReader, index_waves, open_waves
from sv.data.waves import WaveSource, WavSource

if TYPE_CHECKING:
    from sv.data.loader import ArkDataset, Batch, Dataset, Loader
    from sv.data.online import OnlineDataset
    from sv.data.replacement import MendedDataset

__all__ = [
    "ArkDataset",
    "Augmenter",
    "Batch",
    "CropReader",
    "Dataset",
    "FeatsIndex",
    "Loader",
    "MendedDataset",
    "OnlineDataset",
    "Sampler",
    "ShardSource",
    "UttIndex",
    "UtteranceSampler",
    "WavSource",
    "WaveReader",
    "WaveSource",
    "build_sampler",
    "index_waves",
    "open_waves",
    "read_index",
    "rows_of",
    "uniform",
]

_LATER = {"OnlineDataset": "sv.data.online", "MendedDataset": "sv.data.replacement"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sv.data' has no attribute {name!r}")
    return getattr(import_module(_LATER.get(name, "sv.data.loader")), name)
