"""Tar shards of a data dir, made by several jobs: which utterances are in which shard, and what is done.

    shard_dir/shards_000000002.tar, .tar.idx, .done.shards_000000002    part 3
    data_dir/shard.list                                                 when all shards are whole

A shard is a part, so that any number of jobs makes the same shards. The marks hold format, sample rate, and the
utterances with their speakers and what `wav.scp` and `segments` say of them.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from sv.audio.files import Waveform
from sv.audio.tar_shards import Recording, check_shard, index_path, read_shard_list, write_shard
from sv.audio.utterances import Utterances, estimate_hours
from sv.errors import UserError, check_whole, log
from sv.io import DataDir, atomic_write, written_path
from sv.jobs import DoneMark, claim_folder
from sv.jobs.parts import Outputs, Parts, try_all

_MAX_SHOWN = 20  # damaged utterances


@dataclass(frozen=True, kw_only=True)
class ShardParts(Parts):
    """Shards of one data dir.

    Attributes:
        data_dir: with wav.scp and utt2spk, and segments if there are.
        shard_dir: for this data dir alone; the list names its shards.
        sample_rate: Hz, of all files.
        utts_per_shard: as many in each but the last one.
        audio_format: "flac" or "wav"; "same" takes files of both as they are, and makes FLAC of the others.
        allow_pipes: run the commands in wav.scp.
    """

    data_dir: Path
    shard_dir: Path
    sample_rate: int = 16000
    utts_per_shard: int = 1000
    audio_format: str = "same"
    allow_pipes: bool = False

    def __post_init__(self) -> None:
        check_whole("--utts-per-shard", self.utts_per_shard, 1)

    @property
    def folder(self) -> Path:
        return self.shard_dir.absolute()

    @property
    def file_names(self) -> str:
        return r"\.{0,2}(done\.)?shards_\d+(\..+)?"

    @property
    def num_parts(self) -> int:
        return -(-len(self.order) // self.utts_per_shard)

    @property
    def result(self) -> Path:
        """Path of the list of shards, which is written last."""
        return self.data_dir / "shard.list"

    @cached_property
    def data(self) -> DataDir:
        """The data dir."""
        return DataDir(self.data_dir)

    @cached_property
    def utterances(self) -> Utterances:
        """Waveforms of the data dir."""
        return Utterances(self.data, self.sample_rate, self.allow_pipes)

    @cached_property
    def order(self) -> list[str]:
        """All utterances, shuffled by the hash of their ids, so that reading the shards in turn is a random order.

        Raises:
            UserError: an utterance has no speaker.
        """
        if missing := next((utt for utt in self.utterances.ids if utt not in self.data.utt2spk), ""):
            raise UserError(
                f"{self.utterances.source}: {missing} is not in utt2spk; run tools/fix_data_dir.sh {self.data_dir}"
            )
        return sorted(self.utterances.ids, key=lambda utt: hashlib.sha256(utt.encode()).digest())

    def shard(self, part: int) -> Path:
        """Return the path of a shard."""
        return self.folder / f"shards_{part - 1:09d}.tar"

    def utts(self, part: int) -> list[str]:
        """Return the utterances of a shard."""
        return self.order[(part - 1) * self.utts_per_shard : part * self.utts_per_shard]

    def num_items(self, part: int) -> int:
        return len(self.utts(part))

    def part_mark(self, part: int) -> DoneMark:
        lines = [json.dumps([utt, self.data.utt2spk[utt], self._audio_of(utt)]) for utt in self.utts(part)]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        options = {"format": self.audio_format, "sample_rate": self.sample_rate, "sha256": digest}
        return DoneMark(self.folder / f".done.{self.shard(part).stem}", options)

    def _audio_of(self, utt: str) -> tuple[object, ...]:
        if not self.data.segments:
            return (self.data.wav_scp[utt],)
        recording, start_s, end_s = self.data.segments[utt]
        return (self.data.wav_scp.get(recording, ""), start_s, end_s)

    def stale(self, *, verify: bool = False) -> str:
        for part in range(1, self.num_parts + 1):
            if why := self.part_mark(part).stale(verify=verify):
                return f"{self.shard(part).name}: {why}"
        listed = self.result.is_file() and self.result.read_text(encoding="utf-8").splitlines() == self._listed()
        return "" if listed else f"{self.result} does not list these shards"

    def _listed(self) -> list[str]:
        """Return the lines of the list."""
        return [written_path(self.shard(part), self.data_dir) for part in range(1, self.num_parts + 1)]

    def check(self) -> None:
        claim_folder(self.folder, "shards", ".owner.shards", self.result)

    def withdraw(self) -> None:
        self.result.unlink(missing_ok=True)

    def total_bytes(self) -> float:
        """Return an upper bound of the size of all shards: two bytes a sample."""
        return 2 * self.sample_rate * 3600 * estimate_hours(self.data_dir, self.sample_rate)

    def make(self, part: int) -> Outputs:
        shard = self.shard(part)
        remedy = (
            f"; repair it, or leave it out (remove it from {self.utterances.source} and run "
            f"tools/fix_data_dir.sh {self.data_dir})"
        )
        write_shard(shard, try_all(self.utts(part), self._recording, remedy=remedy))
        return {shard: "", index_path(shard): ""}

    def _recording(self, utt: str) -> Recording:
        """Read one utterance completely, so that no damaged file gets into a shard."""
        waveform, path = self.utterances.read(utt), self.utterances.plain_file(utt)
        ending = path.rpartition(".")[2].lower()
        if ending in ("wav", "flac") and self.audio_format in ("same", ending):
            audio = Path(path).read_bytes()
        else:
            ending = "flac" if self.audio_format == "same" else self.audio_format
            audio = encode_audio(waveform, self.sample_rate, ending)
        return Recording(utt, self.data.utt2spk[utt], ending, audio, self.sample_rate, len(waveform))

    def join(self) -> None:
        with atomic_write(self.result) as f:
            f.writelines(f"{shard}\n" for shard in self._listed())
        log.info("%s: %d utterances in %d shards", self.result, len(self.order), self.num_parts)


def encode_audio(waveform: Waveform, sample_rate: int, ending: str) -> bytes:
    """Encode samples in 16 bits, as "wav" or "flac"; exact if they came from 16 bits."""
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=ending.upper(), subtype="PCM_16")
    return file.getvalue()


def check_shards(data_dir: Path) -> None:
    """Compare every utterance of every shard with its checksum.

    Raises:
        UserError: an utterance is damaged.
    """
    shards = read_shard_list(data_dir / "shard.list")
    faults = [fault for shard in shards for fault in check_shard(shard)]
    for fault in faults[:_MAX_SHOWN]:
        log.error("%s", fault)
    if faults:
        raise UserError(f"{len(faults)} utterances are damaged, the first: {faults[0]}")
    log.info("%s: %d shards are as they were written", data_dir, len(shards))
