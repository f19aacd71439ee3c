#!/usr/bin/env python3
"""The work of tools/get_utt2num_frames.sh.

Reads   <data-dir>/feats.scp and the header of each matrix
Writes  <data-dir>/utt2num_frames "utt frames"
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sv.errors import log, run_step
from sv.io import DataDir, read_header, write_table
from sv.io.ark import split_location


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--nj", type=int, default=1, help="headers read at a time")
    args = parser.parse_args()
    data = DataDir(args.data_dir)
    out = data.path / "utt2num_frames"
    if out.is_file() and data.utt2num_frames.keys() == data.feats_scp.keys():
        log.info("%s is there already", out)
        return

    def count(location: str) -> int:
        return read_header(*split_location(location, str(data.path / "feats.scp"))).rows

    with ThreadPoolExecutor(args.nj) as pool:
        frames = dict(zip(data.feats_scp, pool.map(count, data.feats_scp.values()), strict=True))
    write_table(out, frames)
    log.info("%s: %d utterances, %d frames", out, len(frames), sum(frames.values()))


if __name__ == "__main__":
    run_step(main)
