"""Files from elsewhere: fetched with resume and checksum, and archives unpacked without surprises.

A file that comes in is NAME.part; it gets its name when its length and its MD5 (where one is known) are right, and
then a note NAME.ok, so that a later run neither fetches it nor works out the MD5 again.
"""

import hashlib
import http.client
import io
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from sv.errors import UserError, log
from sv.io import atomic_write
from sv.io.atomic import temporary_name
from sv.jobs.disk import check_free

BLOCK = 1 << 20
TRIES = 5
TIMEOUT_S = 60.0
SPARE_BYTES = 1 << 28  # free disk that is left alone


@dataclass(frozen=True)
class Remote:
    """A file elsewhere.

    Args:
        url: https, http or file.
        md5: of its content; "" if nobody has published one.
        token: sent as "Authorization: Bearer", to this server but not to where it redirects.
        secret: a part of the url that is never shown.
        remedy: what to do when the server refuses.
    """

    url: str
    md5: str = ""
    token: str = ""
    secret: str = ""
    remedy: str = "look for another source, or copy the file there yourself"

    @property
    def shown(self) -> str:
        """The url, as it may be printed."""
        return self.url.replace(self.secret, "***") if self.secret else self.url


class Interrupted(Exception):
    """The connection broke; what came so far is kept."""


def fetch(remote: Remote, path: Path, *, tries: int = TRIES, pause_s: float = 5.0) -> None:
    """Bring a file to `path`, or go on with what an earlier call began.

    Args:
        remote: where from.
        path: where to; its folder is made.
        tries: attempts, each of which goes on where the last one ended.
        pause_s: between two attempts.

    Raises:
        UserError: refused, not found, broken off `tries` times, a web page instead of a file, a wrong MD5, a full disk.
    """
    if is_checked(path, remote.md5):
        log.info("%s is there already", path)
        return
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        for attempt in range(1, tries + 1):
            try:
                _receive(remote, partial)
                break
            except Interrupted as error:
                log.warning("%s: %s (attempt %d of %d)", remote.shown, error, attempt, tries)
                if attempt == tries:
                    raise UserError(f"{remote.shown}: {error}; run the same command again, it goes on") from error
                time.sleep(pause_s)
        partial.replace(path)
    check(path, remote.md5)


def bytes_to_come(files: Mapping[Path, Remote]) -> int | None:
    """What fetching these would still bring, 0 if all are here; None if the server does not tell the length of one."""
    total = 0
    for path, remote in files.items():
        if path.exists():
            continue
        length = _length(remote)
        if length is None:
            return None
        partial = path.with_name(path.name + ".part")
        total += length - (partial.stat().st_size if partial.exists() else 0)
    return total


def _length(remote: Remote) -> int | None:
    """Bytes of a file elsewhere, None if the server does not tell; fetching it will say why."""
    request = urllib.request.Request(remote.url, method="HEAD")
    if remote.token:
        request.add_unredirected_header("Authorization", f"Bearer {remote.token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length")
    except (OSError, http.client.HTTPException):  # URLError and HTTPError are OSErrors
        return None
    return int(length) if length else None


def is_checked(path: Path, md5: str) -> bool:
    """Whether `path` was found good before, and has the same size since."""
    note = path.with_name(path.name + ".ok")
    return path.is_file() and note.is_file() and note.read_text().split() == [md5 or "-", str(path.stat().st_size)]


def check(path: Path, md5: str) -> None:
    """Compare a file with its MD5 and leave a note if it is right.

    Raises:
        UserError: it is another; then it is removed.
    """
    if is_checked(path, md5):
        return
    if md5 and (found := md5_of(path)) != md5:
        path.unlink()
        raise UserError(
            f"{path}: MD5 {found}, not {md5}: damaged or not the right file; removed; run the command again"
        )
    if not md5:
        log.warning("%s: no published checksum; taken as it is", path)
    with atomic_write(path.with_name(path.name + ".ok")) as f:
        f.write(f"{md5 or '-'} {path.stat().st_size}\n")


def md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as f, _progress(f"checking {path.name}", path.stat().st_size) as bar:
        while block := f.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def _progress(what: str, total: int | None, initial: int = 0) -> "tqdm[Any]":
    return tqdm(desc=what, total=total, initial=initial, unit="B", unit_scale=True, disable=None, leave=False)


