#!/usr/bin/env python3
"""Do the Python part of local/convert_audio.sh: it is called before the jobs, in each job, and after them.

begin  writes <out-dir>/.convert_audio/todo.N with lines "source<TAB>target", and prints the number of jobs (0: none)
part   runs ffmpeg on each line of todo.N, and lists the files that fail in failed.N beside it
join   fails if any file failed, and names it
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import _path  # noqa: F401

from local.voxceleb import find_speaker_folders, scan
from sv.errors import UserError, counted, log, run_step
from sv.io import atomic_write
from sv.io.progress import Tally
from sv.jobs import DoneMark
from sv.jobs.parts import Outputs, Parts, act

NEEDED_BYTES = 64 << 20  # free disk below which a failure is put down to the full disk
FORMATS = {"flac": ["-f", "flac", "-sample_fmt", "s16"], "wav": ["-f", "wav", "-c:a", "pcm_s16le"]}


@dataclass(frozen=True, kw_only=True)
class Conversion(Parts):
    """The m4a files of a corpus without a converted copy; each part is a list of them, made when the work begins.

    Attributes:
        corpus: the folder of m4a files.
        out: the folder of the copies.
        file_format: one of FORMATS.
    """

    corpus: Path
    out: Path
    file_format: str = "flac"

    @property
    def folder(self) -> Path:
        return self.out / ".convert_audio"  # removed at the end, so its name must not be one that others use

    @property
    def result(self) -> Path:
        return self.out

    @property
    def file_names(self) -> str:
        return r"failed\b.*|\.done\..*|\..*\.tmp"

    @property
    def num_parts(self) -> int:
        return len(list(self.folder.glob("todo.*")))

    @cached_property
    def todo(self) -> list[tuple[str, str]]:
        """The files to convert, as (source, target)."""
        corpus, out = (Path(os.path.abspath(path)) for path in (self.corpus, self.out))
        return list(missing_files(corpus, out, self.file_format))

    def num_items(self, part: int) -> int:
        return len(self._files(part))

    def _files(self, part: int) -> list[str]:
        """Return the lines "source <tab> target" of a part's list."""
        return (self.folder / f"todo.{part}").read_text().splitlines()

    def part_mark(self, part: int) -> DoneMark:
        return DoneMark(self.folder / f".done.{part}", {}, (self.folder / f"todo.{part}",))

    def stale(self, *, verify: bool = False) -> str:
        return f"{counted(len(self.todo), 'file')} to convert" if self.todo else ""

    def check(self) -> None:
        """Write the lists.

        Raises:
            UserError: there is no ffmpeg; the folder cannot be written to.
        """
        if shutil.which("ffmpeg") is None:
            raise UserError(
                f"{self.corpus} holds m4a files, and there is no ffmpeg to read them; type: sudo apt-get install ffmpeg"
            )
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        except OSError as error:
            remedy = "give another folder with --out-dir (of a recipe: --audio-dir)"
            raise UserError(f"{self.out} cannot be written to ({error.strerror}); {remedy}") from error
        num_lists = min(self.num_jobs, len(self.todo))
        for part in range(num_lists):
            with atomic_write(self.folder / f"todo.{part + 1}") as f:
                f.writelines(f"{source}\t{target}\n" for source, target in self.todo[part::num_lists])

    def withdraw(self) -> None:
        """Leave files that were converted before, which are kept."""

    def make(self, part: int) -> Outputs:
        """Convert the files of a list; continue after one that fails, but stop when the disk is full."""
        lines = self._files(part)
        failed, tally = [], Tally(len(lines))
        for line in lines:
            source, _, target = line.partition("\t")
            if reason := convert(Path(source), Path(target)):
                if shutil.disk_usage(self.out).free < NEEDED_BYTES:
                    remedy = "free some space and run the same command again to continue"
                    raise UserError(f"{self.out}: the disk is full; {remedy}")
                log.warning("%s: %s", source, reason)
                failed.append(f"{source}: {reason}\n")
            tally.add()
        log.info("%d of %d files converted", len(lines) - len(failed), len(lines))
        path = self.folder / f"failed.{part}"
        with atomic_write(path) as f:
            f.writelines(failed)
        return {path: ""}

    def join(self) -> None:
        """Remove the lists.

        Raises:
            UserError: files failed: how many, where they are listed, and the first.
        """
        failed = sorted(line for path in self.folder.glob("failed.*") for line in path.read_text().splitlines())
        if failed:
            report = self.folder / "failed"
            with atomic_write(report) as f:
                f.writelines(f"{line}\n" for line in failed)
            raise UserError(
                f"{counted(len(failed), 'file')} could not be converted, listed in {report}: the first {failed[0]};"
                " unpack them again, or delete them to leave them out"
            )
        shutil.rmtree(self.folder)


def missing_files(corpus: Path, out: Path, file_format: str) -> Iterator[tuple[str, str]]:
    """Yield (source, target) of every m4a file that has no converted copy; VoxCeleb2's test part is left out."""
    folders = [folder for folder in find_speaker_folders(corpus) if "test" not in folder.relative_to(corpus).parts]
    converted = find_speaker_folders(out) if out != corpus and has_speakers(out) else []
    m4a: dict[str, str] = {}
    done = set()
    for folder in dict.fromkeys(chain(folders, converted)):
        for utt, ending, path in scan(folder):
            if ending != "m4a":
                done.add(utt)
            elif folder in folders:
                m4a.setdefault(utt, f"{path}\t{target_folder(folder, corpus, out, file_format)}/{utt}.{file_format}")
    for utt, line in m4a.items():
        if utt not in done:
            source, _, target = line.partition("\t")
            yield source, target


def has_speakers(folder: Path) -> bool:
    """Return whether a folder holds folders of speakers."""
    try:
        return bool(find_speaker_folders(folder))
    except UserError:
        return False


def target_folder(folder: Path, corpus: Path, out: Path, file_format: str) -> Path:
    """Return where converted files go: dev/aac -> dev/flac, or dev -> dev/flac if there is no "aac" in the path."""
    parts = list(folder.relative_to(corpus).parts)
    if "aac" in parts:
        parts[parts.index("aac")] = file_format
    else:
        parts.append(file_format)
    return out.joinpath(*parts)


def convert(source: Path, target: Path) -> str:
    """Convert one file, and return why it failed, or ""."""
    if target.exists():
        return ""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-threads", "1", "-y", "-i", str(source), "-vn"]
    command += ["-ac", "1", "-ar", "16000", "-map_metadata", "-1", *FORMATS[target.suffix[1:]], str(temporary)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            return " ".join(f"ffmpeg: {said[0]}".split())[:300]
        temporary.replace(target)
        return ""
    finally:
        temporary.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["begin", "part", "join"], help="which part of the work; see above")
    parser.add_argument("corpus", type=Path, help="folder of the corpus, with m4a files")
    parser.add_argument("out", type=Path, help="folder for the converted files")
    parser.add_argument("--format", choices=list(FORMATS), default="flac", help="format of the converted files")
    parser.add_argument("--num-parts", type=int, default=1, help="number of parts of the work")
    parser.add_argument("--part", type=int, default=1, help="1 to --num-parts")
    args = parser.parse_args()
    work = Conversion(corpus=args.corpus, out=args.out, file_format=args.format, num_jobs=args.num_parts)
    act(args.action, [work], args.part)


if __name__ == "__main__":
    run_step(main)
