"""Write and read the files of a training: tensors and plain values, whole or not at all, with a checksum beside them.

`FILE.sha256` is what `sha256sum` prints and `sha256sum -c` checks. It is written before FILE gets its name, so every
whole file has one. The checksum finds a flipped byte, which torch.load does not notice.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import IO, Any, cast

import torch

from sv.embeddings.experiment import checksum_path
from sv.errors import UserError, log
from sv.io import atomic_write, sha256_of

_NAME = re.compile(r"step_(\d{8,})\.pt")


class _Hashing:
    """File that hashes what is written to it; torch writes from front to back."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def save_tensors(state: Any, path: Path) -> None:
    """Write a state of tensors and plain values, and its checksum."""
    with atomic_write(path, "wb") as f:
        hashing = _Hashing(f)
        try:
            torch.save(state, cast(IO[bytes], hashing))  # torch calls only write and flush
        except RuntimeError:
            if hashing.error is not None:  # torch hides the system's error, "No space left on device"
                raise hashing.error from None
            raise
        with atomic_write(checksum_path(path)) as sidecar:
            sidecar.write(f"{hashing.digest.hexdigest()}  {path.name}\n")


def load_tensors(path: Path) -> Any:
    """Read what `save_tensors` wrote, on the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    damage = find_damage(path)
    if damage:
        raise UserError(f"{path} {damage}; restore it, or train again (stage 3)")
    return torch.load(path, map_location="cpu", weights_only=True)


def find_damage(path: Path) -> str:
    """Return what is wrong with a file that `save_tensors` wrote; "" if nothing is."""
    if not path.is_file():
        return "does not exist"
    sidecar = checksum_path(path)
    if not sidecar.is_file():
        return f"has no {sidecar.name} beside it"
    if sidecar.read_text().split(" ")[0] != sha256_of(path):
        return f"is damaged: its checksum is not the one in {sidecar.name}"
    return ""


class Checkpoints:
    """Folder of whole states, step_XXXXXXXX.pt, of which the last `keep` are kept."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after a step, remove the oldest files, and return the new one's path."""
        path = self.folder / f"step_{step:08d}.pt"
        save_tensors(state, path)
        for old in self.paths()[: -self.keep]:
            old.unlink()
            checksum_path(old).unlink(missing_ok=True)
        return path

    def paths(self) -> list[Path]:
        """Return the paths of the checkpoints, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]

    def load_last(self) -> dict[str, Any] | None:
        """Return the last state that is not damaged; None if there are no checkpoints.

        A warning names each damaged file; `clean` removes them.

        Raises:
            UserError: all checkpoints are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            damage = find_damage(path)
            if not damage:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return state
            log.warning("%s %s; trying the checkpoint before it", path, damage)
        if paths:
            raise UserError(
                f"all {len(paths)} checkpoints in {self.folder} are damaged; to train anew, remove it and models/ "
                "beside it"
            )
        return None

    def clean(self, newest: int) -> None:
        """Remove temporary files, and checkpoints after step `newest`, which a killed or damaged training left."""
        if not self.folder.is_dir():
            return
        for path in self.paths():
            if int(path.stem.removeprefix("step_")) > newest:
                log.info("removing %s", path)
                path.unlink()
        for path in list(self.folder.iterdir()):
            orphan = path.suffix == ".sha256" and not path.with_suffix("").exists()
            if path.name.endswith(".tmp") or orphan:
                path.unlink()


def remove_temporary(folder: Path) -> None:
    """Remove files that a killed process did not finish; call this only for a folder that this process has locked."""
    if folder.is_dir():
        for name in os.listdir(folder):
            if name.startswith(".") and name.endswith(".tmp"):
                (folder / name).unlink()
