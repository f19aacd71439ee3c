#!/usr/bin/env python3
"""One part of the work of steps/make_shards.sh, which calls this before, for and after its jobs.

begin  checks data dir and free disk, prints how many jobs to run: 0 if the shards are there already
part   makes every --num-parts'th of the shards that are not whole
join   writes <data-dir>/shard.list
check  compares every utterance of every shard with its checksum
"""

import argparse
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from sv.audio.files import Utterances, estimate_hours
from sv.audio.tar_shards import Recording, check_shard, index_path, read_shard_list, write_shard
from sv.config import load_config
from sv.errors import UserError, log, run_step
from sv.io import DataDir, atomic_write
from sv.jobs import DoneMark, claim_folder
from sv.jobs.disk import check_free

MAX_SHOWN = 20  # bad utterances of a shard


@dataclass(frozen=True)
class Shards:
    """The shards of a data dir: which utterances are in which, and what is done."""

    data: DataDir
    folder: Path
    sample_rate: int
    per_shard: int
    audio_format: str
    allow_pipes: bool

    @cached_property
    def utterances(self) -> Utterances:
        return Utterances(self.data, self.sample_rate, self.allow_pipes)

    @cached_property
    def order(self) -> list[str]:
        """All utterances as shuffled by the hash of their ids, so that one shard after the other is a good order, too.

        Raises:
            UserError: an utterance without speaker.
        """
        if missing := next((utt for utt in self.utterances.ids if utt not in self.data.utt2spk), ""):
            path = self.data.path
            raise UserError(f"{self.utterances.source}: {missing} is not in utt2spk; run tools/fix_data_dir.sh {path}")
        return sorted(self.utterances.ids, key=lambda utt: hashlib.sha256(utt.encode()).digest())

    @property
    def count(self) -> int:
        return -(-len(self.order) // self.per_shard)

    @property
    def list_file(self) -> Path:
        return self.data.path / "shard.list"

    def path(self, number: int) -> Path:
        return self.folder / f"shards_{number:09d}.tar"

    def utts(self, number: int) -> list[str]:
        return self.order[number * self.per_shard : (number + 1) * self.per_shard]

    def mark(self, number: int) -> DoneMark:
        lines = [json.dumps([utt, self.data.utt2spk[utt], self._audio_of(utt)]) for utt in self.utts(number)]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        options = {"format": self.audio_format, "sample_rate": self.sample_rate, "sha256": digest}
        return DoneMark(self.folder / f".done.shards_{number:09d}", options)

    def missing(self, verify: bool = False) -> list[int]:
        """Numbers of the shards that are not whole."""
        return [number for number in range(self.count) if self.mark(number).stale(verify=verify)]

    def make(self, number: int) -> None:
        """Write a shard, its index and its mark; all bad utterances are told before the first one ends it."""
        failures: list[str] = []
        write_shard(self.path(number), self._recordings(number, failures))
        self.mark(number).write([self.path(number), index_path(self.path(number))])

    def _audio_of(self, utt: str) -> tuple[object, ...]:
        if not self.data.segments:
            return (self.data.wav_scp[utt],)
        recording, start_s, end_s = self.data.segments[utt]
        return (self.data.wav_scp.get(recording, ""), start_s, end_s)

    def _recordings(self, number: int, failures: list[str]) -> Iterator[Recording]:
        """Raises the first failure behind the last utterance, so that the shard is not kept."""
        for utt in self.utts(number):
            try:
                yield self._recording(utt)
            except UserError as error:
                if len(failures) < MAX_SHOWN:
                    log.error("%s", error)
                failures.append(str(error))
        if failures:
            raise UserError(
                f"{len(failures)} utterances can not be read, the first: {failures[0]}; mend them, or leave them out "
                f"(remove them from {self.utterances.source} and run tools/fix_data_dir.sh {self.data.path})"
            )

    def _recording(self, utt: str) -> Recording:
        """Decoded to its end, so that nothing damaged gets in."""
        waveform, path = self.utterances.read(utt), self.utterances.plain_file(utt)
        ending = path.rpartition(".")[2].lower()
        if ending in ("wav", "flac") and self.audio_format in ("same", ending):
            audio = Path(path).read_bytes()
        else:
            ending = "flac" if self.audio_format == "same" else self.audio_format
            audio = encode(waveform, self.sample_rate, ending)
        return Recording(utt, self.data.utt2spk[utt], ending, audio, self.sample_rate, len(waveform))


def encode(waveform: np.ndarray, sample_rate: int, ending: str) -> bytes:
    """A file of 16-bit samples; exact for samples that were of 16 bits."""
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=ending.upper(), subtype="PCM_16")
    return file.getvalue()


