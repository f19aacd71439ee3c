#!/usr/bin/env python3
"""Make a small synthetic corpus in VoxCeleb's layout: 60 voices with 3 sessions of 4 utterances of 2 to 6 s each.

Writes  <out-dir>/voxceleb2/dev/wav/id00001/mini_001_s1/00001.wav ...   40 training speakers
        <out-dir>/voxceleb1/wav/id10001/mini_041_s1/00001.wav ...       20 test speakers, odd numbers male
        <out-dir>/voxceleb1/{veri_test2,list_test_all2,list_test_hard2}.txt   "1|0 UTT1 UTT2"
        <out-dir>/.done                                                 written last

local/voices.py makes the voices. Target trials pair two sessions of a speaker; non-target trials are drawn as in
local/make_trials.py, those of list_test_hard2.txt from one sex. Each utterance has its own random numbers, from the
seed, its speaker, session and number, so that any --nj gives the same bytes (on one machine; another processor or numpy
may round a sample differently). A speaker's folder is written whole or not at all. A second run continues with the next
speaker. With another --seed the corpus is made again.
"""

import argparse
import json
import os
import shutil
import wave
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import _path  # noqa: F401
import numpy as np

from local.make_trials import Pair, nontarget_pairs, target_pairs
from local.voices import SAMPLE_RATE, draw_session, draw_voice, synthesize
from sv.errors import UserError, check_seed, check_whole, log, run_step
from sv.io import atomic_write
from sv.io.progress import bar
from sv.jobs import DoneMark
from sv.jobs.process import die_with_parent

VERSION = 1  # increased when the voices for a given seed change
NUM_SESSIONS, NUM_UTTERANCES = 3, 4
SHORTEST, LONGEST = 200, 600  # frames of 10 ms
TRIAL_LISTS = {
    "veri_test2.txt": (4800, False),
    "list_test_all2.txt": (9600, False),
    "list_test_hard2.txt": (4800, True),
}


@dataclass(frozen=True)
class Speaker:
    """A speaker of the corpus."""

    number: int  # from 1; odd ones are male
    folder: str  # relative to the corpus

    @property
    def name(self) -> str:
        return Path(self.folder).name

    @property
    def female(self) -> bool:
        return self.number % 2 == 0


def all_speakers(num_train: int, num_test: int) -> list[Speaker]:
    train = [Speaker(n, f"voxceleb2/dev/wav/id{n:05d}") for n in range(1, num_train + 1)]
    test = [Speaker(num_train + n, f"voxceleb1/wav/id{10000 + n}") for n in range(1, num_test + 1)]
    return train + test


def sessions_of(speaker: Speaker) -> Iterator[tuple[int, str]]:
    """Yield (number, name) of each session; a name has 11 characters, as that of a video does."""
    for number in range(1, NUM_SESSIONS + 1):
        yield number, f"mini_{speaker.number:03d}_s{number}"


def wav_files(folder: Path, speaker: Speaker) -> list[Path]:
    """Return the paths of a speaker's utterances."""
    return [
        folder / name / f"{utt:05d}.wav" for _, name in sessions_of(speaker) for utt in range(1, NUM_UTTERANCES + 1)
    ]


def is_whole(folder: Path, speaker: Speaker) -> bool:
    """Return whether all files of a speaker exist and none is truncated."""
    return all(path.is_file() and promised_size(path) == path.stat().st_size for path in wav_files(folder, speaker))


def promised_size(path: Path) -> int:
    """Return the size that a RIFF file's first 8 bytes give."""
    with open(path, "rb") as f:
        return int.from_bytes(f.read(8)[4:], "little") + 8


def make_speaker(speaker: Speaker, root: Path, seed: int) -> str:
    """Write all utterances of a speaker, unless they exist, and return the folder."""
    folder = root / speaker.folder
    if is_whole(folder, speaker):
        return speaker.folder
    temporary = folder.with_name(f".{folder.name}.tmp")
    for old in (temporary, folder):
        shutil.rmtree(old, ignore_errors=True)
    try:
        write_speaker(speaker, temporary, seed)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return speaker.folder


def write_speaker(speaker: Speaker, folder: Path, seed: int) -> None:
    voice = draw_voice(np.random.default_rng([seed, speaker.number]), female=speaker.female)
    for number, name in sessions_of(speaker):
        session = draw_session(np.random.default_rng([seed, speaker.number, number]))
        (folder / name).mkdir(parents=True)
        for utt in range(1, NUM_UTTERANCES + 1):
            rng = np.random.default_rng([seed, speaker.number, number, utt])
            samples = synthesize(rng, voice, session, int(rng.integers(SHORTEST, LONGEST, endpoint=True)))
            write_wav(folder / name / f"{utt:05d}.wav", samples.tobytes())