def _receive(remote: Remote, partial: Path) -> None:
    """One attempt: append to `partial` until all is there."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    if remote.token:
        request.add_unredirected_header("Authorization", f"Bearer {remote.token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if have and answer.status != 206:
                have = 0  # the server does not do ranges
            _check_answer(answer, remote)
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            check_free({partial.parent: (total or have) - have + SPARE_BYTES})
            with open(partial, "ab" if have else "wb") as f, _progress(partial.stem, total, have) as bar:
                have += _copy(answer, f, bar)
            if total is not None and have != total:
                raise Interrupted(f"broken off after {have} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all was there
        if error.code == 416:
            partial.unlink()
            raise Interrupted("what was there is longer than the file; started over") from error
        if error.code in (429, 500, 502, 503, 504):
            raise Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise UserError(f"{remote.shown}: the server answers {error.code} {error.reason}; {remote.remedy}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise UserError(f"{remote.shown} does not exist; {remote.remedy}") from error
        raise Interrupted(str(error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise Interrupted(f"broken off ({error or type(error).__name__})") from error


def _check_answer(answer: Any, remote: Remote) -> None:
    kind = answer.headers.get_content_type()
    if kind == "text/html" and not remote.url.endswith((".html", ".txt")):
        raise UserError(f"{remote.shown}: the server answers with a web page, not the file; {remote.remedy}")


def _copy(source: IO[bytes], target: IO[bytes], bar: "tqdm[Any]") -> int:
    copied = 0
    while block := source.read(BLOCK):
        target.write(block)
        copied += len(block)
        bar.update(len(block))
    return copied


class JoinedFiles(io.RawIOBase):
    """Several files read as one: a split archive need not be put together first."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115 (closed in close)
        self._sizes = [path.stat().st_size for path in paths]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: sum(self._sizes)}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        start = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if self._position < start + size:
                file.seek(self._position - start)
                count = file.readinto(memoryview(buffer)[: start + size - self._position])
                self._position += count
                return count
            start += size
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def _safe_path(target: Path, name: str, archive: str) -> Path:
    """Where a member of an archive goes.

    Raises:
        UserError: outside of `target`.
    """
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise UserError(f"{archive}: {name!r} would land outside of {target}; not unpacked: is it the right file?")
    return target / name


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name, renamed when whole; without sync, which a million files can not afford."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as f:
            yield f
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_unpacked(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def unzip(parts: Sequence[Path], target: Path) -> int:
    """Unpack a zip, given whole or in parts, and return the number of files; those there with the right size are kept.

    Raises:
        UserError: not a zip, damaged, encrypted, a member that would land outside of `target`, or too little free disk.
    """
    name = f"{parts[0]}" + (f" and {len(parts) - 1} more" if len(parts) > 1 else "")
    try:
        with JoinedFiles(parts) as joined, zipfile.ZipFile(io.BufferedReader(joined, BLOCK)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise UserError(f"{name}: {member.filename} is a link; not unpacked")
                _safe_path(target, member.filename, name)
            missing = [member for member in members if not _is_unpacked(target / member.filename, member.file_size)]
            check_free({target: sum(member.file_size for member in missing)})
            for member in tqdm(missing, desc=f"unpacking {parts[0].name}", disable=None, leave=False):
                with archive.open(member) as source, _unpacked(target / member.filename) as f:
                    shutil.copyfileobj(source, f, BLOCK)
            return len(members)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{name}: can not be unpacked ({error}); remove it and run the same command again") from error


def untar(archive: Path, target: Path) -> int:
    """Unpack a tar (compressed or not) of files and folders, and return the number of files.

    Raises:
        UserError: not a tar, damaged, or a member that is a link or would land outside of `target`.
    """
    count = 0
    try:
        with tarfile.open(archive) as tar:
            for member in tqdm(tar, desc=f"unpacking {archive.name}", disable=None, leave=False):
                path = _safe_path(target, member.name, str(archive))
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                source = tar.extractfile(member) if member.isreg() else None
                if source is None:
                    raise UserError(f"{archive}: {member.name} is neither file nor folder; not unpacked")
                with _unpacked(path) as f:
                    shutil.copyfileobj(source, f, BLOCK)
                count += 1
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's, not the archive's
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UserError(
            f"{archive}: can not be unpacked ({reason}); remove it and run the same command again"
        ) from error
    return count
