#!/usr/bin/env python3
"""Make a degraded copy of a test set: in noise, in a room, over the telephone, or cut short.

Reads   <data>/{wav.scp,segments,utt2spk,...} and its trial lists; --noises, --rirs: folders as local/prepare_musan.py
        and local/prepare_rirs.py write them
Writes  <out>/degraded/*.flac (16 bit), wav.scp, utt2spk and the other tables of utterances and speakers,
        <out>/trials/<list>_<name> (H.kaldi becomes H_noise5.kaldi), <out>/.done

The utterances keep their ids, so only the names of the lists differ from those of <data>. All draws depend on the id
and on --seed. The steps are applied in the order --seconds, --rirs, --noises, --telephone; the SNR holds where noise is
added. If the result exceeds full scale, it is made quieter, not clipped.

e.g.: local/degrade_data.py --noises noises/test --snr 5 data/test noise5 data/test_noise5
      local/degrade_data.py --seconds 2 data/test 2s data/test_2s
"""

import argparse
import hashlib
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import UserError, WrongCall, check_rate, check_seed, log, run_step
from sv.io import DataDir, check_id
from sv.io.atomic import sha256_of
from sv.io.progress import bar
from sv.jobs import DoneMark

if TYPE_CHECKING:
    from sv.audio.files import Waveform
    from sv.data import Augmenter

VERSION = 1  # increased when the copies for given options change
OF_AUDIO = {"utt2dur", "utt2num_frames", "utt2augment"}  # tables that no longer hold


def cut(waveform: "Waveform", samples: int, place: float) -> "Waveform":
    """Return a part of at most `samples`, whose start is at the share `place`, in [0, 1), of what is left out."""
    start = int(place * (max(0, len(waveform) - samples) + 1))
    return waveform[start : start + samples]


def draw(utt: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {utt}".encode()).digest()[:6], "little") / 2**48


def make_augmenters(args: argparse.Namespace) -> "dict[str, Augmenter]":
    """Return what adds a room and what adds noise, by kind, in the order in which they are applied.

    Raises:
        UserError: a folder has no wav.scp, or nothing of the kind.
    """
    from sv.config import AugmentArgs
    from sv.data import Augmenter, ClipFolders

    made = {}
    for kind, folders in {"reverb": ClipFolders("", args.rirs), "noise": ClipFolders(args.noises, "")}.items():
        if folders.noise or folders.rir:
            settings = AugmentArgs(noise_snr=[args.snr or 0.0] * 2)
            made[kind] = Augmenter(settings, folders, prob=1.0, seed=args.seed, sample_rate=args.sample_rate)
    return made


def degrade(args: argparse.Namespace, augmenters: "dict[str, Augmenter]", files: dict[str, Path]) -> None:
    """Write the audio of each utterance to its file."""
    import soundfile
    import torch

    from sv.audio.telephone import telephone
    from sv.audio.utterances import Utterances

    utterances = Utterances(DataDir(args.data), args.sample_rate)
    for utt, path in bar(files.items(), "utterances", len(files)):
        whole = utterances.read(utt)
        samples = round(args.seconds * args.sample_rate) if args.seconds else len(whole)
        sound = torch.from_numpy(cut(whole, samples, draw(utt, args.seed)))[None]
        for kind, augmenter in augmenters.items():
            sound, _ = augmenter.augment(utt, sound, kind)
        if args.telephone == "true":
            sound = telephone(sound, args.sample_rate)
        sound = sound / max(1.0, 1.001 * float(sound.abs().max()))
        soundfile.write(path, sound[0].numpy(), args.sample_rate, subtype="PCM_16")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="data dir of the test set")
    parser.add_argument("name", help="name of the condition, the suffix of the lists, such as noise5")
    parser.add_argument("out", type=Path, help="data dir to write")
    parser.add_argument("--noises", default="", metavar="DIR", help="data dir of noise, whose ids begin with noise/")
    parser.add_argument("--snr", type=float, metavar="DB", help="signal-to-noise ratio of --noises")
    parser.add_argument("--rirs", default="", metavar="DIR", help="data dir of impulse responses")
    parser.add_argument(
        "--telephone", choices=["true", "false"], default="false", help="apply the band and mu-law of a telephone line"
    )
    parser.add_argument("--seconds", type=float, help="cut utterances to this many seconds")
    parser.add_argument("--sample-rate", type=int, default=16000, help="Hz")
    parser.add_argument("--config", type=Path, help="YAML of a system, to use its sample rate")
    parser.add_argument("--seed", type=int, default=1, help="seed of all draws")
    args = parser.parse_args()
    check_rate("--sample-rate", args.sample_rate)
    check_seed(args.seed)
    if args.config:
        from sv.config import load_config  # pydantic takes a tenth of a second

        args.sample_rate = load_config(args.config).dataset_args.fbank_args.sample_rate
    if (args.snr is None) != (not args.noises):
        raise WrongCall("--noises DIR and --snr DB belong together; give both or none")
    if not (args.noises or args.rirs or args.telephone == "true" or args.seconds is not None):
        raise WrongCall("nothing to change; give --noises and --snr, --rirs, --telephone true or --seconds")
    if args.snr is not None and not math.isfinite(args.snr):
        raise WrongCall(f"--snr {args.snr}: give a number of dB")
    if args.seconds is not None and not 0.1 <= args.seconds < math.inf:
        raise WrongCall(f"--seconds {args.seconds}: give 0.1 or more")
    if args.out.resolve() == args.data.resolve():
        raise UserError(f"{args.out} is the data dir that is read; give another folder")
    check_id(args.name, "the name of the copy")
    return args


def main() -> None:
    args = parse()
    data, augmenters = DataDir(args.data), make_augmenters(args)
    lists = sorted(path for path in args.data.glob("trials/*") if path.is_file())
    tables = sorted(path for path in args.data.glob("[us][tp][tk]2*") if path.name not in OF_AUDIO)
    options = {key: str(value) for key, value in vars(args).items() if key not in ("out", "config")}
    options |= {kind: augmenter.file_fingerprint() for kind, augmenter in augmenters.items()}
    sources = sorted({data.audio_list, args.data / "wav.scp"})
    mark = DoneMark(args.out / ".done", options | {"version": VERSION}, (*sources, *tables, *lists))
    if not mark.stale():
        log.info("%s is there already", args.out)
        return
    mark.path.unlink(missing_ok=True)
    for folder in ("degraded", "trials"):
        shutil.rmtree(args.out / folder, ignore_errors=True)
        (args.out / folder).mkdir(parents=True)
    contents = [sha256_of(path) for path in sources]
    named = f"{sorted(options.items())} {contents}"  # other audio gets other paths, so features are made anew
    names = {utt: hashlib.sha1(f"{named} {utt}".encode()).hexdigest() for utt in data.utts}
    files = {utt: args.out.absolute() / "degraded" / f"{name}.flac" for utt, name in names.items()}
    degrade(args, augmenters, files)
    for table in tables:
        shutil.copyfile(table, args.out / table.name)
    for trials in lists:
        shutil.copyfile(trials, args.out / "trials" / f"{trials.stem}_{args.name}{trials.suffix}")
    DataDir.write(args.out, {"wav.scp": files})
    mark.write([args.out / "wav.scp"])
    log.info("%s: %d utterances, %d trial lists", args.out, len(files), len(lists))


if __name__ == "__main__":
    run_step(main)
