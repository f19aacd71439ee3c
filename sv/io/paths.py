"""Paths relative to the file that holds them, so that data and experiment folders can be copied, moved and renamed.

    ./xvector.ark:17               beside the scp
    ../fbank/vox1/fbank.1.ark:22   in a folder beside the scp's

A path that begins with `./` or `../` starts from the folder of the file that gives it. Any other is as in Kaldi:
absolute, or from the working folder. tools/rebase_scp.pl prints an scp for Kaldi's own tools; it has the same rule.
"""

import os
from pathlib import Path


def written_path(path: str | Path, folder: str | Path) -> str:
    """Return a path as an scp in `folder` has it: relative if it is in `folder` or the one above, else absolute."""
    near = path_from(path, folder, levels=1)
    return near if near.startswith(("../", "/")) else f"./{near}"


def path_from(path: str | Path, folder: str | Path, *, levels: int = 2) -> str:
    """Return a path from a folder; absolute if it is many levels above, for instance on another disk.

    Symbolic links are followed, except in the path's last part, since `..` after a link leads elsewhere.
    """
    whole = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    relative = os.path.relpath(whole, os.path.realpath(folder))
    return whole if relative.startswith("../" * (levels + 1)) else relative


def read_path(path: str, folder: str | Path) -> str:
    """Return the path that an scp or list in `folder` gives; the value "path:offset" of an scp keeps its offset."""
    if not path.startswith(("./", "../")):
        return path
    return os.path.join(folder, path.removeprefix("./"))
