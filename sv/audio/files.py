"""Waveforms from files, segments of files, and speed-perturbed copies; mono, checked, float32 in [-1, 1].

Values of `wav.scp`:

    corpora/vox1/wav/id10001/x/00001.wav                a file that libsndfile reads: WAV, FLAC, SPHERE, OGG, MP3, ...
    sox -t wav PATH -t wav - speed 0.9 |                Kaldi's speed copy, also of audio in an archive (wav-copy);
                                                        computed here, sox is not run
    wav.ark:5                                           audio within an archive, of Kaldi's wav-copy or kaldiio
    any other command |                                 writes a WAV file; run only if `allow_pipes` is true

Errors name the file, the problem and the remedy; callers add the utterance.
"""

import io
import math
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sv.audio.ark_audio import read_entry, split_entry
from sv.audio.containers import check_container, truncated
from sv.audio.durations import check_range
from sv.audio.mute_mpg123 import MUTE_MPG123
from sv.errors import MAX_RATE, MIN_RATE, UserError

Waveform = NDArray[np.float32]  # (samples,)

ENDINGS = (  # of files that libsndfile reads; it also reads others
    *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aiff", "aif", "aifc", "au", "snd"),
    *("sph", "nist", "wv1", "wv2", "w64", "rf64", "caf"),
)
UNREADABLE = ("m4a", "mp4", "aac", "wma", "amr", "webm", "3gp")  # of audio that must be converted first

TO_MONO = "make it mono first (local/convert_audio.sh, or ffmpeg -i IN -ac 1 OUT)"
_LONGEST = 1 << 40  # samples; libsndfile's "length unknown" is more


@dataclass(frozen=True)
class AudioInfo:
    """Contents of a header; for a speed copy, `samples` and `duration_s` are those of the copy."""

    samples: int
    sample_rate: int
    channels: int

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Source:
    """A parsed `wav.scp` value: a file and its speed, or a command."""

    path: str = ""
    speed: float = 1.0
    command: str = ""


def parse_source(spec: str) -> Source:
    """Parse a `wav.scp` value.

    Raises:
        UserError: the factor of a speed copy is not a number from 0.1 to 10.
    """
    spec = spec.strip()
    if not spec.endswith("|"):
        return Source(path=spec)
    command = spec[:-1].strip()
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    match words:
        case ["sox", "-t", _, path, "-t", "wav", "-", "speed", factor] if path != "-":
            if not re.fullmatch(r"\d+(\.\d+)?", factor) or not 0.1 <= float(factor) <= 10:
                raise UserError(f"{spec[:200]}: speed {factor!r} is not a number from 0.1 to 10; correct wav.scp")
            return Source(path=path, speed=float(factor))
        case ["wav-copy", path, "-", "|", "sox", "-t", "wav", "-", "-t", "wav", "-", "speed", factor]:
            return parse_source(f"sox -t wav {shlex.quote(path)} -t wav - speed {factor} |")
    return Source(command=command)


