"""Find VoxCeleb's audio files, and name its published trial lists.

The distributed zips unpack to `wav/` (VoxCeleb1, dev and test) and `dev/aac/`, `test/aac/` (VoxCeleb2); users merge,
move and convert them. All layouts have files ID/VIDEO/NUMBER.{m4a,wav,flac}, with speakers id00012 to id11251, or with
six digits as in VoxBlink2. The search looks for these.
"""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sv.errors import UserError
from sv.io.progress import bar

SPEAKER = re.compile(r"id\d{5,6}")
RELATIVE_FILE = re.compile(r"(id\d{5,6})/([^/\s]+)/([^/\s.][^/\s]*)\.(wav|flac|m4a)$", re.ASCII)
PREFERENCE = {"wav": 0, "flac": 1, "m4a": 2}  # which of several files of an utterance is used: the lowest
MAX_DEPTH = 4  # how far below the given folder a folder of speakers may be


@dataclass(frozen=True)
class TrialList:
    """A published trial list: its file, its name in the data dir, and the MD5 of the file."""

    file: str
    name: str
    md5: str  # as in PaddleSpeech's and kiwano's recipes


TRIAL_LISTS = {
    "O": TrialList("veri_test2.txt", "vox1_O_cleaned.kaldi", "b73110731c9223c1461fe49cb48dddfc"),
    "E": TrialList("list_test_all2.txt", "vox1_E_cleaned.kaldi", "a53e059deb562ffcfc092bf5d90d9f3a"),
    "H": TrialList("list_test_hard2.txt", "vox1_H_cleaned.kaldi", "857790e09d579a68eb2e339a090343c8"),
}


def find_speaker_folders(root: Path) -> list[Path]:
    """Return the folders at or under `root` that hold folders named like speakers, sorted.

    Raises:
        UserError: `root` does not exist, or holds no speakers.
    """
    if not root.is_dir():
        raise UserError(f"{root} does not exist or is not a folder; give the folder that VoxCeleb was unpacked to")
    found, level = [], [root]
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for folder in level:
            names = _subfolders(folder)
            if any(SPEAKER.fullmatch(name) for name in names):
                found.append(folder)
            below += [folder / name for name in names if not SPEAKER.fullmatch(name)]
        level = below
    if not found:
        raise UserError(
            f"{root} and the folders below it hold no folders named like speakers (id00012 ...);"
            " unpack the zips there, or give the folder that holds wav/ or dev/aac/"
        )
    return sorted(found)


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def scan(folder: Path, num_threads: int = 8) -> Iterator[tuple[str, str, str]]:
    """Yield (ID/VIDEO/NUMBER, file ending, path) of all audio files of a folder of speakers, sorted by speaker.

    It lists folders but does not look at the files: 1.2 million of them take seconds on a local disk.
    """
    speakers = sorted(name for name in _subfolders(folder) if SPEAKER.fullmatch(name))
    with ThreadPoolExecutor(num_threads) as pool:
        found = pool.map(_scan_speaker, (folder / spk for spk in speakers))
        for spk, files in zip(bar(speakers, "speakers"), found, strict=True):
            for video, stem, ending, path in files:
                yield f"{spk}/{video}/{stem}", ending, path


def _scan_speaker(folder: Path) -> list[tuple[str, str, str, str]]:
    found = []
    for video in sorted(_subfolders(folder)):
        path = os.path.join(folder, video)
        for name in sorted(os.listdir(path)):
            stem, _, ending = name.rpartition(".")
            if ending in PREFERENCE and stem and not name.startswith("."):
                found.append((video, stem, ending, f"{path}/{name}"))
    return found


def read_listing(listing: Path, root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the same as `scan`, from a text file of paths as `find` prints them; relative ones begin at `root`.

    Raises:
        UserError: the file does not exist, or names no audio file of a speaker.
    """
    if not listing.is_file():
        raise UserError(f"{listing} does not exist; make it with: find {root} -type f > {listing}")
    found = False
    with open(listing, encoding="utf-8-sig") as f:
        for line in f:
            if match := RELATIVE_FILE.search(line.rstrip("\n")):
                found = True
                spk, video, stem, ending = match.groups()
                yield f"{spk}/{video}/{stem}", ending, os.path.join(root, line.rstrip("\n"))
    if not found:
        raise UserError(f"{listing} names no audio file ID/VIDEO/NUMBER.wav; make it with: find {root} -type f")


def choose_files(files: Iterable[tuple[str, str, str]]) -> tuple[dict[str, str], int]:
    """Return one file for each utterance, WAV before FLAC before m4a, then by path; and how many were left out."""
    chosen: dict[str, tuple[int, str]] = {}
    total = 0
    for utt, ending, path in files:
        total += 1
        candidate = (PREFERENCE[ending], path)
        if utt not in chosen or candidate < chosen[utt]:
            chosen[utt] = candidate
    return {utt: path for utt, (_, path) in chosen.items()}, total - len(chosen)
