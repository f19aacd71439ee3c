#!/usr/bin/env python3
"""Fetch and unpack speechocean762 (OpenSLR 101, 520 MB). Who has it already gives --corpus DIR to run.sh instead.

Leaves  <corpus-dir>/{WAVE,train,test}, whole or not at all; nothing is done where they are
        <corpus-dir>.tar.gz until it is unpacked; cut off and started again, the download goes on

OpenSLR publishes no checksum: the archive's own (gzip) is looked at, and that every file named in its lists is there.
"""

import argparse
import shutil
from pathlib import Path

from local.download import Remote, fetch, untar
from sv.errors import UserError, log, run_step
from sv.io import read_table

URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
MIRROR = "https://openslr.trmal.net/resources/101/speechocean762.tar.gz"


def check_corpus(folder: Path) -> int:
    """Number of utterances.

    Raises:
        UserError: a list or a file that it names is missing.
    """
    count = 0
    for name in ("train", "test"):
        table = folder / name / "wav.scp"
        for path in read_table(table).values():
            if not (folder / path).is_file():
                raise UserError(f"{table} names {path}, which is not in the archive; remove it and run this again")
            count += 1
    return count


def unpack(archive: Path, corpus: Path) -> None:
    """Unpack into a folder beside, check, and rename."""
    temporary = corpus.with_name(f".{corpus.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        untar(archive, temporary)
        inside = temporary / "speechocean762"
        count = check_corpus(inside if inside.is_dir() else temporary)
        (inside if inside.is_dir() else temporary).rename(corpus)
        log.info("%s: %d utterances", corpus, count)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="corpus-dir")
    parser.add_argument("--url", default=URL, help=f"default: {URL}; a mirror: {MIRROR}")
    parser.add_argument("--md5", default="", help="of the archive, if you know it")
    parser.add_argument("--keep", choices=["true", "false"], default="false", help="keep the archive")
    args = parser.parse_args()
    corpus: Path = args.corpus
    if (corpus / "train" / "wav.scp").is_file():
        log.info("%s is there already", corpus)
        return
    if corpus.is_dir() and any(corpus.iterdir()):
        raise UserError(f"{corpus} is not empty and holds no train/wav.scp; give another folder")
    archive = corpus.with_name(corpus.name + ".tar.gz")
    remedy = f"try --url {MIRROR}, or put the file there yourself as {archive}"
    fetch(Remote(args.url, args.md5, remedy=remedy), archive)
    if corpus.is_dir():
        corpus.rmdir()
    unpack(archive, corpus)
    if args.keep == "false":
        archive.unlink()
        archive.with_name(archive.name + ".ok").unlink(missing_ok=True)


if __name__ == "__main__":
    run_step(main)
