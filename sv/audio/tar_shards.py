"""Tar shards of utterances, in WebDataset's convention, and an index beside each for reading any part of them.

    shards_000000000.tar       KEY.spk (speaker), KEY.json (utt, sample_rate, num_samples), KEY.flac or KEY.wav (audio)
    shards_000000000.tar.idx   "utt spk ending sample_rate num_samples offset size crc32", a line an utterance

An utterance id1/x/00001.wav has the key id1/x/00001. WebDataset ends a key at the first dot of its last part: further
dots there are written %2E. WeSpeaker's shards (keys id1/x/00001.wav, cut at the last dot; no .json) are read as well.
A shard without an index, or changed since, is indexed from its headers when it is first read.
"""

import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from sv.audio.files import ENDINGS, read_sound, sound_length
from sv.errors import UserError, log
from sv.io import atomic_write, check_id, read_path

_BLOCK = tarfile.BLOCKSIZE
_MAKE_AGAIN = "make it again (steps/make_shards.sh)"


@dataclass(frozen=True)
class Entry:
    """The place of an utterance in its shard.

    Attributes:
        utt, spk: ids.
        ending: format of its audio: "flac", "wav".
        sample_rate: Hz.
        num_samples: number of samples of the utterance.
        offset, size: place of the audio's bytes within the shard.
        crc32: checksum of those bytes, in hexadecimal; "-" if nobody has read them.
    """

    utt: str
    spk: str
    ending: str
    sample_rate: int
    num_samples: int
    offset: int
    size: int
    crc32: str = "-"


@dataclass(frozen=True)
class Recording:
    """An utterance to be written to a shard: the bytes of its audio file, its speaker, rate and length."""

    utt: str
    spk: str
    ending: str
    audio: bytes
    sample_rate: int
    num_samples: int


class FilePart(io.RawIOBase):
    """Some bytes of an open file as a file of their own; several of the same file may be in use at a time.

    Args:
        fd: descriptor of the file, which stays open.
        offset, size: place of the bytes.
    """

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd, self._offset, self._size, self._at = fd, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        self._at = place + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._fd, [view], self._offset + self._at)
        self._at += count
        return count


def key_of(utt: str) -> str:
    """Return the key of an utterance: its id without `.wav`, and without a dot in its last part."""
    folder, slash, name = utt.rpartition("/")
    return f"{folder}{slash}{name.removesuffix('.wav').replace('%', '%25').replace('.', '%2E')}"


def index_path(shard: Path) -> Path:
    """Return the path of a shard's index."""
    return shard.with_name(f"{shard.name}.idx")


def write_shard(shard: Path, recordings: Iterable[Recording]) -> list[Entry]:
    """Write a shard, and then its index; each appears whole or not at all."""
    entries = []
    with atomic_write(shard, "wb") as f, tarfile.open(fileobj=f, mode="w:", format=tarfile.GNU_FORMAT) as tar:
        for one in recordings:
            key = key_of(one.utt)
            about = {"utt": one.utt, "sample_rate": one.sample_rate, "num_samples": one.num_samples}
            _add(tar, f"{key}.spk", one.spk.encode())
            _add(tar, f"{key}.json", json.dumps(about).encode())
            offset = _add(tar, f"{key}.{one.ending}", one.audio)
            crc32 = f"{zlib.crc32(one.audio):08x}"
            entries.append(
                Entry(one.utt, one.spk, one.ending, one.sample_rate, one.num_samples, offset, len(one.audio), crc32)
            )
    _write_index(shard, entries)
    return entries


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member, without time and owner, so that shards of the same content are equal; return where it begins."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - -(-len(content) // _BLOCK) * _BLOCK


def _write_index(shard: Path, entries: Iterable[Entry]) -> None:
    with atomic_write(index_path(shard)) as f:
        f.writelines(" ".join(map(str, astuple(entry))) + "\n" for entry in entries)


def read_entries(shard: Path) -> list[Entry]:
    """Read the index of a shard; make it from the shard if it is missing or out of date.

    Raises:
        UserError: the shard is missing, truncated, no tar, or without utterances; or the index is damaged.
    """
    if not shard.is_file():
        raise UserError(f"{shard} does not exist; bring it back, or {_MAKE_AGAIN}")
    index = index_path(shard)
    if index.is_file() and index.stat().st_mtime_ns >= shard.stat().st_mtime_ns:
        return _read_index(shard, index)
    entries = list(scan_shard(shard))
    try:
        _write_index(shard, entries)
    except OSError as error:
        log.warning("%s cannot be written (%s); the shard will be scanned each time", index, error.strerror)
    return entries