def begin(work: Shards, num_parts: int, verify: bool) -> int:
    """Check now what would fail in every part; returns the number of parts to run.

    Raises:
        UserError: too little free disk; the folder is another data dir's.
    """
    claim_folder(work.folder, "shards", ".owner.shards", work.list_file)
    missing = work.missing(verify)
    if not missing and is_listed(work):
        return 0
    log.info("%s: %d of %d shards to be made", work.folder, len(missing), work.count)
    check_free({work.folder: bytes_to_come(work, missing)})
    work.list_file.unlink(missing_ok=True)
    for left in work.folder.glob(".shards_*.tmp"):  # of a run that was killed
        left.unlink()
    return max(1, min(num_parts, len(missing)))


def bytes_to_come(work: Shards, missing: Sequence[int]) -> float:
    """Of the missing shards, at most: two bytes a sample."""
    return 2 * work.sample_rate * 3600 * estimate_hours(work.data.path, work.sample_rate) * len(missing) / work.count


def is_listed(work: Shards) -> bool:
    """Whether shard.list names these shards."""
    names = [str(work.path(number)) for number in range(work.count)]
    return work.list_file.is_file() and work.list_file.read_text(encoding="utf-8").splitlines() == names


def join(work: Shards) -> None:
    """List the shards; those of an earlier run with more of them are removed.

    Raises:
        UserError: one is not whole.
    """
    if missing := work.missing():
        raise UserError(f"{work.path(missing[0])} is not whole; run the same command again")
    ours = {work.path(number).name for number in range(work.count)}
    for mark in work.folder.glob(".done.shards_*"):
        shard = work.folder / f"{mark.name.removeprefix('.done.')}.tar"
        if shard.name not in ours:
            for path in (mark, shard, index_path(shard)):
                path.unlink(missing_ok=True)
    with atomic_write(work.list_file) as f:
        f.writelines(f"{work.path(number)}\n" for number in range(work.count))
    log.info("%s: %d utterances in %d shards", work.list_file, len(work.order), work.count)


def check(data_dir: Path) -> None:
    """Raises UserError if an utterance of the shards is damaged."""
    shards = read_shard_list(data_dir / "shard.list")
    faults = [fault for shard in shards for fault in check_shard(shard)]
    for fault in faults[:MAX_SHOWN]:
        log.error("%s", fault)
    if faults:
        raise UserError(f"{len(faults)} utterances are damaged, the first: {faults[0]}")
    log.info("%s: %d shards are as they were written", data_dir, len(shards))


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of these words, or of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join", "check"])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("shard_dir", type=Path, nargs="?", help="for this data dir alone (default: <data-dir>/shards)")
    parser.add_argument("--num-parts", type=int, default=1)
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    parser.add_argument("--sample-rate", type=int, default=16000)
    parser.add_argument("--config", type=Path, help="YAML of a system, whose sample rate it is then")
    parser.add_argument("--utts-per-shard", type=int, default=1000)
    parser.add_argument("--format", choices=["same", "flac", "wav"], default="same")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false")
    parser.add_argument("--verify", choices=["true", "false"], default="false")
    return parser.parse_args(words)


def read_task(args: argparse.Namespace) -> Shards:
    """What the options ask for."""
    folder = (args.shard_dir or args.data_dir / "shards").absolute()
    rate = load_config(args.config).dataset_args.fbank_args.sample_rate if args.config else args.sample_rate
    return Shards(DataDir(args.data_dir), folder, rate, args.utts_per_shard, args.format, args.allow_pipes == "true")


def main() -> None:
    args = parse()
    if args.action == "check":
        check(args.data_dir)
        return
    if args.utts_per_shard < 1 or not 1 <= args.part <= args.num_parts:
        raise UserError(f"--utts-per-shard {args.utts_per_shard}, part {args.part} of {args.num_parts}: 1 is the least")
    work = read_task(args)
    if args.action == "begin":
        print(begin(work, args.num_parts, args.verify == "true"))
    elif args.action == "part":
        for number in range(args.part - 1, work.count, args.num_parts):
            if work.mark(number).stale(verify=args.verify == "true"):
                work.make(number)
    else:
        join(work)


if __name__ == "__main__":
    run_step(main)