def info(spec: str, allow_pipes: bool = False) -> AudioInfo:
    """Read length, sample rate and channels of a `wav.scp` value, from the header alone (a command must be run).

    Raises:
        UserError: as `read_wav`, but rate and channels are not checked.
    """
    source = parse_source(spec)
    with _open(source, allow_pipes) as f:
        header = AudioInfo(f.frames, f.samplerate, f.channels)
    old, new = resample_rates(header.sample_rate, source.speed)
    return replace(header, samples=-(-header.samples * new // old))


def read_wav(
    spec: str,
    sample_rate: int,
    allow_pipes: bool = False,
    start: int = 0,
    end: int | None = None,
    *,
    checked: bool = False,
) -> Waveform:
    """Read samples `start` to `end` of a `wav.scp` value: (samples,) float32 in [-1, 1].

    Only this part is decoded if the format can seek (WAV, FLAC) and the speed is not changed.

    Args:
        spec: value in `wav.scp`.
        sample_rate: Hz; a file of another rate is refused.
        allow_pipes: run commands; a `wav.scp` from elsewhere may hold any.
        start, end: in samples of the (speed-perturbed) waveform; `end` None is its end.
        checked: the file's container was checked by an earlier read, and is not looked at again.

    Raises:
        UserError: the file is missing, unreadable, truncated or empty, has several channels, another rate or NaN, or
            is shorter than the range.
    """
    source = parse_source(spec)
    name = source.path or f"{source.command} |"
    with _open(source, allow_pipes, checked) as f:
        _check_format(f, name, sample_rate)
        if source.speed != 1.0:
            return _cut(change_speed(_decode(f, name, 0, f.frames), sample_rate, source.speed), name, start, end)
        stop = f.frames if end is None else end
        check_range(name, start, stop, f.frames)
        return _decode(f, name, start, stop)


def read_file(path: str) -> tuple[Waveform, int]:
    """Read a whole file of any rate: (samples,) float32 in [-1, 1], and Hz; a path that ends with "|" is no command.

    Raises:
        UserError: as `read_wav`, but any rate from 1 to 384 kHz is accepted.
    """
    with _open(Source(path=path), allow_pipes=False) as f:
        _check_format(f, path, f.samplerate)
        return _decode(f, path, 0, f.frames), f.samplerate


def read_channel(
    spec: str,
    choose: Callable[[AudioInfo], tuple[int, int, int]],
    allow_pipes: bool = False,
    *,
    checked: bool = False,
) -> tuple[Waveform, int]:
    """Read a part of one channel of a file of any sample rate, such as noise or impulse responses.

    Args:
        spec: value in `wav.scp`, not a speed copy.
        choose: maps the header to the channel, the first sample and the one after the last.
        allow_pipes: run commands.
        checked: as in `read_wav`.

    Returns:
        (samples,) float32 in [-1, 1], and the sample rate in Hz.

    Raises:
        UserError: as `read_wav`, but any number of channels and any rate are accepted.
    """
    source = parse_source(spec)
    with _open(source, allow_pipes, checked) as f:
        name = source.path or f"{source.command} |"
        if f.frames == 0:
            raise UserError(f"{name}: no samples; leave it out")
        channel, start, stop = choose(AudioInfo(f.frames, f.samplerate, f.channels))
        samples = _decode(f, name, start, stop)
        return samples if samples.ndim == 1 else np.ascontiguousarray(samples[:, channel]), f.samplerate


def read_sound(file: BinaryIO, name: str, sample_rate: int, start: int, end: int, *, checked: bool = False) -> Waveform:
    """Read samples `start` to `end` of an open file, as `read_wav`.

    Args:
        file: at its beginning, able to seek.
        name: name of the file, for error messages.
        sample_rate: Hz; another rate is refused.
        start, end: in samples.
        checked: as in `read_wav`.
    """
    with _open_sound(file, name, checked) as f:
        _check_format(f, name, sample_rate)
        check_range(name, start, end, f.frames)
        return _decode(f, name, start, end)


def sound_length(file: BinaryIO, name: str) -> tuple[int, int]:
    """Read the number of samples and the sample rate in Hz of an open file, from its header.

    Raises:
        UserError: the file cannot be read, is empty or truncated, or has several channels.
    """
    with _open_sound(file, name) as f:
        _check_format(f, name, f.samplerate)
        return f.frames, f.samplerate


def change_speed(waveform: Waveform, sample_rate: int, speed: float) -> Waveform:
    """Change the speed as sox's `speed` does: above 1, speech becomes faster and higher; (samples / speed,) float32."""
    import torch  # takes seconds to load, and few callers need it
    from torchaudio.functional import resample

    old, new = resample_rates(sample_rate, speed)
    return resample(torch.from_numpy(waveform), old, new).numpy()


def resample_rates(sample_rate: int, speed: float) -> tuple[int, int]:
    """Return the rates to resample from and to for a change of speed, without their common factor."""
    old, new = round(sample_rate * speed), sample_rate
    common = math.gcd(old, new)
    return old // common, new // common


def _open(source: Source, allow_pipes: bool, checked: bool = False) -> soundfile.SoundFile:
    if source.command:
        return _open_sound(io.BytesIO(_run(source.command, allow_pipes)), f"{source.command} |")
    path = source.path
    if not os.path.isfile(path):
        if entry := split_entry(path):
            return _open_sound(io.BytesIO(read_entry(*entry)), path)
        what = (
            "is a folder; give a file" if os.path.isdir(path) else "does not exist; bring it back or correct the path"
        )
        raise UserError(f"{path} {what}")
    return _open_sound(path, path, checked)


class _Sound(soundfile.SoundFile):
    """A file of which one part is read: soundfile itself seeks again after a read, and FLAC decodes for that."""

    def seekable(self) -> bool:
        return False


def _open_sound(file: str | BinaryIO, name: str, checked: bool = False) -> soundfile.SoundFile:
    mended = b""
    try:
        if not checked:
            with open(file, "rb") if isinstance(file, str) else nullcontext(file) as plain:
                mended = check_container(plain, name)
                plain.seek(0)
        raw = os.fsencode(file) if isinstance(file, str) else file  # a name may not be UTF-8
        with MUTE_MPG123 if name.lower().endswith(".mp3") else nullcontext():
            f = _Sound(io.BytesIO(mended) if mended else raw)
    except (soundfile.SoundFileError, OSError) as error:
        if isinstance(file, str) and os.path.getsize(file) == 0:
            raise UserError(f"{name}: empty file; bring it back or leave it out") from error
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        remedy = "is it complete, and audio?"
        if name.endswith((".m4a", ".mp4")):
            remedy = "convert m4a first (local/convert_audio.sh, or ffmpeg -i IN -ac 1 OUT)"
        elif _is_shorten(file):
            reason, remedy = "SPHERE compressed by shorten", "expand it first (sph2pipe -f wav IN OUT)"
        raise UserError(f"{name}: cannot be read as audio ({reason}); {remedy}") from error
    if f.frames > _LONGEST:
        f.close()
        raise UserError(f"{name}: its header does not say how long it is; write it again")
    if not MIN_RATE <= f.samplerate <= MAX_RATE:
        rate = f.samplerate
        f.close()
        raise UserError(f"{name}: {rate} Hz by its header, {MIN_RATE} to {MAX_RATE} expected; write it again")
    return f


def _is_shorten(file: str | BinaryIO) -> bool:
    """Tell whether a SPHERE file, by its header, holds samples that shorten compressed."""
    with open(file, "rb") if isinstance(file, str) else nullcontext(file) as f:
        f.seek(0)
        head: bytes = f.read(1024)
    return head.startswith(b"NIST_1A") and b"shorten" in head


def _run(command: str, allow_pipes: bool) -> bytes:
    if not allow_pipes:
        raise UserError(f"{command[:200]} |: a command in wav.scp runs only with --allow-pipes true; read it first")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise UserError(
            f"{command[:200]} |: ended with status {done.returncode}: {' '.join(last)[:200]}; correct wav.scp"
        )
    return done.stdout


def _check_format(f: soundfile.SoundFile, name: str, sample_rate: int) -> None:
    if f.channels != 1:
        raise UserError(f"{name}: {f.channels} channels, 1 expected; {TO_MONO}")
    if f.samplerate != sample_rate:
        raise UserError(
            f"{name}: {f.samplerate} Hz, {sample_rate} Hz expected; resample it first (local/convert_audio.sh), "
            f"or use a system for {f.samplerate} Hz (dataset_args.fbank_args.sample_rate)"
        )
    if f.frames == 0:
        raise UserError(f"{name}: no samples; bring it back or leave it out")


def _decode(f: soundfile.SoundFile, name: str, start: int, stop: int) -> Waveform:
    try:
        with MUTE_MPG123 if f.format == "MP3" else nullcontext():
            if start:
                f.seek(start)
            waveform: Waveform = f.read(stop - start, dtype="float32")
    except soundfile.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise UserError(f"{name}: damaged or truncated ({reason}); bring it back or leave it out") from error
    if len(waveform) != stop - start:
        raise truncated(name, f"{f.frames} samples", f"{start + len(waveform)}")
    if f.subtype in ("FLOAT", "DOUBLE") and not np.isfinite(waveform).all():
        raise UserError(f"{name}: NaN or infinite samples; write it again or leave it out")
    return waveform


def _cut(waveform: Waveform, name: str, start: int, end: int | None) -> Waveform:
    stop = len(waveform) if end is None else end
    check_range(name, start, stop, len(waveform))
    return waveform[start:stop]
