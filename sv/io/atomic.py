"""Files that appear whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open `path` for writing under a temporary name in the same folder; it gets its name when all went well.

    The folder is made if it is missing. If the block raises, the temporary file is removed and what stood under
    `path` before still stands. A process killed in the block leaves a file `.NAME.PID.tmp`, which nothing reads.

    Args:
        path: what to write.
        mode: "w" for UTF-8 text with Unix line ends, "wb" for bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as f:  # type: ignore[call-overload]
            yield f
            commit(f)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        name_file(error, path)
        raise


def name_file(error: BaseException | None, path: Path) -> None:
    """Say in an error of the system which file it is about; a failed write (full disk) does not know."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(path)


def temporary_name(path: Path) -> Path:
    """Where a file is written until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def commit(f: IO[Any]) -> None:
    """Bring what was written to the disk, so that a rename after it can not outrun it."""
    f.flush()
    os.fsync(f.fileno())


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's content, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
