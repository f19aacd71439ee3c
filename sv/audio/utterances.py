"""Waveforms of the utterances of a data dir: whole files, or segments of files."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from sv.audio.durations import segment_span
from sv.audio.files import AudioInfo, Source, Waveform, info, parse_source, read_wav
from sv.errors import UserError
from sv.io import DataDir


class Utterances:
    """Reads the waveforms of a data dir, whole files or `segments` of them.

    Args:
        data: the data dir.
        sample_rate: Hz, of all files.
        allow_pipes: run the commands in wav.scp.

    Attributes:
        source: the file that lists the utterances, `segments` or else `wav.scp`.
        ids: in its order.
    """

    def __init__(self, data: DataDir, sample_rate: int, allow_pipes: bool = False) -> None:
        self.data, self.sample_rate, self.allow_pipes = data, sample_rate, allow_pipes
        self.source = data.audio_list
        self.ids = data.utts
        self._whole = lru_cache(maxsize=1)(self._read_whole)  # neighbors in `segments` share a recording
        self._header = lru_cache(maxsize=64)(self._read_header)  # shared by threads

    def read(self, utt: str) -> Waveform:
        """Read one waveform, (samples,) float32.

        Raises:
            UserError: as `read_wav`, or a segment is of an unknown recording or after its end; names the utterance.
        """
        try:
            if not self.data.segments:
                return read_wav(self.data.wav_scp[utt], self.sample_rate, self.allow_pipes)
            return self._read_segment(*self.data.segments[utt])
        except UserError as error:
            raise UserError(f"{utt}: {error}") from error

    def plain_file(self, utt: str) -> str:
        """Return the file that is exactly the utterance; "" for a segment, a speed copy or the output of a command."""
        source = Source() if self.data.segments else parse_source(self.data.wav_scp[utt])
        return source.path if source.speed == 1.0 else ""

    def duration(self, utt: str) -> float:
        """Return the duration of an utterance in seconds, from `segments` and the header of its file.

        If a segment's recording is a command that may not run, its end is taken from `segments`.

        Raises:
            UserError: as `read`, for errors that a header shows.
        """
        try:
            if not self.data.segments:
                return self._header(self.data.wav_scp[utt]).duration_s
            recording, start_s, end_s = self.data.segments[utt]
            spec = self._spec_of(recording)
            source = parse_source(spec)
            if not self.allow_pipes and source.command:
                return end_s - start_s
            header = self._header(spec)
            start, end = segment_span(recording, start_s, end_s, header.samples, header.sample_rate, source.speed)
            return (end - start) / header.sample_rate
        except UserError as error:
            raise UserError(f"{utt}: {error}") from error

    def _read_segment(self, recording: str, start_s: float, end_s: float) -> Waveform:
        spec = self._spec_of(recording)
        speed = parse_source(spec).speed
        if spec.endswith("|"):
            waveform = self._whole(spec)
            start, end = segment_span(recording, start_s, end_s, len(waveform), self.sample_rate, speed)
            return waveform[start:end]
        start, end = segment_span(recording, start_s, end_s, self._header(spec).samples, self.sample_rate, speed)
        return read_wav(spec, self.sample_rate, False, start, end)

    def _spec_of(self, recording: str) -> str:
        if recording not in self.data.wav_scp:
            raise UserError(f"recording {recording} is not in {self.data.path / 'wav.scp'}; run tools/fix_data_dir.sh")
        return self.data.wav_scp[recording]

    def _read_whole(self, spec: str) -> Waveform:
        return read_wav(spec, self.sample_rate, self.allow_pipes)

    def _read_header(self, spec: str) -> AudioInfo:
        return info(spec, self.allow_pipes)


def estimate_hours(data_dir: Path, sample_rate: int, sample: int = 200) -> float:
    """Estimate the hours of a data dir, from `utt2dur` or else from the headers of about `sample` utterances.

    Return 0.0 if commands would have to run.
    """
    data = DataDir(data_dir)
    if (data_dir / "utt2dur").is_file():
        return data.total_duration() / 3600
    count, seconds = data.count_utts(), []
    some = Utterances(DataDir(data_dir, rows=range(0, count, max(1, count // sample))), sample_rate)
    for utt in some.ids:
        try:
            seconds.append(some.duration(utt))
        except UserError:
            continue  # the job that reads it reports the error
    return count * float(np.mean(seconds)) / 3600 if seconds else 0.0
