"""Files that appear whole or not at all."""

import filecmp
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | Path, mode: str = "w", *, keep_same: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file in the folder of `path`, and rename it to `path` at the end of the block.

    The folder is made if it is missing. If the block raises, the temporary file is removed, and an earlier file at
    `path` stays as it was. A process killed in the block leaves a file `.NAME.PID.tmp`, which nothing reads.

    Args:
        path: what to write.
        mode: "w" for UTF-8 text with Unix line ends, "wb" for bytes.
        keep_same: leave an earlier file alone, with its time, if it has the same content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as f:  # type: ignore[call-overload]
            yield f
            sync_to_disk(f)
        if keep_same and path.is_file() and filecmp.cmp(temporary, path, shallow=False):
            temporary.unlink()
        else:
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        add_file_name(error, path)
        raise


def add_file_name(error: BaseException | None, path: Path) -> None:
    """Add the file's name to an error of the system; that of a failed write (full disk) lacks it."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(path)


def temporary_name(path: Path) -> Path:
    """Return the path under which a file is written until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def sync_to_disk(f: IO[Any]) -> None:
    """Bring what was written to the disk, so that a rename after it cannot outrun it."""
    f.flush()
    os.fsync(f.fileno())


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
