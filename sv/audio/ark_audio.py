"""Audio inside an archive: "wav.ark:5" in wav.scp, as Kaldi's wav-copy and kaldiio write it.

RIFF...                 a WAV file, as long as its header says
AUDIO <length> ...      kaldiio: any file that libsndfile reads
"""

import re
from pathlib import Path

from sv.errors import UserError

_HEAD_BYTES = 16


def split_entry(path: str) -> tuple[str, int] | None:
    """Split "wav.ark:5" into the archive and the offset in bytes; None for another path."""
    match = re.fullmatch(r"(.+):(\d+)", path)
    return (match[1], int(match[2])) if match else None


def read_entry(ark: str, offset: int) -> bytes:
    """Read the file that stands at an offset of an archive.

    Raises:
        UserError: the archive does not exist or ends too early, or no audio of known length stands there.
    """
    if not Path(ark).is_file():
        raise UserError(f"{ark} does not exist, of {ark}:{offset}; bring it back or correct the path")
    with open(ark, "rb") as f:
        f.seek(offset)
        skip, size = _span(f.read(_HEAD_BYTES), f"{ark}:{offset}")
        f.seek(offset + skip)
        content = f.read(size)
    if len(content) < size:
        raise UserError(f"{ark}:{offset}: {size} bytes of audio promised, {len(content)} are there; it is truncated")
    return content


def _span(head: bytes, where: str) -> tuple[int, int]:
    """Return the bytes before a file, and its size, from the first bytes of its entry."""
    if head[:4] == b"RIFF" and len(head) >= 8:
        return 0, 8 + int.from_bytes(head[4:8], "little")
    if head[:5] == b"AUDIO" and len(head) == _HEAD_BYTES:
        width = head[5]  # of the length that follows
        return 6 + width, int.from_bytes(head[6 : 6 + width], "little")
    raise UserError(
        f"{where}: no audio stands here; archives are read that wav-copy or kaldiio wrote, others unpacked first"
    )
