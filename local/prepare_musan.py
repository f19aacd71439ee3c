#!/usr/bin/env python3
"""Make a list of noise, music and speech for augmentation: of MUSAN (OpenSLR 17), of your own folders, or of both.

Reads   <musan>/{noise,music,speech}/*/*.wav, as distributed (Snyder, Chen, Povey, 2015, arXiv 1510.08484); with
        --download true it is fetched first (11 GB; a second run continues a download that was cut off)
Writes  <data>/wav.scp; an id begins with its type, as in WeSpeaker: noise/free-sound/noise-free-sound-0000.wav

Give your own folders with their type: noise, music or speech (speech is mixed to babble). They may hold WAV, FLAC or
OGG at any depth, with any rate and number of channels:

    local/prepare_musan.py --add noise=/corpora/street --add music=/corpora/songs data/noises
    local/prepare_musan.py --musan /corpora/musan --add noise=/corpora/street data/noises

Where you have noise but no speech for babble, --speech takes recordings of the training data:

    local/prepare_musan.py --add noise=/corpora/street --speech data/train data/noises
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from local.download import Remote
from local.prepare_noises import add_source_options, audio_files, bring_corpus, ids_of, write_list
from sv.errors import UserError, WrongCall, run_step

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
    parser.add_argument(
        "--speech", type=Path, metavar="DATA_DIR", help="data dir to mix babble from, at most 1000 of its recordings"
    )
    add_source_options(parser, "11 GB")
    args = parser.parse_args()
    if not args.musan and not args.add:
        raise WrongCall("nothing to list; give --musan DIR, or --add TYPE=DIR")
    bring_corpus(MUSAN, "musan", args.musan, args)
    files: dict[str, Path] = {}
    if args.musan:
        for kind in TYPES:
            files |= ids_of(audio_files(args.musan / kind), kind, args.musan / kind)
    for word in args.add:
        kind, equals, folder = word.partition("=")
        if not equals or kind not in TYPES:
            raise WrongCall(f"--add {word}: expected TYPE=DIR, TYPE one of {', '.join(TYPES)}")
        added = ids_of(audio_files(Path(folder)), f"{kind}/{Path(folder).resolve().name}", Path(folder))
        if both := files.keys() & added.keys():
            raise UserError(f"--add {word}: {min(both)} comes twice; rename one of the folders")
        files |= added
    if args.speech:
        from local.make_noises import draw_speech

        drawn = {name: Path(path) for name, path in draw_speech(args.speech, 1000, seed=1).items()}
        if both := files.keys() & drawn.keys():
            raise UserError(f"--speech {args.speech}: {min(both)} comes twice; leave out --speech or the other folder")
        files |= drawn
    write_list(args.data, files)


if __name__ == "__main__":
    run_step(main)
