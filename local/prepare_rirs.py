#!/usr/bin/env python3
"""Make a list of room impulse responses for augmentation: of RIRS_NOISES (OpenSLR 28), of your own folders, or of both.

Reads   <rirs>/simulated_rirs/, as distributed (Ko et al., "A study on data augmentation of reverberant speech for
        robust speech recognition", ICASSP 2017); with --real true also the measured ones that
        <rirs>/real_rirs_isotropic_noises/rir_list names (up to 8 channels, of which training draws one); with
        --download true it is fetched first (1.3 GB; a second run continues a download that was cut off)
Writes  <data>/wav.scp: rir/simulated_rirs/smallroom/Room001/Room001-00001.wav ...

    local/prepare_rirs.py --rirs /corpora/RIRS_NOISES data/rirs
    local/prepare_rirs.py --add /corpora/our_rooms data/rirs      # WAV, FLAC or OGG, any depth, rate and channels
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from local.download import Remote
from local.prepare_noises import add_source_options, audio_files, bring_corpus, ids_of, write_list
from sv.errors import UserError, WrongCall, run_step

RIRS = Remote(
    "https://www.openslr.org/resources/28/rirs_noises.zip",
    md5="e6f48e257286e05de56413b4779d8ffb",
    remedy="try --url https://openslr.trmal.net/resources/28/rirs_noises.zip",
)


def measured(rirs: Path) -> list[Path]:
    """Return the measured impulse responses. Noise is in the same folder, so they are found by their list.

    Raises:
        UserError: the list, or a file that it names, is missing.
    """
    listed = rirs / "real_rirs_isotropic_noises" / "rir_list"
    if not listed.is_file():
        raise UserError(f"{listed} does not exist; unpack the archive again, or leave out --real true")
    files = []
    for number, line in enumerate(listed.read_text(encoding="utf-8-sig").splitlines(), start=1):
        name = line.split()[-1] if line.split() else ""
        path = rirs / "real_rirs_isotropic_noises" / Path(name).name
        if not name or not path.is_file():
            raise UserError(f"{listed}:{number}: {path} does not exist; unpack the archive again")
        files.append(path)
    return sorted(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the list")
    parser.add_argument("--rirs", type=Path, help="folder that holds simulated_rirs/ and real_rirs_isotropic_noises/")
    parser.add_argument(
        "--real", choices=["true", "false"], default="false", help="also list the measured impulse responses"
    )
    parser.add_argument(
        "--add", action="append", default=[], type=Path, metavar="DIR", help="another folder of impulse responses"
    )
    add_source_options(parser, "1.3 GB")
    args = parser.parse_args()
    if not args.rirs and not args.add:
        raise WrongCall("nothing to list; give --rirs DIR, or --add DIR")
    bring_corpus(RIRS, "RIRS_NOISES", args.rirs, args)
    files: dict[str, Path] = {}
    if args.rirs:
        files |= ids_of(audio_files(args.rirs / "simulated_rirs"), "rir", args.rirs)
        if args.real == "true":
            files |= ids_of(measured(args.rirs), "rir", args.rirs)
    for folder in args.add:
        added = ids_of(audio_files(folder), f"rir/{folder.resolve().name}", folder)
        if both := files.keys() & added.keys():
            raise UserError(f"--add {folder}: {min(both)} comes twice; rename one of the folders")
        files |= added
    write_list(args.data, files)


if __name__ == "__main__":
    run_step(main)
