"""Features of whole utterances worked out from their waveforms when they are asked for: no arks are needed."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.audio.mel import frame_samples
from sv.config import FbankConfig
from sv.data.tar_source import TarSource
from sv.data.utt_index import PackedStrings, UttIndex
from sv.data.waveforms import WaveformSource, WavScpSource
from sv.errors import UserError


def open_waveforms(data_dir: str | Path, feats: str, sample_rate: int) -> WaveformSource:
    """The waveforms of a data dir: of its `shard.list` where `feats` is "shard", else of its `wav.scp`."""
    if feats == "shard":
        return TarSource(Path(data_dir) / "shard.list", sample_rate=sample_rate)
    return WavScpSource(data_dir, sample_rate=sample_rate)


def index_waveforms(source: WaveformSource, data_dir: str | Path, fbank_args: FbankConfig) -> UttIndex:
    """Index of the utterances of a source, in its order.

    Args:
        data_dir: of the source, for errors.
        fbank_args: which tell the frames of a waveform.

    Raises:
        UserError: an utterance shorter than a frame.
    """
    length, shift = frame_samples(fbank_args)
    frames = np.maximum(0, 1 + (source.num_samples - length) // shift).astype(np.int32)
    if not frames.all():
        short = int((frames == 0).argmax())
        raise UserError(
            f"{data_dir}: {source.utts[short]}: {source.num_samples[short] / source.sample_rate:.4f} s are less than "
            f"one frame of {fbank_args.frame_length:g} ms; leave it out (tools/subset_data_dir.sh --utt-list)"
        )
    return UttIndex(
        path=Path(data_dir),
        utts=PackedStrings.pack(source.utts),
        num_frames=frames,
        speaker=source.speaker.astype(np.int32),
        speakers=source.speakers,
    )


class FbankReader:
    """Reads utterances as features without dither; may be used by several threads.

    Args:
        source: of the waveforms.
        fbank_args: of the features.
    """

    def __init__(self, source: WaveformSource, fbank_args: FbankConfig) -> None:
        from sv.audio.features import Fbank  # imports torch, which takes seconds

        self.source, self.fbank = source, Fbank(fbank_args)

    def whole(self, utt: int, *, center: bool) -> NDArray[np.float32]:
        """All frames of one utterance; (frames, mels).

        Args:
            utt: its number in the source.
            center: subtract the mean over the frames.

        Raises:
            UserError: as `WaveformSource.read`.
        """
        import torch

        from sv.audio.features import subtract_mean

        waveform = torch.from_numpy(self.source.read(utt, 0, int(self.source.num_samples[utt])))
        features = self.fbank(waveform[None])[0]
        return (subtract_mean(features) if center else features).numpy()
