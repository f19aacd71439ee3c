"""Small archives, and what a download is compared with."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

CONTENT = bytes(range(256)) * 5000


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a tar file of these members, in this order; compressed if its name ends with .gz."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
