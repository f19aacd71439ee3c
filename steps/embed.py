#!/usr/bin/env python3
"""Compute the embeddings of audio files, each checked; the system needs no calibration.

Reads   <model>: folder with config.yaml and models/avg_model.pt; audio files of one channel, or a wav.scp of such files
Writes  <out>/xvector.ark, <out>/xvector.scp  one float vector for each file, in Kaldi's format; its id is that of
        wav.scp, or the file's name without extension; <out>/.done: the model and front-end that made them, which
        scoring compares. Without --out, vectors are printed in Kaldi's text format.
        Paths in xvector.scp are relative to <out>; tools/rebase_scp.pl prints absolute ones, to join several.
Status  0: all files were embedded; 1: some failed, with the reason on stderr; 2: wrong call

For a corpus with features, steps/extract_embeddings.sh is faster.
e.g.: steps/embed.py --model exp/x --out emb a.wav b.wav
      steps/embed.py --model exp/x wav.scp
"""

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import UserError, WrongCall, counted, log, run_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sv.embeddings.embedder import Embedder
    from sv.io import ArkWriter


@contextlib.contextmanager
def open_archive(out: Path, embedder: "Embedder") -> "Iterator[ArkWriter]":
    """Open the archive of a folder; its mark, written last, names the model and front-end, as in stage 4."""
    from sv.io import ArkWriter
    from sv.jobs import DoneMark

    mark = DoneMark(out / ".done", {"model_sha256": embedder.encoder.sha256, "fingerprint": embedder.fingerprint})
    mark.path.unlink(missing_ok=True)
    with ArkWriter(out / "xvector.ark", out / "xvector.scp") as ark:
        yield ark
    mark.write([ark.ark, ark.scp], {ark.ark: ark.sha256})


def check_names(names: "Iterable[str]") -> None:
    """Check that ids can be made of the names of files, before the model loads."""
    from sv.io import check_id

    for name in names:
        try:
            check_id(Path(name).stem, name)
        except UserError as error:
            raise WrongCall(f"{error}, or give a wav.scp with ids of your choice") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="file", help="audio files, or one wav.scp")
    parser.add_argument("--model", type=Path, required=True, help="folder of the system")
    parser.add_argument("-o", "--out", type=Path, help="folder for xvector.ark and xvector.scp")
    parser.add_argument("--gpus", default="auto", help="auto, none, or the number of a GPU")
    parser.add_argument("--json", action="store_true", help="print an object of JSON for each file")
    args = parser.parse_args()
    if args.json and args.out:
        parser.error("give --json or --out, not both")
    from sv.embeddings.embedder import Embedder
    from sv.io import read_table

    is_scp = len(args.files) == 1 and args.files[0].endswith(".scp")
    files = read_table(args.files[0]) if is_scp else {Path(name).stem: name for name in args.files}
    if not is_scp and len(files) < len(args.files):
        raise WrongCall("two files have the same name, which is their id; give a wav.scp with ids of your choice")
    if not is_scp and not args.json:
        check_names(args.files)
    embedder, failed = Embedder(args.model, gpus=args.gpus), 0
    with open_archive(args.out, embedder) if args.out else contextlib.nullcontext() as ark:
        for utt, path in files.items():
            try:
                recording = embedder.embed_recording(path)
            except UserError as error:
                failed += 1
                log.warning("failed: %s", error)
                continue
            if ark is not None:
                ark.write(utt, recording.embedding)
            elif args.json:
                print(
                    json.dumps({"utt": utt, "embedding": recording.embedding.tolist(), "warnings": recording.warnings})
                )
            else:
                print(f"{utt}  [ {' '.join(f'{value:.6g}' for value in recording.embedding)} ]")
    if failed:
        raise UserError(f"{failed} of {counted(len(files), 'file')} failed; the reasons stand above")


if __name__ == "__main__":
    run_step(main)
