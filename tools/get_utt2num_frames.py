#!/usr/bin/env python3
"""Write the number of frames of each utterance; called by tools/get_utt2num_frames.sh.

Reads   <data-dir>/feats.scp and the header of each matrix, else utt2dur
Writes  <data-dir>/utt2num_frames "utt frames"
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import _path  # noqa: F401

from sv.errors import check_above_0, log, run_step
from sv.io import DataDir, write_table
from sv.io.ark import count_rows
from sv.io.progress import bar


def from_feats(data: DataDir, nj: int) -> dict[str, int]:
    """Return the frames of each utterance; nj threads read the headers."""

    def count(location: str) -> int:
        return count_rows(location, str(data.path / "feats.scp"))

    with ThreadPoolExecutor(nj) as pool:
        return dict(zip(bar(data.feats_scp, "features"), pool.map(count, data.feats_scp.values()), strict=True))


def from_durations(data: DataDir, frame_shift: float, frame_overlap: float) -> dict[str, int]:
    """Return the frames of each utterance as Kaldi counts them: only whole frames."""
    rounding_error = 1e-6  # of a frame: (0.515 - 0.015) / 0.01 is 49.99...
    return {utt: int((s - frame_overlap) / frame_shift + rounding_error) for utt, s in data.utt2dur.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="data dir with feats.scp")
    parser.add_argument("--nj", type=int, default=1, help="number of headers that are read at a time")
    parser.add_argument("--frame-shift", type=float, default=0.01, help="seconds")
    parser.add_argument("--frame-overlap", type=float, default=0.015, help="seconds")
    args = parser.parse_args()
    check_above_0("--frame-shift", args.frame_shift)
    data = DataDir(args.data_dir)
    out = data.path / "utt2num_frames"
    has_feats = (data.path / "feats.scp").is_file()
    utts = data.feats_scp.keys() if has_feats else data.utt2dur.keys()
    if out.is_file() and data.utt2num_frames.keys() == utts:
        log.info("%s is there already", out)
        return
    frames = from_feats(data, args.nj) if has_feats else from_durations(data, args.frame_shift, args.frame_overlap)
    write_table(out, frames)
    log.info("%s: %d utterances, %d frames", out, len(frames), sum(frames.values()))


if __name__ == "__main__":
    run_step(main)
