"""Sources of waveforms: parts of utterances are read without decoding the rest."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sv.audio.durations import min_samples, segment_span
from sv.audio.files import Waveform, info, parse_source
from sv.audio.part_reader import PartReader
from sv.errors import UserError
from sv.io import DataDir, read_table

Longs = NDArray[np.int64]

_LONGEST = 1 << 62  # samples, where no end is given
_HEADER_THREADS = 16  # reading a header from a network disk takes milliseconds, nearly all of it waiting


class WaveformSource(Protocol):
    """Waveforms of one sample rate, which can be read in part; may be used by several threads.

    Attributes:
        utts: ids, in LC_ALL=C order.
        speaker: (utts,) index into `speakers`.
        speakers: sorted by their bytes.
        num_samples: (utts,) samples that can be read.
        sample_rate: Hz.
    """

    utts: Sequence[str]
    speaker: Longs
    speakers: list[str]
    num_samples: Longs
    sample_rate: int

    def read(self, utt: int, start: int, num_samples: int) -> Waveform:
        """Read samples of one utterance: (num_samples,) float32 in [-1, 1).

        Args:
            utt: index into `utts`.
            start: first sample.
            num_samples: number of samples.

        Raises:
            UserError: they cannot be read; names utterance and file.
        """
        ...


class WavScpSource:
    """Waveforms of the `wav.scp` of a data dir, whole files or `segments`; WAV and FLAC are decoded in part.

    Lengths come from `utt2dur`, or from the headers of all files if there is none. The utt2dur of our tools gives exact
    lengths. One with fewer decimals, as Kaldi's, is rounded down, which may leave out the last samples. The utt2dur of
    a segment must not exceed its recording, as Kaldi's may.

    Args:
        data_dir: folder with wav.scp and utt2spk.
        sample_rate: Hz, of all files.

    Raises:
        UserError: a table is missing, an utterance has no speaker or no audio, wav.scp holds a command, or, without
            utt2dur, a header cannot be read.
    """

    def __init__(self, data_dir: str | Path, *, sample_rate: int = 16000) -> None:
        data = DataDir(data_dir)
        self.sample_rate = sample_rate
        self._where = data.audio_list
        self.utts: Sequence[str] = sorted(data.utts, key=str.encode)
        self._check_speakers(data)
        self._specs = [self._spec_of(data, utt) for utt in self.utts]
        self._files = PartReader(self._specs)
        spans = [data.segments[utt][1:] if data.segments else (0.0, np.inf) for utt in self.utts]
        self._first, end = (np.minimum(np.array(spans) * sample_rate, _LONGEST)).astype(np.int64).T
        self.speakers = sorted(set(data.utt2spk.values()), key=str.encode)
        number = {name: i for i, name in enumerate(self.speakers)}
        self.speaker: Longs = np.array([number[data.utt2spk[utt]] for utt in self.utts], dtype=np.int64)
        self.num_samples = np.minimum(self._lengths(data), end - self._first)  # utt2dur may be rounded up, or wrong

    def read(self, utt: int, start: int, num_samples: int) -> Waveform:
        """Read samples of one utterance, see `WaveformSource.read`."""
        first = int(self._first[utt]) + start
        try:
            return self._files.read(utt, self.sample_rate, first, first + num_samples)
        except UserError as error:
            raise UserError(f"{self.utts[utt]}: {error}") from error

    def _spec_of(self, data: DataDir, utt: str) -> str:
        recording = data.segments[utt][0] if data.segments else utt
        if recording not in data.wav_scp:
            raise UserError(f"{self._where}: {utt}: recording {recording} is not in wav.scp; run tools/fix_data_dir.sh")
        spec = data.wav_scp[recording]
        if parse_source(spec).command:
            raise UserError(
                f"{data.path / 'wav.scp'}: {recording} is a command, which cannot be read in part; "
                "write its output to files (local/convert_audio.sh), or train from arks (--train-feats ark)"
            )
        return spec

    def _check_speakers(self, data: DataDir) -> None:
        """Check that both tables have the same utterances; a speaker without any would be a class without samples."""
        alone = data.utt2spk.keys() ^ set(self.utts)
        if alone:
            utt, utt2spk = min(alone), data.path / "utt2spk"
            here, there = (utt2spk, self._where) if utt in data.utt2spk else (self._where, utt2spk)
            raise UserError(f"{here}: {utt} is not in {there.name}; run tools/fix_data_dir.sh {data.path}")

    def _lengths(self, data: DataDir) -> Longs:
        table = data.path / "utt2dur"
        if table.is_file():
            durations = read_table(table)
            return np.array(
                [self._by_duration(durations.get(utt, ""), f"{table}: {utt}") for utt in self.utts], np.int64
            )
        with ThreadPoolExecutor(_HEADER_THREADS) as pool:
            lengths = pool.map(partial(self._length_by_header, data.segments), range(len(self.utts)))
            return np.fromiter(lengths, np.int64, len(self.utts))

    def _by_duration(self, duration: str, where: str) -> int:
        try:
            return min_samples(duration, self.sample_rate)
        except ValueError:
            raise UserError(f"{where} has {duration!r}, not a number; run tools/get_utt2dur.sh") from None

    def _length_by_header(self, segments: Mapping[str, tuple[str, float, float]], utt: int) -> int:
        name, spec = self.utts[utt], self._specs[utt]
        try:
            samples = info(spec).samples
            if not segments:
                return samples
            start, end = segment_span(spec, *segments[name][1:], samples, self.sample_rate, parse_source(spec).speed)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        return end - start
