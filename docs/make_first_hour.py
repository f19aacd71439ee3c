#!/usr/bin/env python3
"""Write docs/first-hour.md: do what a new user does, in a fresh clone of this commit, and record it with its times.

Reads   SPEAKERS folders of audio below --corpus, copied to a folder of their own; the environment of SV_PYTHON if that
        is set, else tools/setup.sh makes one and its time is recorded, too
Writes  --page and, if Chromium is installed, a picture of the report beside it, images/report.png

e.g.: . ./path.sh; docs/make_first_hour.py --corpus /corpora/speechocean762/WAVE /tmp/first-hour
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sv.errors import UserError, run_step
from sv.io import atomic_write

ROOT = Path(__file__).resolve().parents[1]
SPEAKERS = 60
SHOWN_CORPUS = "/corpora/calls"
PASSED_ON = re.compile(r"PATH|HOME|LANG|SV_PYTHON|PIP_.*")
HEAD = """# The first hour

A record of what you see, made by `docs/make_first_hour.py` from a fresh clone of commit {commit}, on
{machine}. Nothing is shortened. Without a terminal there are no progress bars.
"""
BUSY = "Other programs kept these cores busy, which made it take longer: see the CPU times.\n"
READY = "The environment was there already (`SV_PYTHON`): its set-up is not part of these times.\n"
ERRORS = """Trained on so few speakers, a system often errs. On the test set, {missed} of the pairs of one speaker are
answered "different", and {accepted} of the pairs of two speakers "same". Of the pairs of {speaker}, {theirs} are
answered "different".
"""
MINI = "bash egs/mini/run.sh"
OWN = f"bash egs/own/run.sh --corpus {SHOWN_CORPUS}"
VERIFY = "steps/verify.py --model {model} {a} {b}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the clone and the copy of the corpus; must not exist")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with a folder for each speaker")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "first-hour.md", help="page to write")
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    clone, corpus = args.folder.absolute() / "sphereface2", args.folder.absolute() / "calls"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    names = copy_speakers(args.corpus, corpus, SPEAKERS)
    page = record_all(clone, corpus, names)
    with atomic_write(args.page) as f:
        f.write(page)
    picture(next(clone.glob("egs/own/exp/*/report.html")), args.page.parent / "images" / "report.png")


def copy_speakers(source: Path, target: Path, count: int) -> list[str]:
    """Copy the folders of the first speakers, and return their names."""
    names = sorted(path.name for path in source.iterdir() if path.is_dir())[:count]
    if len(names) < count:
        raise UserError(f"{source} has {len(names)} folders of speakers, not {count}; give a larger corpus")
    for name in names:
        shutil.copytree(source / name, target / name)
    return names


def record_all(clone: Path, corpus: Path, names: Sequence[str]) -> str:
    """Do every step in the clone, and return the page."""
    environment = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    hidden = {str(corpus): SHOWN_CORPUS, f"{clone}/": "", str(clone): "sphereface2"}

    def record(command: str) -> str:
        return record_command(command, clone, environment, hidden)

    parts = [HEAD.format(commit=output(clone, "git", "rev-parse", "--short", "HEAD"), machine=describe_machine())]
    parts += [BUSY] if os.getloadavg()[0] > len(os.sched_getaffinity(0)) else []
    if "SV_PYTHON" not in environment:
        parts += ["## The environment\n", record("bash tools/setup.sh")]
    else:
        parts += [READY]
    parts += ["## The small recipe\n", "A synthetic corpus, all stages, a table and a report.\n", record(MINI)]
    parts += ["## A corpus of your own\n", f"{len(names)} folders, a speaker each: {names[0]} to {names[-1]}.\n"]
    parts += [record(OWN)]
    system = next(clone.glob("egs/own/exp/*")).relative_to(clone)
    spoken = spoken_by(clone / "egs/own/data/test/wav.scp")
    (one, other), (third, *_) = spoken[0][:2], spoken[1]
    parts += ["## Same speaker or not\n", "Two files of a speaker of the test set, whom training never heard:\n"]
    parts += [record(VERIFY.format(model=system, a=one, b=other)), "And files of two speakers:\n"]
    parts += [record(VERIFY.format(model=system, a=one, b=third))]
    parts += [tell_errors(clone / system / "scores/cali_O.kaldi.score", Path(one).parent.name), "## The report\n"]
    parts += [f"`{system}/report.html` is one file, which needs no network. Its beginning:\n"]
    parts += ["![The first screen of the report](images/report.png)\n"]
    return "\n".join(parts)


def record_command(command: str, cwd: Path, environment: Mapping[str, str], hidden: Mapping[str, str]) -> str:
    """Run a command of bash; return it with all that it prints, as Markdown, and its time.

    Args:
        command: with the names that the page shows.
        cwd: where it runs.
        environment: all variables of it.
        hidden: real path -> the one that the page shows.

    Raises:
        UserError: an exit status other than 0, or 3 and 4, by which steps/verify.py answers.
    """
    real = command
    for path, shown in hidden.items():
        real = real.replace(shown, path) if shown.startswith("/") else real
    begun, before = time.monotonic(), os.times()
    done = subprocess.run(
        ["bash", "-c", real], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seconds, after = time.monotonic() - begun, os.times()
    computed = sum(after[2:4]) - sum(before[2:4])
    said = done.stdout
    for path, shown in hidden.items():
        said = said.replace(path, shown)
    if done.returncode not in (0, 3, 4):
        raise UserError(f"{command} ended with status {done.returncode}; it said: {said[-500:]}")
    return f"```\n$ {command}\n{said.rstrip()}\n```\n\nThis took {seconds:.0f} s, with {computed:.0f} s of CPU time.\n"


def spoken_by(wav_scp: Path) -> list[list[str]]:
    """Return the files of each speaker of a data dir, with the paths that the page shows."""
    files: dict[str, list[str]] = {}
    for line in wav_scp.read_text().splitlines():
        utt, path = line.split(maxsplit=1)
        speaker = utt.partition("/")[0]
        files.setdefault(speaker, []).append(f"{SHOWN_CORPUS}/{speaker}/{Path(path).name}")
    return list(files.values())


def tell_errors(scores: Path, speaker: str) -> str:
    """Say how often calibrated scores of test pairs err at a threshold of 0, and how often on pairs of one speaker."""
    lines = [line.split() for line in scores.read_text().splitlines()]  # enroll, test, LLR, target or nontarget
    same = [(enroll.partition("/")[0], float(llr) < 0) for enroll, _, llr, label in lines if label == "target"]
    others = [float(llr) >= 0 for _, _, llr, label in lines if label == "nontarget"]
    theirs = [missed for name, missed in same if name == speaker]
    shares = [sum(wrong) / len(wrong) for wrong in ([missed for _, missed in same], others, theirs)]
    missed, accepted, of_speaker = (f"{100 * share:.0f} %" for share in shares)
    return ERRORS.format(missed=missed, accepted=accepted, speaker=speaker, theirs=of_speaker)


def describe_machine() -> str:
    """Name processor and cores, and how busy they are."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = found[1] if found else platform.machine()
    cores = f"{len(os.sched_getaffinity(0))} cores of {name}, Python {platform.python_version()}"
    return f"{cores} (load at the start: {os.getloadavg()[0]:.0f})"


def output(cwd: Path, *words: str) -> str:
    """Return what a command prints, without its last line break."""
    return subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def picture(report: Path, target: Path) -> None:
    """Take a picture of the first screen of a report."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser:
        target.parent.mkdir(exist_ok=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,900"]
        subprocess.run([browser, *options, f"--screenshot={target}", report.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    run_step(main)
