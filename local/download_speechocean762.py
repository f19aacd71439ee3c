#!/usr/bin/env python3
"""Fetch and unpack speechocean762 (OpenSLR 101, 520 MB). If you have it, give run.sh --corpus DIR instead.

Writes  <corpus-dir>/{WAVE,train,test}, whole or not at all; does nothing if they are there
        <corpus-dir>.tar.gz until it is unpacked; a second run continues a download that was cut off

OpenSLR publishes no MD5. The archive's own checksum (gzip) finds damage, and local/prepare_speechocean762.py checks
that every file in the corpus's lists is there.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from local.download import Remote, bring
from sv.errors import UserError, run_step

URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
MIRROR = "https://openslr.trmal.net/resources/101/speechocean762.tar.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="corpus-dir", help="folder to put the corpus into")
    parser.add_argument("--url", default=URL, help=f"default: {URL}; a mirror: {MIRROR}")
    parser.add_argument("--md5", default="", help="MD5 of the archive, if you know it")
    parser.add_argument("--keep", choices=["true", "false"], default="false", help="keep the archive")
    args = parser.parse_args()
    corpus: Path = args.corpus.absolute()
    if corpus.is_dir() and any(corpus.iterdir()) and not (corpus / "train" / "wav.scp").is_file():
        raise UserError(f"{corpus} is not empty and holds no train/wav.scp; give another folder")
    archive = corpus.with_name(corpus.name + ".tar.gz")
    remedy = f"try --url {MIRROR}, or put the file there yourself as {archive}"
    bring(Remote(args.url, args.md5, remedy=remedy), archive, "speechocean762", corpus, keep=args.keep == "true")


if __name__ == "__main__":
    run_step(main)
