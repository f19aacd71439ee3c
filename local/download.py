"""Fetch files with resume and checksum, and unpack archives safely.

NAME.part is a file on its way. It becomes NAME when its length and its MD5, where one is known, are right.
"""

import hashlib
import io
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from sv.errors import UserError, log
from sv.jobs.disk import check_free

BLOCK = 1 << 20
TIMEOUT_S = 60.0
SPARE_BYTES = 1 << 28  # free disk that is left alone
BUSY = (429, 500, 502, 503, 504)  # HTTP statuses after which the same request may succeed
BAR: dict[str, Any] = {"disable": None, "leave": False}  # progress is shown on a terminal only


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Args:
        url: its https, http or file address.
        md5: MD5 of its content; "" if none is published.
        token: sent as "Authorization: Bearer" to this server, but not to one that it redirects to.
        secret: part of the url that is never printed.
        remedy: what the user can do when the server refuses.
    """

    url: str
    md5: str = ""
    token: str = ""
    secret: str = ""
    remedy: str = "look for another source, or copy the file there yourself"

    @property
    def shown(self) -> str:
        """The url without its secret."""
        return self.url.replace(self.secret, "***") if self.secret else self.url

    def open(self, method: str = "GET", start: int = 0) -> Any:
        """Ask for the content from byte `start` on, and return the server's answer."""
        request = Request(self.url, method=method, headers={"Range": f"bytes={start}-"} if start else {})
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return urlopen(request, timeout=TIMEOUT_S)


def fetch(remote: Remote, path: Path, *, tries: int = 5, pause_s: float = 5.0) -> None:
    """Download a file to `path`, or continue what an earlier call began; check a file that is there already.

    Raises:
        UserError: refused, not found, cut off `tries` times, a web page instead of a file, a wrong MD5, or a full disk.
    """
    if path.exists():
        check(path, remote.md5)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    for attempt in range(1, tries + 1):
        try:
            _receive(remote, partial)
            break
        except (URLError, ConnectionError, TimeoutError, HTTPException) as error:
            log.warning("%s: %s (attempt %d of %d)", remote.shown, error, attempt, tries)
            if attempt == tries:
                raise UserError(f"{remote.shown}: {error}; run the same command again to continue") from error
            time.sleep(pause_s)
    check(partial, remote.md5)
    partial.replace(path)


def _receive(remote: Remote, partial: Path) -> None:
    """Make one attempt to download a file, from the byte where the last one ended.

    Raises:
        UserError: another attempt would fail, too; any other exception: it may succeed.
    """
    have = _size(partial)
    try:
        answer = remote.open(start=have)
    except URLError as error:
        code = getattr(error, "code", 0)
        if code == 416:  # nothing follows what is there
            return
        if code in BUSY or not (code or isinstance(error.reason, FileNotFoundError)):
            raise
        raise UserError(f"{remote.shown}: {error}; {remote.remedy}") from error
    with answer:
        if answer.headers.get_content_type() == "text/html" and not remote.url.endswith((".html", ".txt")):
            raise UserError(f"{remote.shown}: the server answers with a web page, not the file; {remote.remedy}")
        have = have if answer.status == 206 else 0  # with 200 it sends the whole file
        length = int(answer.headers.get("Content-Length") or 0)
        check_free({partial.parent: length + SPARE_BYTES})
        with (
            open(partial, "ab" if have else "wb") as f,
            tqdm.wrapattr(answer, "read", have + length, initial=have, desc=partial.stem, **BAR) as source,
        ):
            shutil.copyfileobj(source, f, BLOCK)
    if length and _size(partial) != have + length:
        raise ConnectionError(f"cut off after {_size(partial)} of {have + length} bytes")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def missing_bytes(files: Mapping[Path, Remote]) -> int:
    """Return how much is still to be fetched. A file whose length its server does not tell counts nothing."""
    total = 0
    for path, remote in files.items():
        if not path.exists():
            with suppress(OSError, HTTPException), remote.open("HEAD") as answer:
                total += max(0, int(answer.headers.get("Content-Length") or 0) - _size(_partial(path)))
    return total


def check(path: Path, md5: str) -> None:
    """Compare a file with its MD5, if one is known.

    Raises:
        UserError: they differ.
    """
    if not md5:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as f, tqdm.wrapattr(f, "read", _size(path), desc=f"checking {path.name}", **BAR) as source:
        while block := source.read(BLOCK):
            digest.update(block)
    if (found := digest.hexdigest()) != md5:
        raise UserError(f"{path}: MD5 {found}, not {md5}: damaged or the wrong file; remove it and run this again")


class JoinedFiles(io.RawIOBase):
    """Several open files read as one, so that a split archive needs no joined copy."""

    def __init__(self, files: Sequence[io.BufferedReader]) -> None:
        self._files = files
        self._sizes = [f.seek(0, io.SEEK_END) for f in files]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, sum(self._sizes))[whence]
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


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into a UserError; errors of the disk stay what they are."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UserError(f"{archive}: cannot be unpacked ({reason}); remove it and run this again") from error


def unzip(parts: Sequence[Path], target: Path) -> int:
    """Unpack a zip, whole or split, and return its number of files; those that are there with the right size are kept.

    Raises:
        UserError: not a zip, damaged, encrypted, or too little free disk.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _damage_reported(parts[0]), ExitStack() as stack:
        temporary = stack.enter_context(TemporaryDirectory(prefix=".unpacking.", dir=target.resolve()))
        files = [stack.enter_context(open(part, "rb")) for part in parts]
        archive = stack.enter_context(zipfile.ZipFile(io.BufferedReader(JoinedFiles(files), BLOCK)))
        members = {target / member.filename: member for member in archive.infolist() if not member.is_dir()}
        missing = [m for path, m in members.items() if not path.is_file() or _size(path) != m.file_size]
        check_free({target: sum(member.file_size for member in missing)})
        for member in tqdm(missing, desc=f"unpacking {parts[0].name}", **BAR):
            whole = Path(archive.extract(member, temporary))  # always below `temporary`; a link becomes a plain file
            path = target / whole.relative_to(temporary)
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(path)
    return len(members)


def untar(archive: Path, target: Path) -> None:
    """Unpack a tar, compressed or not, of files and folders.

    Raises:
        UserError: not a tar, damaged, or a member that is a link or would land outside of `target`.
    """
    with _damage_reported(archive), tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python before 3.10.12 and 3.11.4 has none
        for member in tqdm(tar, desc=f"unpacking {archive.name}", **BAR):
            if not (member.isreg() or member.isdir()) or member.name.startswith("/") or ".." in member.name.split("/"):
                raise UserError(f"{archive}: {member.name!r} is a link or would land outside of {target}; not unpacked")
            tar.extract(member, target, set_attrs=False)


def bring(remote: Remote, archive: Path, inside: str, folder: Path, *, keep: bool = False) -> None:
    """Fetch an archive and unpack it, whole or not at all; do nothing if `folder` is there and not empty.

    Args:
        remote: where the archive comes from.
        archive: where it goes.
        inside: the folder in the archive that becomes `folder`; if it is not there, everything does.
        keep: do not remove the archive afterwards.
    """
    if folder.is_dir() and any(folder.iterdir()):
        log.info("%s is there already", folder)
        return
    fetch(remote, archive)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        if archive.suffix == ".zip":
            unzip([archive], temporary)
        else:
            untar(archive, temporary)
        whole = temporary / inside if (temporary / inside).is_dir() else temporary
        whole.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not keep:
        archive.unlink()
