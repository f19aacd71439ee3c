"""Your own corpus as a folder with a folder for each speaker."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.corpus_list import Row
from local.found_audio import CONVERT, count_endings, ending_of, is_audio, tell_not_taken
from sv.audio.files import ENDINGS, UNREADABLE
from sv.errors import UserError, log
from sv.io.progress import bar

NO_SPEAKERS = {  # names of folders that hold speakers
    *("train", "training", "dev", "devel", "val", "valid", "validation", "test", "testing", "eval", "evaluation"),
    *("enroll", "enrollment", "wav", "wavs", "audio"),
}
SHOWN = 20  # names that are printed


def scan_folder(root: Path) -> list[Row]:
    """Find all audio files below the speakers' folders; links are followed, hidden names are left out.

    Raises:
        UserError: the folder does not exist, holds no audio or only formats that must be converted first, or its
            folders are no speakers.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the one that holds a folder for each speaker")
    rows, others, loose = [], [], []
    for path in bar(walk(root), "files"):
        spk, slash, rest = os.path.relpath(path, root).partition("/")
        if not is_audio(path):
            others.append(path)
        elif not slash:
            loose.append(path)
        else:
            rows.append(Row(path, path, spk, f"{spk}/{rest.rpartition('.')[0] or rest}"))
    unreadable = [path for path in others if ending_of(path) in UNREADABLE]
    if not rows and unreadable:
        raise UserError(f"{root}: {count_endings(unreadable)}, the first {unreadable[0]}, must be converted: {CONVERT}")
    if not rows and loose:
        raise UserError(
            f"{root}: {len(loose)} audio files, such as {loose[0]}, are in no speaker's folder; make a folder for each "
            "speaker, or say with --csv who speaks"
        )
    if not rows:
        raise UserError(f"{root} holds no <speaker>/<file> that is audio ({', '.join(sorted(ENDINGS))}); or give --csv")
    tell_not_taken(root, others)
    if loose:
        log.warning("%s: %d files are in no speaker's folder and left out, the first %s", root, len(loose), loose[0])
    check_speaker_folders(root, {row.spk for row in rows})
    return rows


def check_speaker_folders(root: Path, speakers: set[str]) -> None:
    """Say which folders of the corpus have no file that was taken.

    Raises:
        UserError: folders are named as the parts of a corpus, not as speakers.
    """
    if parts := sorted(name for name in speakers if name.lower() in NO_SPEAKERS):
        raise UserError(
            f"{root}: {' and '.join(parts)} would be speakers; give the folder that holds a folder for each speaker, "
            f"such as {root / parts[0]}, or say with --csv who speaks"
        )
    folders = {entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    if without := sorted(folders - speakers):
        log.warning("%s: %d folders have no audio that can be read: %s", root, len(without), shown(without))


def shown(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def walk(folder: str | Path, inside: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield the paths of all files below a folder, sorted by folder; hidden names are left out.

    Links are followed, except one to a folder that it is in.
    """
    about = os.stat(folder)
    this = (about.st_dev, about.st_ino)
    if this in inside:
        return
    entries = sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda e: e.name)
    yield from (entry.path for entry in entries if not entry.is_dir())
    for entry in entries:
        if entry.is_dir():
            yield from walk(entry.path, inside | {this})
