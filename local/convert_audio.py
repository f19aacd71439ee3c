#!/usr/bin/env python3
"""Do the steps of local/convert_audio.sh: list the files to convert, convert one part of the list, report failures.

begin   writes <out-dir>/.convert_audio/todo.N with lines "source<TAB>target", and prints the number of parts (0: none)
part    runs ffmpeg on each line of todo.N, and lists the files that fail in failed.N beside it
end     fails if any file failed, and names it
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from local.voxceleb import find_speaker_folders, scan
from sv.errors import UserError, log, run_step
from sv.io import atomic_write

WORK_DIR = (
    ".convert_audio"  # in the corpus or --out-dir; removed at the end, so its name must not be one that others use
)
NEEDED_BYTES = 64 << 20  # free disk below which a failure is put down to the full disk
FORMATS = {"flac": ["-f", "flac", "-sample_fmt", "s16"], "wav": ["-f", "wav", "-c:a", "pcm_s16le"]}


def begin(corpus: Path, out: Path, file_format: str, num_parts: int) -> int:
    """Write the lists of files to convert, one a part, and return the number of parts."""
    corpus, out = Path(os.path.abspath(corpus)), Path(os.path.abspath(out))
    todo = list(missing_files(corpus, out, file_format))
    if not todo:
        return 0
    if shutil.which("ffmpeg") is None:
        raise UserError(
            f"{corpus} holds m4a files, and there is no ffmpeg to read them; type: sudo apt-get install ffmpeg"
        )
    work = out / WORK_DIR
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written to ({error.strerror}); give another folder with --out-dir") from error
    num_parts = max(1, min(num_parts, len(todo)))
    for part in range(num_parts):
        with atomic_write(work / f"todo.{part + 1}") as f:
            f.writelines(f"{source}\t{target}\n" for source, target in todo[part::num_parts])
    log.info("%s: %d files to convert, in %d parts", corpus, len(todo), num_parts)
    return num_parts


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


def convert_part(out: Path, part: int) -> None:
    """Convert the files of todo.N; continue after one that fails, but stop when the disk is full."""
    lines = (out / WORK_DIR / f"todo.{part}").read_text().splitlines()
    failed = []
    for number, line in enumerate(lines, start=1):
        source, _, target = line.partition("\t")
        if reason := convert(Path(source), Path(target)):
            if shutil.disk_usage(out).free < NEEDED_BYTES:
                raise UserError(f"{out}: the disk is full; free some space and run the same command again to continue")
            log.warning("%s: %s", source, reason)
            failed.append(f"{source}: {reason}\n")
        if number % 1000 == 0:
            log.info("%d of %d files", number, len(lines))
    if failed:
        with atomic_write(out / WORK_DIR / f"failed.{part}") as f:
            f.writelines(failed)
    log.info("%d of %d files converted", len(lines) - len(failed), len(lines))


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


def end(out: Path) -> None:
    """Remove the work folder, or report the files that failed.

    Raises:
        UserError: some failed; it says how many, where they are listed, and names the first.
    """
    failed = sorted(line for path in (out / WORK_DIR).glob("failed.*") for line in path.read_text().splitlines())
    if failed:
        report = out / WORK_DIR / "failed"
        with atomic_write(report) as f:
            f.writelines(f"{line}\n" for line in failed)
        raise UserError(
            f"{len(failed)} files could not be converted, listed in {report}: the first {failed[0]};"
            " unpack them again, or delete them to leave them out"
        )
    shutil.rmtree(out / WORK_DIR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    first = actions.add_parser("begin")
    first.add_argument("--format", choices=list(FORMATS), default="flac")
    first.add_argument("--num-parts", type=int, default=1)
    first.add_argument("corpus", type=Path)
    middle = actions.add_parser("part")
    middle.add_argument("--part", type=int, required=True)
    last = actions.add_parser("end")
    for action in (first, middle, last):
        action.add_argument("out", type=Path)
    args = parser.parse_args()
    if args.action == "begin":
        print(begin(args.corpus, args.out, args.format, args.num_parts))
    elif args.action == "part":
        convert_part(args.out, args.part)
    else:
        end(args.out)


if __name__ == "__main__":
    run_step(main)
