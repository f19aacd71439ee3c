"""Find the audio files of a folder (your own corpus, noise or rooms), and report the other files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

import soundfile

from sv.audio.files import ENDINGS, UNREADABLE
from sv.errors import log

CONVERT = "local/convert_audio.sh"


def ending_of(path: str | Path) -> str:
    """Return the ending of a file's name in lower case, without the dot; "" if it has none."""
    return PurePath(path).suffix[1:].lower()


def is_audio(path: str | Path) -> bool:
    """Return whether a file is audio: by its ending, or because libsndfile opens it.

    With an unknown ending it is none if libsndfile takes it for MPEG, whose two first bytes other files have, too.
    """
    ending = ending_of(path)
    if ending in ENDINGS or ending in UNREADABLE:
        return ending in ENDINGS
    try:
        return "MPEG" not in soundfile.info(str(path)).subtype
    except (soundfile.SoundFileError, OSError):
        return False


def count_endings(paths: Sequence[str | Path]) -> str:
    """Count files by their endings: "7 .txt, 2 without ending"."""
    counts = Counter(f".{ending}" if (ending := ending_of(path)) else "without ending" for path in paths)
    return ", ".join(f"{number} {ending}" for ending, number in counts.most_common())


def tell_not_taken(folder: Path, paths: Sequence[str | Path]) -> None:
    """Say how many files of a folder are not taken, by ending, and how to convert those that could be."""
    if paths:
        convertible = any(ending_of(path) in UNREADABLE for path in paths)
        remedy = f"; convert what is audio first ({CONVERT})" if convertible else ""
        log.warning(
            "%s: %d files cannot be read as audio and are left out: %s, the first %s%s",
            folder, len(paths), count_endings(paths), paths[0], remedy,
        )  # fmt: skip
