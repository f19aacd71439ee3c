"""SpecAugment: bands of each sample's features that are hidden, drawn by (seed, epoch, item)."""

import numpy as np
import torch
from torch import Tensor

from sv.audio.augment import mask
from sv.config import SpecAugArgs
from sv.data.sampling import Longs, uniform

_STREAM = 23  # of random numbers; each band takes the next two

Bands = tuple[Tensor, Tensor]  # in time and in frequency: (batch, 2, masks) int64 each, start and length


def draw_bands(args: SpecAugArgs | None, frames: int, mels: int, *, seed: int, epoch: int, items: Longs) -> Bands:
    """Draw bands of 1 to `max_t` frames and of 1 to `max_f` mels, anywhere within the features.

    Args:
        args: numbers and sizes; None for no bands.
        frames, mels: shape of a sample's features.
        items: (batch,) numbers of the samples.
    """
    if args is None:
        none = torch.zeros(len(items), 2, 0, dtype=torch.int64)
        return none, none
    chosen = uniform(seed, epoch, items, _STREAM) < args.prob
    stream, bands = _STREAM, []
    for count, most, positions in ((args.num_t_mask, args.max_t, frames), (args.num_f_mask, args.max_f, mels)):
        band = np.zeros((len(items), 2, count), dtype=np.int64)
        for n in range(count):
            length = 1 + (uniform(seed, epoch, items, stream + 1) * min(most, positions)).astype(np.int64)
            band[:, 0, n] = uniform(seed, epoch, items, stream + 2) * (positions - length + 1)
            band[:, 1, n] = np.where(chosen, length, 0)
            stream += 2
        bands.append(torch.from_numpy(band))
    return bands[0], bands[1]


def hide(features: Tensor, bands: Bands) -> Tensor:
    """Return features (batch, frames, mels) with zeros in the bands."""
    for dim, band in enumerate(bands, start=1):
        if band.shape[2]:
            features = mask(features, band[:, 0], band[:, 1], dim=dim)
    return features