def write_wav(path: Path, samples: bytes) -> None:
    """Write a 16-bit mono WAV of little-endian int16 samples."""
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(SAMPLE_RATE)
        f.writeframes(samples)


def make_speakers(speakers: list[Speaker], root: Path, seed: int, nj: int) -> None:
    for speaker in speakers:
        (root / speaker.folder).parent.mkdir(parents=True, exist_ok=True)
    make = partial(make_speaker, root=root, seed=seed)
    fork = get_context("fork")  # Python 3.14 would put a server between this process and the others
    try:
        with ProcessPoolExecutor(nj, fork, die_with_parent, (os.getpid(),)) as pool:
            for done, folder in enumerate(bar(pool.map(make, speakers), "speakers", len(speakers)), start=1):
                log.debug("%s (%d of %d)", folder, done, len(speakers))
    except BrokenProcessPool as error:
        raise UserError(f"{root}: a process was killed (memory?); run the same command again to continue") from error


def write_lists(speakers: list[Speaker], folder: Path, seed: int) -> None:
    """Write the trial lists of the test speakers."""
    utt2spk, utt2session = {}, {}
    for speaker in speakers:
        for _, session in sessions_of(speaker):
            for utt in range(1, NUM_UTTERANCES + 1):
                name = f"{speaker.name}/{session}/{utt:05d}.wav"
                utt2spk[name], utt2session[name] = speaker.name, session
    sex = {speaker.name: speaker.female for speaker in speakers}

    def across_sessions(a: str, b: str) -> bool:
        return utt2session[a] != utt2session[b]

    targets = target_pairs(utt2spk, len(utt2spk) ** 2, seed, across_sessions)
    for name, (num_nontarget, same_sex) in TRIAL_LISTS.items():
        nontargets = nontarget_pairs(utt2spk, num_nontarget, seed, name, sex if same_sex else None)
        write_list(folder / name, targets, nontargets)


def write_list(path: Path, targets: list[Pair], nontargets: list[Pair]) -> None:
    lines = [f"1 {a} {b}\n" for a, b in targets] + [f"0 {a} {b}\n" for a, b in nontargets]
    with atomic_write(path) as f:
        f.writelines(lines)


def begin(root: Path, options: dict[str, int], *, anew: bool) -> None:
    """Remove files under `root` that are not part of this corpus.

    Args:
        root: folder of the corpus.
        options: all that decides the corpus.
        anew: remove everything, since it may be damaged.

    Raises:
        UserError: the folder holds a corpus that this script did not make.
    """
    note = root / ".making"  # options of the corpus that is (or was) being made
    trees = [root / "voxceleb1", root / "voxceleb2"]
    made = json.loads(note.read_text()) if note.is_file() else None
    if made is None and any(tree.exists() for tree in trees):
        raise UserError(f"{root} holds a corpus that this script did not make; give another folder")
    if anew or made != options:
        for tree in trees:
            shutil.rmtree(tree, ignore_errors=True)
        (root / ".done").unlink(missing_ok=True)
        with atomic_write(note) as f:
            json.dump(options, f)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="folder to put the corpus into")
    parser.add_argument("--seed", type=int, default=1, help="seed of all draws")
    parser.add_argument("--nj", type=int, default=2, help="number of processes")
    parser.add_argument("--num-train", type=int, default=40, help="number of training speakers, at most 999")
    parser.add_argument("--num-test", type=int, default=20, help="number of test speakers")
    parser.add_argument(
        "--verify", choices=["true", "false"], default="false", help="compare the checksums of existing files"
    )
    args = parser.parse_args()
    root: Path = args.out_dir
    check_seed(args.seed)
    check_whole("--nj", args.nj, 1)
    check_whole("--num-train", args.num_train, 1)
    check_whole("--num-test", args.num_test, 3)
    speakers = all_speakers(args.num_train, args.num_test)
    options = {"version": VERSION, "seed": args.seed, "num_train": args.num_train, "num_test": args.num_test}
    mark = DoneMark(root / ".done", options)
    verify = args.verify == "true"
    why = mark.stale(verify=verify)
    if not why:
        log.info("%s is there already", root)
        return
    begin(root, options, anew=verify)
    log.info("%s: %s; making %d speakers", root, why, len(speakers))
    make_speakers(speakers, root, args.seed, args.nj)
    write_lists(speakers[args.num_train :], root / "voxceleb1", args.seed)
    outputs = [path for speaker in speakers for path in wav_files(root / speaker.folder, speaker)]
    mark.write(outputs + [root / "voxceleb1" / name for name in TRIAL_LISTS])


if __name__ == "__main__":
    run_step(main)
