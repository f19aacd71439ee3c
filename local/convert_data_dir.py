#!/usr/bin/env python3
"""Do the Python part of local/convert_audio.sh on a data dir or folder: called before the jobs, in each job, and after.

begin  checks the sources, and prints how many jobs to run: 0 if all is converted
part   writes the audio of part N to <dest>/audio, and what it wrote to <dest>/.convert_audio/made.N
join   writes the data dir of the converted audio
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import _path  # noqa: F401
import numpy as np
import soundfile

from local.corpus_folder import walk
from sv.audio.files import ENDINGS, UNREADABLE, AudioInfo, Waveform, info, parse_source, read_channel
from sv.errors import UserError, WrongCall, check_rate, counted, log, run_step
from sv.io import DataDir, atomic_write, check_id, part_rows, read_table, sha256_of
from sv.jobs import DoneMark
from sv.jobs.parts import Outputs, Parts, act, try_all

LOST = ("utt2dur", "utt2num_frames", "utt2uniq", "reco2dur")  # tables that hold no longer, or can be made again


@dataclass(frozen=True, kw_only=True)
class DirConversion(Parts):
    """The audio of a data dir, or of a folder, at one sample rate and of one channel.

    Attributes:
        source: a data dir, or a folder of audio in any depth.
        dest: becomes a data dir with the same tables, or a folder with the same tree; its audio is in audio/. A data
            dir has other paths for other sources or options, so that features are made anew.
        rate: Hz.
        channel: "mix", the mean of all; the number of one, from 1; "each": an utterance of each, <utt>-ch<number>.
        file_format: flac or wav, of 16 bits.
        allow_pipes: run the commands in wav.scp.
    """

    source: Path
    dest: Path
    rate: int = 16000
    channel: str = "mix"
    file_format: str = "flac"
    allow_pipes: bool = False

    @property
    def folder(self) -> Path:
        return self.dest / ".convert_audio"

    @cached_property
    def audio(self) -> Path:
        """The folder of converted audio."""
        folder = self.dest.absolute() / "audio"
        if not self.is_data_dir:
            return folder
        options = json.dumps(self._options(), sort_keys=True)
        return folder / hashlib.sha256(options.encode()).hexdigest()[:16]

    @property
    def file_names(self) -> str:
        return r"\.{0,2}(done\.)?made\.\d+(\..+)?"

    @property
    def result(self) -> Path:
        return self.audio

    @property
    def is_data_dir(self) -> bool:
        """Tell whether the source is a data dir: it then has a wav.scp."""
        return (self.source / "wav.scp").is_file()

    @cached_property
    def sounds(self) -> dict[str, str]:
        """All recordings: id -> value of wav.scp; of a folder, path without its ending -> path; no hidden files."""
        if self.is_data_dir:
            return read_table(self.source / "wav.scp")
        if not self.source.is_dir():
            raise UserError(f"{self.source} is no data dir, and no folder of audio; check the path")
        found: dict[str, str] = {}
        for path in sorted(map(Path, walk(self.source))):
            if path.suffix[1:].lower() in ENDINGS + UNREADABLE and path.is_file():
                name = str(path.relative_to(self.source).with_suffix(""))
                if found.setdefault(name, str(path)) != str(path):
                    raise UserError(f"{path} and {found[name]} would both be {name}.{self.file_format}; move one away")
        if not found:
            raise UserError(f"{self.source} has neither wav.scp nor audio; give a data dir or a folder of audio")
        return found

    @property
    def num_parts(self) -> int:
        return min(self.num_jobs, len(self.sounds))

    def num_items(self, part: int) -> int:
        return len(self._names(part))

    def _names(self, part: int) -> list[str]:
        rows = part_rows(len(self.sounds), part, self.num_parts)
        return list(self.sounds)[rows.start : rows.stop]

    def _options(self) -> dict[str, Any]:
        how = {"rate": self.rate, "channel": self.channel, "format": self.file_format}
        return {**how, "sounds": self.sounds, "sizes": self._sizes}

    @cached_property
    def _sizes(self) -> list[int]:
        """Bytes of the file of each recording, -1 if there is none; looked up once, as corpora are large."""
        paths = [Path(parse_source(spec).path) for spec in self.sounds.values()]
        return [path.stat().st_size if path.is_file() else -1 for path in paths]

    def part_mark(self, part: int) -> DoneMark:
        return DoneMark(self.folder / f".done.made.{part}", {**self._options(), "of": self.num_parts})

    def mark(self) -> DoneMark:
        """Return the mark of the whole."""
        tables = [path for path in sorted(self.source.iterdir()) if path.is_file()] if self.is_data_dir else []
        return DoneMark(self.dest / ".done.convert_audio", self._options() | {"tables": list(map(sha256_of, tables))})

    def stale(self, *, verify: bool = False) -> str:
        return self.mark().stale(verify=verify)

    def check(self) -> None:
        """Raise UserError if ffmpeg is needed and missing, or the channels cannot be told apart in segments."""
        if self.dest.exists() and self.dest.samefile(self.source):
            raise UserError(f"{self.dest} is both source and destination; name another destination")
        if not self.is_data_dir:
            self._check_folder()
        if self.channel not in ("mix", "each") and not (self.channel.isdecimal() and int(self.channel) > 0):
            raise WrongCall(f"--channel is mix, each or a number from 1, not {self.channel!r}")
        check_rate("--sample-rate", self.rate)
        if self.channel == "each" and (self.source / "segments").exists():
            raise UserError(
                f"{self.source} has segments, which name no channel; give --channel 1, then 2, in place of each"
            )
        unreadable = next((spec for spec in self.sounds.values() if _needs_ffmpeg(spec)), "")
        if unreadable and shutil.which("ffmpeg") is None:
            raise UserError(f"{unreadable} needs ffmpeg, which is missing; type: sudo apt-get install ffmpeg")
        self.folder.mkdir(parents=True, exist_ok=True)

    def _check_folder(self) -> None:
        """Raise UserError if the audio would be written into its source, or other audio to the same paths."""
        source, audio = self.source.resolve(), self.audio.resolve()
        if source in (audio, *audio.parents):
            raise UserError(f"{self.audio} is in {self.source}, which is the source; name another destination")
        made, asked = DoneMark.recorded(self.dest / ".done.convert_audio").options, self._options()
        for key in ("rate", "channel", "format"):
            if made and made[key] != asked[key]:
                raise UserError(
                    f"{self.audio} has {key} {made[key]}, not {asked[key]}, and features of it would not be made "
                    "anew; name another destination"
                )

    def withdraw(self) -> None:
        """Remove earlier audio, its list and what was made from it, so that nobody reads it with new audio."""
        if not self.is_data_dir:
            self._remove_from_folder()
        for name in ("wav.scp", "feats.scp", "vad.scp", *LOST, ".done.convert_audio"):
            (self.dest / name).unlink(missing_ok=True)
        if self.is_data_dir and self.audio.parent.is_dir():
            for folder in self.audio.parent.iterdir():
                if folder != self.audio and re.fullmatch("[0-9a-f]{16}", folder.name):
                    shutil.rmtree(folder)

    def _remove_from_folder(self) -> None:
        """Remove the audio that earlier runs wrote to a folder, except that of whole parts."""
        lists = [path for path in self.obsolete(self.sort()[1]) if path.name.startswith("made.")]
        lines = [line for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
        written = [Path(line.rpartition("\t")[2]) for line in lines]
        mark = DoneMark.recorded(self.dest.absolute() / ".done.convert_audio")
        for path in [*written, *(mark.outputs() if mark.options else ())]:
            if self.audio in path.parents:  # not so in a copy, whose lists name the original
                path.unlink(missing_ok=True)
                with suppress(OSError):  # not empty
                    os.removedirs(path.parent)

    def make(self, part: int) -> Outputs:
        """Convert the recordings of a part; go on after one that fails."""
        names = self._names(part)
        made = self.folder / f"made.{part}"
        with open(made, "w", encoding="utf-8", buffering=1) as f:  # by lines, to know what a killed run has written
            for lines in try_all(names, self._convert):
                f.writelines(lines)
        log.info("%d recordings converted", len(names))
        return {made: ""}

    def _convert(self, name: str) -> list[str]:
        """Convert one recording, and return its lines "new id <tab> id <tab> path"."""
        lines = []
        try:
            for suffix, samples in self._channels(self.sounds[name]):
                path = self.audio / f"{name}{suffix}.{self.file_format}"
                with atomic_write(path, "wb") as f:
                    soundfile.write(f, samples, self.rate, subtype="PCM_16", format=self.file_format.upper())
                lines.append(f"{name}{suffix}\t{name}\t{path}\n")
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        return lines

    def _channels(self, spec: str) -> Iterator[tuple[str, Waveform]]:
        """Yield the wanted channels at the wanted rate, each with the suffix of its id."""
        if _needs_ffmpeg(spec):
            content = _decode_by_ffmpeg(spec)
            samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
            channels = [np.ascontiguousarray(channel) for channel in samples.T]
        else:
            count = info(spec, self.allow_pipes).channels
            read = [read_channel(spec, _whole(number), self.allow_pipes) for number in range(count)]
            channels, rate = [samples for samples, _ in read], read[0][1]
        if self.channel == "each":
            yield from ((f"-ch{n}", self._resample(samples, rate)) for n, samples in enumerate(channels, start=1))
        elif self.channel == "mix":
            yield "", self._resample(np.mean(channels, axis=0, dtype=np.float32), rate)
        elif int(self.channel) > len(channels):
            raise UserError(
                f"{spec} has {counted(len(channels), 'channel')}; --channel {self.channel} is not one of them"
            )
        else:
            yield "", self._resample(channels[int(self.channel) - 1], rate)

    def _resample(self, samples: Waveform, rate: int) -> Waveform:
        if rate == self.rate:
            return samples
        import torch  # takes seconds to load
        from torchaudio.functional import resample

        torch.set_num_threads(1)
        return resample(torch.from_numpy(samples), rate, self.rate).numpy()

    def join(self) -> None:
        """Write the tables of the data dir, wav.scp last; of a folder there are none."""
        made = [self.folder / f"made.{part}" for part in range(1, self.num_parts + 1)]
        rows = [line.split("\t") for path in made for line in path.read_text(encoding="utf-8").splitlines()]
        if self.is_data_dir:
            self._write_tables({new: old for new, old, _ in rows}, {new: path for new, _, path in rows})
        paths = [Path(path) for *_, path in rows]
        self.mark().write(paths, dict.fromkeys(paths, ""))
        shutil.rmtree(self.folder)
        log.info("%s: %d recordings at %d Hz", self.audio, len(rows), self.rate)

    def _write_tables(self, ids: dict[str, str], paths: dict[str, str]) -> None:
        """Write all tables; those of utterances with an entry for each new id, whose old id is `ids[new]`."""
        tables: dict[str, dict[str, str]] = {}
        has_segments = (self.source / "segments").exists()
        for path in sorted(self.source.iterdir()):
            name = path.name
            if name.startswith("spk2") and name != "spk2utt":
                tables[name] = read_table(path)
            elif (name.startswith("utt2") or name in ("text", "segments")) and name not in LOST:
                table = read_table(path)
                tables[name] = table if has_segments else {n: table[old] for n, old in ids.items() if old in table}
        for new in ids:
            check_id(new, str(self.source / "wav.scp"))
        DataDir.write(self.dest, {**tables, "wav.scp": paths})
        if self.channel != "each" and (self.source / "trials").is_dir():
            shutil.copytree(self.source / "trials", self.dest / "trials", dirs_exist_ok=True)


def _needs_ffmpeg(spec: str) -> bool:
    return parse_source(spec).path.rpartition(".")[2].lower() in UNREADABLE


def _whole(channel: int) -> Any:
    """Return what chooses all samples of a channel, for `read_channel`."""

    def choose(header: AudioInfo) -> tuple[int, int, int]:
        return channel, 0, header.samples

    return choose


def _decode_by_ffmpeg(path: str) -> bytes:
    """Return a file as WAV, with its channels and rate."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-threads", "1", "-i", path, "-vn"]
    command += ["-map_metadata", "-1", "-c:a", "pcm_s16le", "-f", "wav", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
        raise UserError(f"{path}: ffmpeg: {' '.join(said[0].split())[:300]}; bring it back or leave it out")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("source", type=Path, help="data dir, or folder of audio files")
    parser.add_argument("dest", type=Path, help="data dir to write")
    parser.add_argument("--sample-rate", type=int, default=16000, help="sample rate of the converted files in Hz")
    parser.add_argument("--channel", default="mix", help="mix, each, or the number of a channel, from 1")
    parser.add_argument("--format", choices=["flac", "wav"], default="flac", help="format of the converted files")
    parser.add_argument("--allow-pipes", choices=["true", "false"], default="false", help="run commands in wav.scp")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    args = parser.parse_args()
    work = DirConversion(
        source=args.source,
        dest=args.dest,
        rate=args.sample_rate,
        channel=args.channel,
        file_format=args.format,
        allow_pipes=args.allow_pipes == "true",
        num_jobs=args.num_parts,
    )
    act(args.action, [work], args.part)


if __name__ == "__main__":
    run_step(main)
