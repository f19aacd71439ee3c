#!/usr/bin/env python3
"""Compare systems on the same trials: one table, paired tests of the first against each other one, one report.

Reads   <exp-dir>/{results.json,scores,...} of each; --test-data: its utt2spk, for the tests over speakers.
Writes  rows for RESULTS.md on stdout; with --report FILE, one page with all systems.

A test draws the same speakers for both systems, whose score files must be over the same trials. They are read together
and not held: of each pair at most a million trials of each kind are kept, for the draws. Nothing is printed before all
is checked.
e.g.: steps/compare.py --test-data data/test --report compare.html exp/a exp/b
"""

import argparse
from pathlib import Path

from sv.embeddings.experiment import folder_name
from sv.errors import UserError, log, run_step
from sv.io import DataDir
from sv.metrics.results import markdown_table
from sv.metrics.score_files import compare_files
from sv.metrics.trial_speakers import Speakers
from sv.report import write_report
from sv.report.gather import ScoreSet, System, read_system


def check_same_lists(systems: list[System]) -> None:
    """Refuse lists of one name that are not the same: their numbers can not be compared.

    Raises:
        UserError: a list that is another one in another system.
    """
    known: dict[str, tuple[System, str]] = {}
    for system in systems:
        for trials, entries in system.results.items():
            for sha256 in (entry["trials_sha256"] for entry in entries.values()):
                first, expected = known.setdefault(trials, (system, sha256))
                if sha256 != expected:
                    raise UserError(
                        f"{system.path / 'results.json'}: {trials} is not the list of that name that "
                        f"{first.path / 'results.json'} was measured on; score the same list with both"
                    )


def paired_tests(systems: list[System], data: DataDir) -> str:
    """A row for each measure of each list and back-end that the first system shares with another."""
    speakers = Speakers(data.utt2spk, data.path / "utt2spk")
    rows = []
    for first in systems[0].scores:
        for second in [one for system in systems[1:] for one in system.scores]:
            if (first.trials, first.backend) == (second.trials, second.backend):
                rows += rows_of(first, second, speakers)
    if not rows:
        log.warning("%s shares no trial list and back-end with another system: nothing is tested", systems[0].name)
        return ""
    head = ["| trials | back-end | measure | first | second | difference [95 %] | p |"]
    head += ["| --- | --- | --- | ---: | ---: | ---: | ---: |"]
    return "".join(f"{line}\n" for line in head + rows)


def rows_of(first: ScoreSet, second: ScoreSet, speakers: Speakers) -> list[str]:
    llr = "cllr" in first.entry and "cllr" in second.entry
    where = f"{first.trials.removesuffix('.kaldi')} | {first.backend}: {first.system}, {second.system}"
    rows = []
    p_targets = [float(p) for p in first.entry["min_dcf"] if p in second.entry["min_dcf"]]
    for d in compare_files(first.path, second.path, speakers, p_targets, llr=llr):
        gap = f"{d.second - d.first:+.3f} [{d.interval[0]:+.3f}, {d.interval[1]:+.3f}]"
        p_value = f"{d.p_value:.3f}" if d.p_value >= 0.001 else "< 0.001"
        rows.append(f"| {where} | {d.name} | {d.first:.3f} | {d.second:.3f} | {gap} | {p_value} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dirs", type=Path, nargs="+", metavar="exp-dir")
    parser.add_argument("--test-data", type=Path, help="data dir of the test trials")
    parser.add_argument("--report", type=Path, help="page to write")
    args = parser.parse_args()
    if len({folder_name(path) for path in args.exp_dirs}) < max(2, len(args.exp_dirs)):
        raise UserError("give two or more folders, of different names")
    systems = [read_system(path, args.test_data.name if args.test_data else "") for path in args.exp_dirs]
    check_same_lists(systems)
    tests = paired_tests(systems, DataDir(args.test_data)) if args.test_data else ""
    if args.report:
        write_report(systems, args.report, args.test_data)
    print(markdown_table({system.name: system.results for system in systems}), tests, sep="\n" * bool(tests), end="")


if __name__ == "__main__":
    run_step(main)
