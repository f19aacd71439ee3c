"""Free disk, looked at before hours of work that would fill it."""

import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from sv.errors import UserError


def in_words(size: float) -> str:
    """A number of bytes: 3.2 GB, 41 MB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def check_free(needed: Mapping[Path, float]) -> None:
    """Compare what folders will take with what their disks have; several folders may share a disk.

    Args:
        needed: bytes by folder, which need not be there yet; below 0 where work frees some.

    Raises:
        UserError: a disk has less.
    """
    disks: dict[int, list[Path]] = defaultdict(list)
    for folder in needed:
        disks[existing(folder).stat().st_dev].append(folder)
    for folders in disks.values():
        total = sum(needed[folder] for folder in folders)
        free = shutil.disk_usage(existing(folders[0])).free
        if total > free:
            others = f" and {len(folders) - 1} more on its disk" if len(folders) > 1 else ""
            raise UserError(
                f"{folders[0]}{others}: about {in_words(total)} are needed, {in_words(free)} are free; "
                "free some, or name a folder on another disk"
            )
