"""Training data: index of the utterances, samplers, readers of features and waveforms, and batches made ahead.

Loader, online and fault_tolerant load torch, which takes seconds. They are imported when one of their names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sv.data.ark_reader import ArkReader
from sv.data.augmenter import Augmenter
from sv.data.fbank_reader import FbankReader, index_waveforms, open_waveforms
from sv.data.noises import ClipFolders
from sv.data.sampling import Sampler, UtteranceSampler, build_sampler, rows_of, uniform
from sv.data.tar_source import TarSource
from sv.data.utt_index import FeatsIndex, UttIndex, read_index
from sv.data.waveforms import WaveformSource, WavScpSource

if TYPE_CHECKING:
    from sv.data.fault_tolerant import FaultTolerantDataset
    from sv.data.loader import ArkDataset, Batch, Dataset, Loader
    from sv.data.online import OnlineDataset

__all__ = [
    "ArkDataset",
    "ArkReader",
    "Augmenter",
    "Batch",
    "ClipFolders",
    "Dataset",
    "FaultTolerantDataset",
    "FbankReader",
    "FeatsIndex",
    "Loader",
    "OnlineDataset",
    "Sampler",
    "TarSource",
    "UttIndex",
    "UtteranceSampler",
    "WavScpSource",
    "WaveformSource",
    "build_sampler",
    "index_waveforms",
    "open_waveforms",
    "read_index",
    "rows_of",
    "uniform",
]

_LATER = {"OnlineDataset": "sv.data.online", "FaultTolerantDataset": "sv.data.fault_tolerant"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sv.data' has no attribute {name!r}")
    return getattr(import_module(_LATER.get(name, "sv.data.loader")), name)
