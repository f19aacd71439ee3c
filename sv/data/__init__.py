"""Training data: where the frames of each utterance lie, which are wanted next, and batches read in the background."""

from sv.data.crops import CropReader
from sv.data.feats import FeatsIndex, read_index
from sv.data.loader import ArkDataset, Batch, Loader
from sv.data.sampling import UtteranceSampler, uniform

__all__ = ["ArkDataset", "Batch", "CropReader", "FeatsIndex", "Loader", "UtteranceSampler", "read_index", "uniform"]
