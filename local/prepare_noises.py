"""Make lists of noise and of impulse responses, which sv/data/noises.py reads; used by prepare_{musan,rirs}.py."""

import argparse
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from local.corpus_folder import walk
from local.download import Remote, bring
from local.found_audio import ending_of, is_audio, tell_not_taken
from sv.audio.files import ENDINGS, UNREADABLE, info
from sv.errors import UserError, WrongCall, counted, log
from sv.io import check_id, write_table
from sv.io.progress import bar

_THREADS = 16


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files under a folder, sorted; report all others. Links are followed, hidden names left out.

    Raises:
        UserError: the folder does not exist, has no audio files, or has some that must be converted first.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; give the folder, or fetch it with --download true")
    found = sorted(map(Path, walk(folder)))
    unreadable = [path for path in found if ending_of(path) in UNREADABLE]
    if unreadable:
        raise UserError(
            f"{folder}: {counted(len(unreadable), 'file')}, the first {unreadable[0]}, must be converted first "
            "(local/convert_audio.sh), or moved elsewhere"
        )
    files = [path for path in found if is_audio(path)]
    if not files:
        raise UserError(f"{folder} holds no audio files ({', '.join(ENDINGS)}); give another folder")
    taken = set(files)
    tell_not_taken(folder, [path for path in found if path not in taken])
    return files


def write_list(out_dir: Path, files: Mapping[str, Path]) -> None:
    """Write wav.scp of files by id, after reading the header of each.

    Raises:
        UserError: a file cannot be read or is empty, or an id is invalid.
    """
    for name, path in files.items():
        check_id(name, str(path))
    with ThreadPoolExecutor(_THREADS) as pool:
        headers = list(bar(pool.map(info, map(str, files.values())), "files", len(files)))
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
    """Return files by id, which is their type and their path under `root`."""
    return {f"{kind}/{path.relative_to(root).as_posix()}": path for path in files}


def add_source_options(parser: argparse.ArgumentParser, size: str) -> None:
    """Add the options that `bring_corpus` reads."""
    parser.add_argument("--download", choices=["true", "false"], default="false", help=f"fetch it first ({size})")
    parser.add_argument("--url", default="", help="URL of the archive, such as a mirror or file:///...")
    parser.add_argument("--keep", choices=["true", "false"], default="false", help="keep the archive")


def bring_corpus(remote: Remote, inside: str, folder: Path | None, args: argparse.Namespace) -> None:
    """Fetch an archive with --download true, and unpack its folder `inside` as `folder`, unless that is there."""
    if args.download == "true":
        if not folder:
            raise WrongCall("--download true needs the folder to unpack to; give --musan DIR or --rirs DIR")
        archive = folder.absolute().with_name(Path(remote.url).name)
        bring(replace(remote, url=args.url or remote.url), archive, inside, folder, keep=args.keep == "true")
