"""Frames of speech: masks from vad.scp, and a reader of features that drops the other frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sv.data.ark_reader import ArkReader
from sv.data.utt_index import FeatsIndex
from sv.errors import UserError
from sv.io import DataDir, read_matrix, read_scp

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

LEAST_FRAMES = 10  # of speech; an utterance with fewer counts as having none


@dataclass(frozen=True)
class Voiced:
    """The frames of speech of all utterances of an index, a bit each.

    Attributes:
        index: the utterances, with all their frames.
        bits: (bytes,) packed masks.
        ends: (utts + 1,) those of utterance i are bits[ends[i]:ends[i + 1]].
        num_frames: (utts,) frames of speech; 0 where there are fewer than LEAST_FRAMES.
    """

    index: FeatsIndex
    bits: NDArray[np.uint8]
    ends: NDArray[np.int64]
    num_frames: NDArray[np.int32]

    def mask(self, utt: int) -> NDArray[np.bool_]:
        """Return whether each frame of an utterance is speech, (frames,)."""
        packed = self.bits[self.ends[utt] : self.ends[utt + 1]]
        return np.unpackbits(packed, count=int(self.index.num_frames[utt])).astype(np.bool_)


def read_voiced(index: FeatsIndex) -> Voiced:
    """Read the vad.scp of a data dir.

    Raises:
        UserError: it is missing, lacks an utterance, or has another number of frames than the features.
    """
    remedy = f"make it with steps/compute_vad_decision.sh {index.path}"
    path = DataDir(index.path).require("vad.scp", remedy)
    places = read_scp(path)
    packed, counts = [], np.zeros(len(index), dtype=np.int32)
    for utt in range(len(index)):
        name = index.utts[utt]
        if name not in places:
            raise UserError(f"{path}: {name} is not in it; {remedy}")
        mask = read_matrix(places[name])[0] > 0
        if len(mask) != index.num_frames[utt]:
            raise UserError(f"{path}: {name} has {len(mask)} frames, its features {index.num_frames[utt]}; {remedy}")
        packed.append(np.packbits(mask))
        counts[utt] = mask.sum()
    counts[counts < LEAST_FRAMES] = 0
    return Voiced(index, np.concatenate(packed), np.cumsum([0, *map(len, packed)]), counts)


def check_speech(utt: str, frames: int) -> None:
    """Raise UserError if an utterance has too few frames of speech."""
    if frames < LEAST_FRAMES:
        raise UserError(f"{utt}: {frames} frames of speech by the VAD, {LEAST_FRAMES} or more are needed; leave it out")


class VoicedReader:
    """Reads the frames of speech of utterances in arks, as `ArkReader` reads all of them.

    A crop reads the whole utterance, since the mean is over all of its frames.

    Args:
        reader: reader of all frames.
        voiced: the frames of speech.
        index: as that of `voiced`, with its `num_frames`; its speakers may have other numbers.
    """

    def __init__(self, reader: ArkReader, voiced: Voiced, index: FeatsIndex) -> None:
        self.index, self.num_mels = index, reader.num_mels
        self._reader, self._voiced = reader, voiced

    def crops(self, utts: Longs, starts: Longs, num: int, *, center: bool) -> Floats:
        """Read crops of frames of speech, (batch, num, mels); see `ArkReader.crops`."""
        out = np.empty((len(utts), num, self.num_mels), dtype=np.float32)
        for crop, utt, start in zip(out, utts.tolist(), starts.tolist(), strict=True):
            rows = self.whole(utt, center=center)[start : start + num]
            crop[:] = rows[np.arange(num) % len(rows)]
        return out

    def whole(self, utt: int, *, center: bool) -> Floats:
        """Read the frames of speech of an utterance; with `center` less the mean over all frames.

        Raises:
            UserError: as `ArkReader.whole`, and for an utterance without speech.
        """
        mask = self._voiced.mask(utt)
        check_speech(self.index.utts[utt], int(mask.sum()))
        return self._reader.whole(utt, center=center)[mask]
