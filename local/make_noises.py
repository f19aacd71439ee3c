#!/usr/bin/env python3
"""Make noise for augmentation without MUSAN: coloured noise, and training speech for babble.

Reads   <speech-data>/wav.scp, if --speech is given: babble is mixed from utterances drawn by the seed
Writes  <data>/wav/NNNN.wav (16 bit): 60 files of 10 s, whose power falls as 1/f^0 (white) to 1/f^2 (brown), with a
        random equalizer and a level that rises and falls; <data>/wav.scp (noise/NNNN.wav, speech/UTT)
        as local/prepare_musan.py writes it; <data>/.done

There is no music, and real noise has more variety, so use MUSAN if you can get it. Babble may include the held-out
speakers of a training, 13 to 20 dB below the speech.
"""

import argparse
from pathlib import Path

import _path  # noqa: F401
import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray

from sv.audio.files import parse_source
from sv.errors import UserError, check_rate, check_seed, check_whole, log, run_step
from sv.io import DataDir, write_table
from sv.jobs import DoneMark

VERSION = 1  # increased when the noise for a given seed changes
SECONDS = 10
PEAK = 0.5


def coloured_noise(rng: Generator, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Return one noise, (samples,) float32 with a peak of PEAK."""
    from scipy.fft import irfft, rfft  # takes half a second to import

    hz = np.fft.rfftfreq(samples, 1 / sample_rate)
    slope = rng.uniform(0, 2)
    gain = np.maximum(hz, 50.0) ** (-slope / 2)  # amplitude: half the exponent of the power
    position = np.log1p(hz / 200) / np.log1p(hz[-1] / 200)  # 0 to 1
    curve_db = sum(rng.normal(0, 4) * np.cos(np.pi * k * position) for k in range(1, 6))
    shaped = irfft(rfft(rng.standard_normal(samples)) * gain * 10 ** (curve_db / 20), samples)
    seconds = samples / sample_rate
    knots = rng.normal(0, rng.uniform(0, 6), int(2 * seconds) + 2)  # dB, two a second
    swell_db = np.interp(np.linspace(0, len(knots) - 1, samples), np.arange(len(knots)), knots)
    noise = shaped * 10 ** (swell_db / 20)
    return (noise * (PEAK / np.abs(noise).max())).astype(np.float32)


def draw_speech(data_dir: Path, count: int, seed: int) -> dict[str, str]:
    """Draw up to `count` recordings of a data dir, and return their paths by id.

    Raises:
        UserError: wav.scp names no file, only commands.
    """
    files = [(name, spec) for name, spec in DataDir(data_dir).wav_scp.items() if not spec.endswith("|")]
    if not files:
        raise UserError(
            f"{data_dir / 'wav.scp'} lists only commands, and babble is mixed from files; leave out --speech"
        )
    order = np.random.default_rng([seed, 0]).permutation(len(files))[:count]
    return {f"speech/{files[i][0]}": str(Path(parse_source(files[i][1]).path).absolute()) for i in order.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the list and the files")
    parser.add_argument("--speech", type=Path, help="data dir to mix babble from, such as the training data")
    parser.add_argument("--num-speech", type=int, default=1000, help="maximum number of its recordings")
    parser.add_argument("--count", type=int, default=60, help="number of noises")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz")
    parser.add_argument("--config", type=Path, help="YAML of a system, to use its sample rate")
    parser.add_argument("--seed", type=int, default=1, help="seed of all draws")
    args = parser.parse_args()
    check_seed(args.seed)
    if args.config:
        from sv.config import load_config  # pydantic takes a tenth of a second

        args.sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    check_whole("--count", args.count, 1)
    check_whole("--num-speech", args.num_speech, 1)
    check_rate("--sample-rate", args.sample_rate)
    speech = draw_speech(args.speech, args.num_speech, args.seed) if args.speech else {}
    options = {"version": VERSION, "count": args.count, "sample_rate": args.sample_rate, "seed": args.seed}
    mark = DoneMark(args.data / ".done", {**options, "speech": speech})
    if not mark.stale():
        log.info("%s is there already", args.data)
        return
    mark.path.unlink(missing_ok=True)
    folder: Path = args.data.absolute() / "wav"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04d}.wav" for number in range(1, args.count + 1)]
    for number, path in enumerate(files, start=1):
        noise = coloured_noise(np.random.default_rng([args.seed, number]), SECONDS * args.sample_rate, args.sample_rate)
        soundfile.write(path, noise, args.sample_rate, subtype="PCM_16")
    write_table(args.data / "wav.scp", {**{f"noise/{path.name}": path for path in files}, **speech})
    mark.write([args.data / "wav.scp", *files])
    log.info("%s: %d noises, %d recordings of speech", args.data, len(files), len(speech))


if __name__ == "__main__":
    run_step(main)
