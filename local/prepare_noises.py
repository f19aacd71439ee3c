"""Lists of noise and impulse responses: checked files to a folder that sv/data/noises.py reads. For prepare_*.py."""

import argparse
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.download import Remote, check, fetch, untar, unzip
from sv.audio.files import ENDINGS, UNREADABLE, info
from sv.errors import UserError, log
from sv.io import check_id, write_table

_THREADS = 16


def audio_files(folder: Path) -> list[Path]:
    """All audio files under a folder, sorted; hidden names, such as macOS leaves (`._a.wav`), are passed over.

    Raises:
        UserError: no such folder, none in it, or one of a format that must be converted.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; give the folder, or fetch it with --download true")
    found = sorted(path for path in folder.rglob("*") if not path.name.startswith(".") and not path.is_dir())
    seen = [(path.suffix.lower()[1:], path) for path in found]
    unreadable = [path for ending, path in seen if ending in UNREADABLE]
    if unreadable:
        raise UserError(
            f"{folder}: {len(unreadable)} files, the first {unreadable[0]}, must be converted first "
            "(ffmpeg -i IN OUT.flac), or moved elsewhere"
        )
    files = [path for ending, path in seen if ending in ENDINGS]
    if not files:
        raise UserError(f"{folder} holds no audio files ({', '.join(ENDINGS)}); give another folder")
    return files


def write_list(out_dir: Path, files: Mapping[str, Path]) -> None:
    """Write wav.scp for the files by id, after a look at the header of each.

    Raises:
        UserError: a file that can not be read or is empty, named; an id that is none.
    """
    for name, path in files.items():
        check_id(name, str(path))
    with ThreadPoolExecutor(_THREADS) as pool:
        headers = list(pool.map(info, (str(path) for path in files.values())))
    for path, header in zip(files.values(), headers, strict=True):
        if header.samples == 0:
            raise UserError(f"{path}: no samples; remove it")
    write_table(out_dir / "wav.scp", {name: path.absolute() for name, path in files.items()})
    types: dict[str, float] = {}
    for name, header in zip(files, headers, strict=True):
        kind = name.partition("/")[0]
        types[kind] = types.get(kind, 0.0) + header.duration_s
    log.info(
        "%s: %d files; %s", out_dir, len(files), ", ".join(f"{kind} {s / 3600:.2f} h" for kind, s in types.items())
    )


def ids_of(files: Iterable[Path], kind: str, root: Path) -> dict[str, Path]:
    """Ids of files: their type and their path under `root`."""
    return {f"{kind}/{path.relative_to(root).as_posix()}": path for path in files}


def add_source_options(parser: argparse.ArgumentParser, size: str) -> None:
    parser.add_argument("--download", choices=["true", "false"], default="false", help=f"fetch it first ({size})")
    parser.add_argument("--url", default="", help="fetch it from elsewhere, a mirror or file:///...")
    parser.add_argument("--keep", choices=["true", "false"], default="false", help="keep the archive")


def bring(remote: Remote, folder: Path, *, url: str = "", keep: bool = False) -> None:
    """Fetch an archive, go on with what an earlier call began, compare its MD5, and unpack it in `folder`'s parent.

    Args:
        folder: what the archive holds; nothing is done once it was unpacked whole.
        url: instead of the one of `remote`.
    """
    archive = folder.parent / Path(remote.url).name
    if (folder / ".unpacked").is_file() or (folder.is_dir() and not archive.is_file()):  # a copy of the user's
        log.info("%s is there already", folder)
        return
    if url:
        remote = Remote(url, md5=remote.md5, remedy=remote.remedy)
    fetch(remote, archive)
    check(archive, remote.md5)
    count = unzip([archive], folder.parent) if archive.suffix == ".zip" else untar(archive, folder.parent)
    if not folder.is_dir():
        raise UserError(f"{archive}: holds no {folder.name}/; is it the right file?")
    (folder / ".unpacked").touch()
    log.info("%s: %d files", folder, count)
    if not keep:
        archive.unlink()
        archive.with_name(archive.name + ".ok").unlink(missing_ok=True)
