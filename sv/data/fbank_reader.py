"""Features of whole utterances, computed from their waveforms on demand: no arks are needed."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.audio.mel import count_frames
from sv.config import DatasetArgs, FbankConfig
from sv.data.tar_source import TarSource
from sv.data.utt_index import PackedStrings, UttIndex
from sv.data.voiced import check_speech
from sv.data.waveforms import WaveformSource, WavScpSource
from sv.errors import UserError


def open_waveforms(data_dir: str | Path, feats: str, sample_rate: int) -> WaveformSource:
    """Open the waveforms of a data dir: of its `shard.list` if `feats` is "shard", else of its `wav.scp`.

    Raises:
        UserError: see `TarSource` and `WavScpSource`.
    """
    if feats == "shard":
        return TarSource(Path(data_dir) / "shard.list", sample_rate=sample_rate)
    return WavScpSource(data_dir, sample_rate=sample_rate)


def index_waveforms(source: WaveformSource, data_dir: str | Path, fbank_args: FbankConfig) -> UttIndex:
    """Index the utterances of a source, in its order.

    Args:
        source: source of the waveforms.
        data_dir: data dir of the source, for error messages.
        fbank_args: length and shift of frames.

    Raises:
        UserError: an utterance is shorter than a frame.
    """
    frames = count_frames(source.num_samples, fbank_args).astype(np.int32)
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
    """Computes features of whole utterances, without dither; may be used by several threads.

    Args:
        source: source of the waveforms.
        args: settings of the features and of the VAD.
    """

    def __init__(self, source: WaveformSource, args: DatasetArgs) -> None:
        from sv.audio.centered_fbank import make_fbank  # imports torch, which takes seconds

        self.source, self.args, self.fbank = source, args, make_fbank(args.fbank_args)

    def whole(self, utt: int, *, center: bool) -> NDArray[np.float32]:
        """Compute all frames of one utterance, or with the VAD those of speech: (frames, mels) float32.

        Args:
            utt: its index in the source.
            center: subtract the mean over all frames.

        Raises:
            UserError: see `WaveformSource.read`; or there is no speech.
        """
        import torch

        from sv.audio.features import find_voiced, subtract_mean

        waveform = self.source.read(utt, 0, int(self.source.num_samples[utt]))
        features = self.fbank(torch.from_numpy(waveform)[None])[0]
        frames: NDArray[np.float32] = (subtract_mean(features) if center else features).numpy()
        if self.args.vad:
            voiced = find_voiced(waveform, self.args)
            check_speech(self.source.utts[utt], int(voiced.sum()))
            frames = frames[voiced]
        return frames
