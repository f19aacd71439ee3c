"""Check that an audio file holds all the audio that its header promises.

libsndfile reads up to the end of the file or the length in the header, whichever comes first, and reports no error. So
a file cut in half passes as a shorter one, and so does one whose recorder was killed before it wrote the final size. If
an MP3 has no length in its header, libsndfile computes it from the first bit rate.
"""

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from sv.errors import UserError

_STREAM_SIZES = 0x7FFF0000  # a program that does not know the length yet writes a 32-bit size from here on
_PADDING = 512  # bytes after the samples that are taken for padding, such as that to a sector
_OGG_PAGE = 65307  # bytes of the longest page
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # after the frames of an MP3
_OGG_STREAM = re.compile(rb"OggS\0[\2\3\6\7]", re.DOTALL)  # a page that begins a stream
_FLAC_STREAM = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # its first block has 34 bytes
_BIT_RATES = {  # kbit/s of layer III, by the header's index, of MPEG 1 and of MPEG 2 and 2.5
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version


@dataclass(frozen=True)
class _Chunks:
    """The layout of a container's chunks: an id, a size, the content, padding."""

    start: int  # of the first chunk
    id_bytes: int
    size: str  # format of struct
    data: tuple[bytes, ...]  # how the id of the chunk with the samples begins
    align: int = 2
    size_has_head: bool = False


_CHUNKED = {
    b"RIFF": _Chunks(12, 4, "<I", (b"data",)),
    b"RIFX": _Chunks(12, 4, ">I", (b"data",)),
    b"RF64": _Chunks(12, 4, "<I", (b"data",)),
    b"FORM": _Chunks(12, 4, ">I", (b"SSND", b"BODY")),
    b"riff": _Chunks(40, 16, "<Q", (b"data",), align=8, size_has_head=True),  # Sony's W64
    b"caff": _Chunks(8, 4, ">q", (b"data",), align=1),
}


def check_container(file: BinaryIO, name: str) -> bytes:
    """Check that a file holds what its header promises, for the formats in which that can be known.

    These are WAV, RF64, W64, AIFF, CAF, AU, VOC, SPHERE, Ogg and MP3. A FLAC file is checked as it is decoded. Ogg and
    FLAC files may be several that were joined, of which libsndfile reads the first alone.

    Args:
        file: able to seek; left at any place.
        name: name of the file, for error messages.

    Returns:
        The content to read in place of the file's, where its header does not give the length: MP3 without a length or
        with a wrong one, and WAV and AU with a size of 0. Else b"".

    Raises:
        UserError: the file is truncated, or has more samples than its header counts.
    """
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(32)
    if head[:4] in _CHUNKED:
        return _check_chunks(file, name, _CHUNKED[head[:4]], total)
    if head.startswith(b".snd") and len(head) == 32:
        offset, size = struct.unpack(">II", head[4:12])
        return _check_samples(file, name, (offset, total), size, 8, ">I")
    if head.startswith(b"NIST_1A"):
        _check_sphere(file, name, total)
    elif head.startswith(b"OggS"):
        _check_ogg(file, name, total)
    elif head.startswith(b"Creative Voice File\x1a"):
        _check_voc(file, name, total)
    elif head.startswith(b"fLaC"):
        _check_one_stream(file, name, _FLAC_STREAM)
    elif head.startswith(b"ID3") or _mpeg_sizes(head):
        return _check_mp3(file, name, total)
    return b""


def truncated(name: str, promised: str, present: object) -> UserError:
    """Return the error for a file that holds less than its header promises."""
    return UserError(
        f"{name}: truncated: the header promises {promised}, {present} are there; bring it back or leave it out"
    )


def _check_chunks(file: BinaryIO, name: str, layout: _Chunks, total: int) -> bytes:
    head_bytes = layout.id_bytes + struct.calcsize(layout.size)
    chunk, long_size = layout.start, 0
    while chunk + head_bytes <= total:
        file.seek(chunk)
        kind = file.read(layout.id_bytes)
        (size,) = struct.unpack(layout.size, file.read(head_bytes - layout.id_bytes))
        size -= head_bytes if layout.size_has_head else 0
        if kind == b"ds64":
            _, long_size = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        elif kind.startswith(layout.data):
            if kind == b"data" and long_size and size == 0xFFFFFFFF:
                size = long_size
            if size < 0 or (head_bytes == 8 and size >= _STREAM_SIZES and not long_size):
                return b""
            begin = chunk + head_bytes
            if _has_chunks(file, layout, begin + size + -size % layout.align, total):
                return b""
            return _check_samples(file, name, (begin, total), size, chunk + 4, layout.size)
        if size < 0:
            return b""
        chunk += head_bytes + size + -size % layout.align
    return b""


def _has_chunks(file: BinaryIO, layout: _Chunks, at: int, total: int) -> bool:
    """Return whether chunks, and no samples, follow the chunk of the samples; a byte of padding may be missing."""
    head_bytes = layout.id_bytes + struct.calcsize(layout.size)
    for chunk in (at, at - 1):
        file.seek(chunk)
        head = file.read(head_bytes)
        if len(head) == head_bytes and re.match(rb"[A-Za-z0-9_ ]{4}", head):
            (size,) = struct.unpack(layout.size, head[layout.id_bytes :])
            if 0 <= size <= total - chunk:
                return True
    return False


def _check_samples(
    file: BinaryIO, name: str, span: tuple[int, int], promised: int, size_at: int, size_format: str
) -> bytes:
    """Compare the bytes of samples that are promised with those that are there, from span[0] to span[1]."""
    present = span[1] - span[0]
    if size_format == ">I" and promised >= _STREAM_SIZES:
        return b""
    if promised > present:
        raise truncated(name, f"{promised} bytes of samples", present)
    if present - promised <= _PADDING:
        return b""
    file.seek(0)
    content = file.read()
    if not content[span[0] + promised :].strip(b"\0"):
        return b""
    if promised == 0 and content[:4] in (b"RIFF", b"RIFX", b".snd"):
        return content[:size_at] + b"\xff\xff\xff\xff" + content[size_at + 4 :]
    if promised <= 8 and content[:4] in (b"FORM", b"riff"):  # libsndfile reads these to the end of the file
        return b""
    raise UserError(
        f"{name}: the header counts {promised} bytes of samples, {present} are there (its recorder was killed?); "
        "write it again (sox --ignore-length IN OUT) or leave it out"
    )


def _check_sphere(file: BinaryIO, name: str, total: int) -> None:
    """Compare the number of samples in a SPHERE header with the length of the file; compressed ones have no rule."""
    file.seek(0)
    lines = file.read(16).split(b"\n")
    begin = int(lines[1]) if len(lines) > 1 and lines[1].strip().isdigit() else 1024
    file.seek(0)
    fields = dict(re.findall(r"^(\w+) -\w+ (\S+)", file.read(begin).decode("latin-1"), re.MULTILINE))
    sizes = [fields.get(field, "") for field in ("sample_count", "channel_count", "sample_n_bytes")]
    if "," in fields.get("sample_coding", "") or not all(size.isdigit() for size in sizes):
        return
    count, channels, width = map(int, sizes)
    if count:
        _check_samples(file, name, (begin, total), count * channels * width, 0, "text")


def _check_voc(file: BinaryIO, name: str, total: int) -> None:
    """Check that the blocks of a VOC file, each a type and a size of three bytes, are whole."""
    file.seek(20)
    at = int.from_bytes(file.read(2), "little")
    while at + 4 <= total:
        file.seek(at)
        kind, *size = file.read(4)
        if kind == 0:  # the end
            return
        at += 4 + int.from_bytes(size, "little")
    if at > total:
        raise truncated(name, f"blocks of {at} bytes", total)


def _check_ogg(file: BinaryIO, name: str, total: int) -> None:
    """Check that the last page of an Ogg file is whole and says so, and belongs to the stream of the first."""
    file.seek(0)
    first = file.read(27)
    file.seek(max(0, total - 2 * _OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    body = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else len(page) + 1
    if body > len(page) or not page[5] & 4:
        raise UserError(f"{name}: truncated: it has no last page (end of stream); bring it back or leave it out")
    if page[14:18] != first[14:18]:
        raise _several(name)
    _check_one_stream(file, name, _OGG_STREAM)


def _check_one_stream(file: BinaryIO, name: str, begin: re.Pattern[bytes]) -> None:
    """Refuse a file in which a second stream begins."""
    file.seek(0)
    if begin.search(file.read(), 1):
        raise _several(name)


def _several(name: str) -> UserError:
    return UserError(f"{name}: several streams one behind the other, and only the first would be read; write it as one")


def _mpeg_sizes(header: bytes) -> list[int]:
    """Return the bytes of an MPEG layer III frame by the third byte of its header, 0 if it is none of this stream.

    Args:
        header: header of the first frame; the others have its version and sample rate.

    Returns:
        256 sizes; an empty list if `header` is no such header.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2 or header[2] & 0x0C == 0x0C:
        return []
    version, rate = header[1] >> 3 & 3, header[2] >> 2 & 3
    if version == 1 or not 0 < header[2] >> 4 < 15:
        return []
    hertz, unit = _MPEG_RATES[version][rate], 144000 if version == 3 else 72000
    sizes = [0] * 256
    for index, kilobits in enumerate(_BIT_RATES[version or 2], 1):
        for rest in (0, 1, 2, 3):  # padding and private bit
            sizes[index << 4 | rate << 2 | rest] = unit * kilobits // hertz + (rest >> 1)
    return sizes


def _check_mp3(file: BinaryIO, name: str, total: int) -> bytes:
    """Count the frames of an MP3 file where no header gives their number, or the header is wrong."""
    start = 0
    file.seek(0)
    while (tag := file.read(10)).startswith(b"ID3") and len(tag) == 10:
        start += _id3_bytes(tag)
        file.seek(start)
    file.seek(start)
    head = file.read(2048)
    sizes = _mpeg_sizes(head)
    if not sizes:
        return b""
    frames = _length_tag(head)
    file.seek(start)
    content = file.read()
    count, end = _count_frames(content, sizes)
    count -= 1 if frames else 0  # the one that holds the number
    if count < frames:
        raise truncated(name, f"{frames} frames", count)
    if end > len(content):
        raise UserError(f"{name}: truncated: its last frame is cut short; bring it back or leave it out")
    return b"" if count == frames else _length_frame(head, count) + content[sizes[head[2]] if frames else 0 :]


def _tag_offset(header: bytes) -> int:
    """Return where a length tag is in a frame: after the header and the side information."""
    mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == 3:
        return 4 + (17 if mono else 32)
    return 4 + (9 if mono else 17)


def _length_tag(frame: bytes) -> int:
    """Return the number of frames in the tag of LAME or Xing in the first frame; 0 if it has none."""
    tag = frame[_tag_offset(frame) :]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 12:
        return 0
    flags, frames = struct.unpack(">II", tag[4:12])
    return int(frames) if flags & 1 else 0


def _length_frame(header: bytes, count: int) -> bytes:
    """Return a frame without sound that holds the number of those after it, as Xing's encoder wrote it."""
    head = bytes([0xFF, header[1] | 1, header[2] & 0x0D | 0xE0, header[3]])  # no checksum; the highest bit rate
    frame = head.ljust(_tag_offset(head), b"\0") + struct.pack(">4sII", b"Xing", 1, count)
    return frame.ljust(_mpeg_sizes(head)[head[2]], b"\0")


def _count_frames(content: bytes, sizes: list[int]) -> tuple[int, int]:
    """Return the number of frames from the start of `content`, and where the last one ends."""
    count, at, end, second = 0, 0, 0, content[1] & 0xFE
    while at + 4 <= len(content):
        size = sizes[content[at + 2]] if content[at] == 0xFF and content[at + 1] & 0xFE == second else 0
        if size:
            count, at = count + 1, at + size
            end = at
        elif content.startswith(b"ID3", at) and len(content) > at + 10:  # of another file, joined to the first
            at += _id3_bytes(content[at : at + 10])
        elif content.startswith(_TAGS, at) or (at := content.find(0xFF, at + 1)) < 0:
            break
    return count, end


def _id3_bytes(head: bytes) -> int:
    """Return the size of an ID3v2 tag that begins with these ten bytes."""
    size = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if head[5] & 0x10 else 0)
