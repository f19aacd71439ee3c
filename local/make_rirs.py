#!/usr/bin/env python3
"""Make impulse responses of synthetic rooms (local/rooms.py) for augmentation without RIRS_NOISES.

Writes  <data>/wav/NNNN.wav (16 bit): 200 rooms of 2.5 x 2 x 2.3 to 10 x 8 x 4 m with reverberation times of 0.15 to
        0.8 s; <data>/wav.scp (rir/NNNN.wav) as local/prepare_rirs.py writes it; <data>/.done

These rooms are empty boxes. Real rooms have more variety, so use RIRS_NOISES if you can get it.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import soundfile

from sv.errors import check_rate, check_seed, check_whole, log, run_step
from sv.io import write_table
from sv.jobs import DoneMark

VERSION = 2  # increased when the rooms for a given seed change
PEAK = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the list and the files")
    parser.add_argument("--count", type=int, default=200, help="number of rooms")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz")
    parser.add_argument("--config", type=Path, help="YAML of a system, to use its sample rate")
    parser.add_argument("--seed", type=int, default=1, help="seed of all draws")
    args = parser.parse_args()
    check_seed(args.seed)
    if args.config:
        from sv.config import load_config  # pydantic takes a tenth of a second

        args.sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    check_whole("--count", args.count, 1)
    check_rate("--sample-rate", args.sample_rate)
    from local.rooms import draw_room, impulse_response  # scipy.signal takes a second

    options = {"version": VERSION, "count": args.count, "sample_rate": args.sample_rate, "seed": args.seed}
    mark = DoneMark(args.data / ".done", options)
    if not mark.stale():
        log.info("%s is there already", args.data)
        return
    mark.path.unlink(missing_ok=True)
    folder: Path = args.data.absolute() / "wav"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04d}.wav" for number in range(1, args.count + 1)]
    for number, path in enumerate(files, start=1):
        rir = impulse_response(draw_room(np.random.default_rng([args.seed, number])), args.sample_rate)
        soundfile.write(path, rir * (PEAK / np.abs(rir).max()), args.sample_rate, subtype="PCM_16")
    write_table(args.data / "wav.scp", {f"rir/{path.name}": path for path in files})
    mark.write([args.data / "wav.scp", *files])
    log.info("%s: %d rooms", args.data, len(files))


if __name__ == "__main__":
    run_step(main)
