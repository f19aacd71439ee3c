#!/usr/bin/env python3
"""Write the duration of each utterance; called by tools/get_utt2dur.sh.

Reads   <data-dir>/wav.scp (only the headers of the files) and segments if there is one; else feats.scp
Writes  <data-dir>/utt2dur "utt seconds"
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _path  # noqa: F401

from sv.audio.durations import format_seconds
from sv.audio.utterances import Utterances
from sv.errors import UserError, check_above_0, log, run_step
from sv.io import DataDir, write_table
from sv.io.ark import count_rows
from sv.io.progress import bar


def from_audio(data: DataDir, nj: int, allow_pipes: bool) -> dict[str, float]:
    """Return the seconds of each utterance; nj threads read the headers."""
    utterances = Utterances(data, sample_rate=0, allow_pipes=allow_pipes)  # a header knows its own rate
    with ThreadPoolExecutor(nj) as pool:
        return dict(zip(bar(utterances.ids, "files"), pool.map(utterances.duration, utterances.ids), strict=True))


def from_feats(data: DataDir, frame_shift: float) -> dict[str, float]:
    """Return the seconds of each utterance as Kaldi counts them: frames times shift."""
    from sv.config import read_front_end  # pydantic takes a tenth of a second

    if settings := read_front_end(data.path):
        frame_shift = settings.frame_shift / 1000
    where = str(data.path / "feats.scp")
    return {utt: count_rows(value, where) * frame_shift for utt, value in data.feats_scp.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="data dir with wav.scp")
    parser.add_argument("--nj", type=int, default=1, help="number of headers that are read at a time")
    parser.add_argument("--frame-shift", type=float, default=0.01, help="frame shift in seconds")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    args = parser.parse_args()
    check_above_0("--frame-shift", args.frame_shift)
    data = DataDir(args.data_dir)
    out = data.path / "utt2dur"
    if out.is_file() and data.utt2dur.keys() == data.utt2spk.keys():
        log.info("%s is there already", out)
        return
    if (data.path / "wav.scp").is_file():
        seconds = from_audio(data, args.nj, args.allow_pipes == "true")
    elif (data.path / "feats.scp").is_file():
        seconds = from_feats(data, args.frame_shift)
    else:
        raise UserError(f"{data.path} has neither wav.scp nor feats.scp; prepare the data (stage 1)")
    write_table(out, {utt: format_seconds(value) for utt, value in seconds.items()})
    log.info("%s: %d utterances, %.2f hours", out, len(seconds), sum(seconds.values()) / 3600)


if __name__ == "__main__":
    run_step(main)