def _read_index(shard: Path, index: Path) -> list[Entry]:
    entries, size = [], shard.stat().st_size
    with open(index, encoding="utf-8") as f:
        for number, line in enumerate(f, start=1):
            try:
                utt, spk, ending, rate, length, offset, bytes_, crc32 = line.split()
                entry = Entry(utt, spk, ending, int(rate), int(length), int(offset), int(bytes_), crc32)
            except ValueError:
                raise UserError(f"{index}:{number}: damaged; remove the index, which will be made again") from None
            if entry.offset + entry.size > size:
                raise UserError(
                    f"{shard}: truncated: it has {size} bytes, and {utt} would end after them; {_MAKE_AGAIN}"
                )
            entries.append(entry)
    if not entries:
        raise UserError(f"{index} is empty; remove it, and it will be made again")
    return entries


def scan_shard(shard: Path) -> Iterator[Entry]:
    """Yield the utterances of a shard, read from the headers of its members and of their audio.

    Raises:
        UserError: truncated, no tar, an utterance without speaker, audio that cannot be read, or no utterance.
    """
    found = 0
    try:
        with open(shard, "rb") as f, tarfile.open(fileobj=f, mode="r:") as tar:
            for key, members in _grouped(tar):
                ending = next((ending for ending in ENDINGS if ending in members), "")
                if ending:
                    found += 1
                    yield _entry(shard, tar, f.fileno(), key, ending, members)
            if tar.offset > os.fstat(f.fileno()).st_size - _BLOCK:  # there is no end mark after the last member
                raise tarfile.ReadError("unexpected end of data")
    except tarfile.TarError as error:
        raise UserError(f"{shard}: truncated or no tar file ({error}); bring it back, or {_MAKE_AGAIN}") from error
    if not found:
        raise UserError(f"{shard} holds no utterances (KEY.spk and KEY.wav or KEY.flac); {_MAKE_AGAIN}")


def _grouped(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield successive members of the same key, by ending; a key ends at the last dot."""
    last, members = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        key, _, ending = member.name.rpartition(".")
        if key != last and members:
            yield last, members
            members = {}
        last = key
        if member.isfile():
            members[ending] = member
    if members:
        yield last, members


def _entry(
    shard: Path, tar: tarfile.TarFile, fd: int, key: str, ending: str, members: dict[str, tarfile.TarInfo]
) -> Entry:
    if "spk" not in members:
        raise UserError(f"{shard}: {key}.{ending} has no speaker ({key}.spk before or after it); {_MAKE_AGAIN}")
    spk, audio = _text(tar, members["spk"], shard), members[ending]
    about = {}
    if "json" in members:
        try:
            about = json.loads(_text(tar, members["json"], shard))
        except ValueError:
            raise UserError(f"{shard}: {key}.json is not JSON; {_MAKE_AGAIN}") from None
    if not isinstance(about, dict) or not {"utt", "sample_rate", "num_samples"} <= about.keys():
        with io.BufferedReader(FilePart(fd, audio.offset_data, audio.size)) as sound:
            length, rate = sound_length(sound, f"{shard}: {audio.name}")
        about = {"utt": key, "sample_rate": rate, "num_samples": length}
    utt = check_id(str(about["utt"]), f"{shard}: {key}")
    rate, length = int(about["sample_rate"]), int(about["num_samples"])
    return Entry(utt, check_id(spk, f"{shard}: {key}.spk"), ending, rate, length, audio.offset_data, audio.size)


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> str:
    content = tar.extractfile(member)
    assert content is not None, "members are files"
    try:
        return content.read().decode().strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{shard}: {member.name} is not UTF-8 text ({error.reason}); {_MAKE_AGAIN}") from error


def read_shard_list(path: Path) -> list[Path]:
    """Read a list of shards, a path a line (`read_path`); one that does not exist is looked for in the list's folder.

    Raises:
        UserError: the list is missing or empty, or names a shard twice.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; make shards with steps/make_shards.sh (stage 2)")
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path} is empty; make shards with steps/make_shards.sh (stage 2)")
    if twice := next((name for n, name in enumerate(names) if name in names[:n]), ""):
        raise UserError(f"{path}: {twice} comes twice; leave one of them out")
    paths = [read_path(name, path.parent) for name in names]
    return [Path(name) if os.path.exists(name) else path.parent / name for name in paths]


def check_shard(shard: Path) -> Iterator[str]:
    """Compare each utterance with its checksum, or decode it if it has none; yield a line for each damaged one."""
    entries = read_entries(shard)
    with open(shard, "rb") as f:
        for entry in entries:
            f.seek(entry.offset)
            if fault := _fault(f.read(entry.size), entry, f"{shard}: {entry.utt}"):
                yield f"{fault}; {_MAKE_AGAIN}"


def _fault(content: bytes, entry: Entry, name: str) -> str:
    """Return what is wrong with an utterance's file, or ""."""
    if entry.crc32 != "-":
        same = f"{zlib.crc32(content):08x}" == entry.crc32
        return "" if same else f"{name}: its bytes are not those that were written"
    try:
        read_sound(io.BytesIO(content), name, entry.sample_rate, 0, entry.num_samples)
    except UserError as error:
        return str(error)
    return ""
