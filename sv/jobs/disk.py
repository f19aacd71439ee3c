"""Free disk, checked before hours of work that would fill it."""

import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from sv.errors import UserError


def format_bytes(size: float) -> str:
    """Return a number of bytes as people read it: 3.2 GB, 41 MB."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def nearest_folder(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def check_free(needed: Mapping[Path, float]) -> None:
    """Compare the bytes that folders need with the free bytes of their disks; several folders may share a disk.

    Args:
        needed: bytes by folder, which need not exist yet; below 0 if the work frees some.

    Raises:
        UserError: a disk has too little.
    """
    disks: dict[int, list[Path]] = defaultdict(list)
    for folder in needed:
        disks[nearest_folder(folder).stat().st_dev].append(folder)
    for folders in disks.values():
        total = sum(needed[folder] for folder in folders)
        free = shutil.disk_usage(nearest_folder(folders[0])).free
        if total > free:
            others = f" and {len(folders) - 1} more on its disk" if len(folders) > 1 else ""
            raise UserError(
                f"{folders[0]}{others}: about {format_bytes(total)} are needed, {format_bytes(free)} are free; "
                "free some, or name a folder on another disk"
            )
