"""Headers against content: files cut short, killed recorders, MP3 without a length; sound files of each format."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.files import info, read_wav
from sv.errors import UserError

RATE, SAMPLES = 16000, 40000
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "ulaw.wav": ("WAV", "ULAW"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "ULAW"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def speech(samples: int = SAMPLES) -> np.ndarray:
    """Return a quiet tone with a loud, noisy second half, so that a variable bit rate varies."""
    at = np.arange(samples)
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples)
    return (0.01 * np.sin(at / 12) + noise * (at > samples / 2)).astype(np.float32)


def sound(folder: Path, ending: str, samples: int = SAMPLES) -> Path:
    path = folder / f"a.{ending}"
    kind, subtype = FORMATS[ending]
    soundfile.write(path, speech(samples), RATE, format=kind, subtype=subtype)
    return path


def replace(path: Path, at: int, new: bytes) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[:at] + new + content[at + len(new) :])
    return path


def find(path: Path, text: bytes) -> int:
    return path.read_bytes().index(text)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_whole_file_is_read_whole(tmp_path: Path, ending: str) -> None:
    path = sound(tmp_path, ending)
    assert info(str(path)).samples == SAMPLES
    assert len(read_wav(str(path), RATE)) == len(read_wav(f"cat {path} |", RATE, allow_pipes=True)) == SAMPLES


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_cut_short_is_told(tmp_path: Path, ending: str, kept: float) -> None:
    path = sound(tmp_path, ending)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    for spec in (str(path), f"cat {path} |"):
        with pytest.raises(UserError, match=r"a\.[a-z0-9.|]+ ?\|?: .*truncated"):
            read_wav(spec, RATE, allow_pipes=True)
    if ending != "flac":  # whose length only decoding shows
        with pytest.raises(UserError, match="truncated"):
            info(str(path))


KILLED: dict[str, Callable[[Path], object]] = {  # counts 1,024 samples of 40,000
    "wav": lambda path: replace(path, find(path, b"data") + 4, (2048).to_bytes(4, "little")),
    "rf64": lambda path: replace(path, find(path, b"ds64") + 16, (2048).to_bytes(8, "little")),
    "w64": lambda path: replace(path, find(path, b"data") + 16, (2072).to_bytes(8, "little")),
    "aiff": lambda path: replace(path, find(path, b"SSND") + 4, (2056).to_bytes(4, "big")),
    "caf": lambda path: replace(path, find(path, b"data") + 4, (2052).to_bytes(8, "big")),
    "au": lambda path: replace(path, 8, (2048).to_bytes(4, "big")),
    "sph": lambda path: replace(path, find(path, b"count -i 40000") + 9, b"01024"),
}


@pytest.mark.parametrize("ending", KILLED)
def test_samples_behind_the_promised_ones_are_told(tmp_path: Path, ending: str) -> None:
    path = sound(tmp_path, ending)
    KILLED[ending](path)
    message = (
        r"the header counts 20\d\d bytes of samples, 800\d\d are there \(its recorder was killed\?\); write it again"
    )
    for reader in (lambda: info(str(path)), lambda: read_wav(f"cat {path} |", RATE, allow_pipes=True)):
        with pytest.raises(UserError, match=message):
            reader()


@pytest.mark.parametrize(("ending", "mark", "behind", "width"), [("wav", b"data", 4, 4), ("w64", b"data", 16, 8)])
def test_a_size_of_zero_is_that_of_a_stream(tmp_path: Path, ending: str, mark: bytes, behind: int, width: int) -> None:
    path = sound(tmp_path, ending)
    whole = read_wav(str(path), RATE)
    size = 24 if ending == "w64" else 0  # that of its own head
    replace(path, find(path, mark) + behind, size.to_bytes(width, "little"))
    assert info(str(path)).samples == SAMPLES
    assert np.array_equal(read_wav(str(path), RATE), whole)


def test_a_size_of_zero_in_big_endian_formats(tmp_path: Path) -> None:
    au, aiff, sphere = (sound(tmp_path, ending) for ending in ("au", "aiff", "sph"))
    replace(au, 8, bytes(4))
    replace(aiff, find(aiff, b"SSND") + 4, bytes(4))
    replace(sphere, find(sphere, b"count -i 40000") + 9, b"00000")
    assert [len(read_wav(str(path), RATE)) for path in (au, aiff, sphere)] == [SAMPLES] * 3


def test_what_follows_the_samples_may_be_chunks_or_padding(tmp_path: Path) -> None:
    for behind in (b"LIST\x04\0\0\0abcd", b"id3 \x06\0\0\0abcdef", bytes(4096), b"\xff" * 500):
        path = sound(tmp_path, "wav")
        path.write_bytes(path.read_bytes() + behind)
        assert len(read_wav(str(path), RATE)) == SAMPLES
    empty = sound(tmp_path, "wav", samples=0)
    empty.write_bytes(empty.read_bytes() + b"LIST" + (1000).to_bytes(4, "little") + b"a" * 1000)
    with pytest.raises(UserError, match="no samples"):
        read_wav(str(empty), RATE)


def test_ogg_without_its_last_page_is_cut(tmp_path: Path) -> None:
    for ending in ("ogg", "opus"):
        path = sound(tmp_path, ending)
        content = path.read_bytes()
        path.write_bytes(content[: content.rindex(b"OggS")])
        with pytest.raises(UserError, match=r"truncated: it has no last page \(end of stream\)"):
            info(str(path))
        path.write_bytes(content + bytes(3000))  # padding is none of it
        assert info(str(path)).samples == SAMPLES


@pytest.mark.parametrize("ending", ["ogg", "opus", "flac"])
def test_files_that_were_joined_are_told(tmp_path: Path, ending: str) -> None:
    """Also if both have one serial number, as a file behind itself."""
    path = sound(tmp_path, ending)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(UserError, match="several streams one behind the other, and only the first would be read"):
        info(str(path))


@pytest.mark.parametrize("between", [b"", b"ID3\4\0\0\0\0\2\0" + bytes(256)], ids=["bare", "tagged"])
def test_joined_mp3_files_are_counted_and_read_whole(tmp_path: Path, between: bytes) -> None:
    path = sound(tmp_path, "mp3", samples=96000)
    content, once = path.read_bytes(), info(str(path)).samples
    path.write_bytes(content + between + content)
    assert info(str(path)).samples == len(read_wav(str(path), RATE)) > 1.98 * once


def frames_of(content: bytes) -> list[int]:
    """Return the beginnings of the frames of a mono MP3 at 16 kHz, found by their first two bytes."""
    rates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    starts = [0]
    while starts[-1] < len(content):
        head = content[starts[-1] :]
        assert head[:2] == b"\xff\xf3"
        starts.append(starts[-1] + 72 * rates[head[2] >> 4] // 16 + (head[2] >> 1 & 1))
    return starts


@pytest.mark.slow
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\2\0" + bytes(256)], ids=["bare", "tagged"])
def test_mp3_without_a_length_is_counted(tmp_path: Path, tag: bytes) -> None:
    """Its bit rate rises, so that an estimate from the first frames says too much."""
    path = sound(tmp_path, "mp3", samples=96000)
    content, whole = path.read_bytes(), read_wav(str(path), RATE)
    starts = frames_of(content)
    path.write_bytes(tag + content[starts[1] :] + b"TAG".ljust(128, b"\0"))
    found = read_wav(str(path), RATE)
    assert len(found) == info(str(path)).samples == (len(starts) - 2) * 576 - 529
    assert abs(len(found) - 96000) < 2 * 576
    near = [np.corrcoef(found[shift : shift + 80000], whole[:80000])[0, 1] for shift in range(2000)]
    assert max(near) > 0.999


def test_mp3_with_a_wrong_length_is_counted(tmp_path: Path) -> None:
    path = sound(tmp_path, "mp3", samples=96000)
    frames = int.from_bytes(path.read_bytes()[find(path, b"Xing") + 8 :][:4], "big")
    replace(path, find(path, b"Xing") + 8, (frames // 2).to_bytes(4, "big"))
    replace(path, find(path, b"Xing") + 12, bytes(4))
    assert len(read_wav(str(path), RATE)) == frames * 576 - 529
    replace(path, find(path, b"Xing") + 12, path.stat().st_size.to_bytes(4, "big"))  # a right number of bytes
    assert len(read_wav(str(path), RATE)) == frames * 576 - 529
    replace(path, find(path, b"Xing") + 8, (2 * frames).to_bytes(4, "big"))
    with pytest.raises(UserError, match=f"truncated: the header promises {2 * frames} frames, {frames} are there"):
        info(str(path))


def test_mp3_without_a_length_that_ends_within_a_frame_is_cut(tmp_path: Path) -> None:
    path = sound(tmp_path, "mp3")
    content = path.read_bytes()
    path.write_bytes(content[frames_of(content)[1] : -5])
    with pytest.raises(UserError, match="truncated: its last frame is cut short"):
        info(str(path))


def test_text_and_other_files_have_no_container(tmp_path: Path) -> None:
    for content in (
        b"ID3",
        b"OggS",
        b"RIFF",
        b"NIST_1A\n",
        b"\xff\xf3\x88\xc4",
        b".snd",
        b"\xff\xfe" + "text".encode("utf-16-le"),
    ):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(UserError, match=re.escape("a.wav: ")):
            info(str(tmp_path / "a.wav"))
