#!/usr/bin/env python3
"""A list of noise, music and speech to augment with: MUSAN (OpenSLR 17), or folders of your own.

Reads   <musan>/{noise,music,speech}/*/*.wav, as distributed (Snyder, Chen, Povey, 2015, arXiv 1510.08484); with
        --download true it is fetched first (11 GB; cut off and started again, it goes on)
Writes  <data>/wav.scp; the type is the first part of an id, as in WeSpeaker: noise/free-sound/noise-free-sound-0000.wav

Folders of another kind come with their type (noise, music or speech; of speech, babble is mixed), any depth, WAV, FLAC
or OGG, any rate and number of channels:

    local/prepare_musan.py --add noise=/corpora/street --add music=/corpora/songs data/noises
    local/prepare_musan.py --musan /corpora/musan --add noise=/corpora/street data/noises
"""

import argparse
from pathlib import Path

from local.download import Remote
from local.prepare_noises import add_source_options, audio_files, bring, ids_of, write_list
from sv.errors import UserError, run_step

TYPES = ("noise", "music", "speech")
MUSAN = Remote(
    "https://www.openslr.org/resources/17/musan.tar.gz",
    md5="0c472d4fc0c5141eca47ad1ffeb2a7df",
    remedy="try --url https://openslr.trmal.net/resources/17/musan.tar.gz",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the list")
    parser.add_argument("--musan", type=Path, help="folder that holds noise/, music/ and speech/")
    parser.add_argument("--add", action="append", default=[], metavar="TYPE=DIR", help="another folder, with its type")
    add_source_options(parser, "11 GB")
    args = parser.parse_args()
    if not args.musan and not args.add:
        raise UserError("nothing to list; give --musan DIR, or --add TYPE=DIR")
    if args.download == "true":
        if not args.musan:
            raise UserError("--download true needs --musan DIR, where it goes")
        if args.musan.name != "musan":
            raise UserError(f"--musan {args.musan}: the archive unpacks to a folder named musan; give DIR/musan")
        bring(MUSAN, args.musan, url=args.url, keep=args.keep == "true")
    files: dict[str, Path] = {}
    if args.musan:
        for kind in TYPES:
            files |= ids_of(audio_files(args.musan / kind), kind, args.musan / kind)
    for word in args.add:
        kind, equals, folder = word.partition("=")
        if not equals or kind not in TYPES:
            raise UserError(f"--add {word}: expected TYPE=DIR, TYPE one of {', '.join(TYPES)}")
        added = ids_of(audio_files(Path(folder)), f"{kind}/{Path(folder).resolve().name}", Path(folder))
        if both := files.keys() & added.keys():
            raise UserError(f"--add {word}: {min(both)} comes twice; rename one of the folders")
        files |= added
    write_list(args.data, files)


if __name__ == "__main__":
    run_step(main)
