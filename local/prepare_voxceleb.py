#!/usr/bin/env python3
"""Make data dirs and trial lists of VoxCeleb, from the corpora as distributed, merged or converted.

Reads   --vox1 DIR, --vox2 DIR: folders with ID/VIDEO/NUMBER.{wav,flac} up to four levels down (wav/, {dev,test}/wav,
        dev/aac/, dev/flac/ ...); VoxCeleb2's `test` is left out; m4a must be converted first (local/convert_audio.sh)
        --lists DIR: veri_test2.txt, list_test_all2.txt, list_test_hard2.txt; default: in --vox1, in the folder above,
        or in meta/ of one of them
Writes  <data>/vox2_dev and <data>/vox1: wav.scp, utt2spk, spk2utt; an utterance is named ID/VIDEO/NUMBER.wav whatever
        the file's format
        <data>/vox1/trials/vox1_{O,E,H}_cleaned.kaldi "enroll test target|nontarget"

Everything is checked before anything is written. A list with speakers that are not in --vox1 (E and H need VoxCeleb1's
dev and test parts) is left out, or refused if --trials names it.
"""

import argparse
import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import _path  # noqa: F401

from local.voxceleb import TRIAL_LISTS, choose_files, find_speaker_folders, read_listing, scan
from sv.errors import UserError, WrongCall, log, run_step, tell
from sv.io import DataDir, atomic_write, check_id
from sv.jobs import folder_lock

WHERE_LISTS = "get it with local/download_voxceleb.py --parts lists, or give its folder with --lists"


def find_utterances(roots: Sequence[Path], listing: str, leave_out: str = "") -> dict[str, str]:
    """Return the paths of all utterances, sorted by utterance.

    Args:
        roots: the corpus; a second folder holds the files that were converted from the first.
        listing: a file with its paths, or "" to search for them.
        leave_out: name of a folder above the speakers that is left out.

    Raises:
        UserError: there is no audio, or some is not converted.
    """
    roots = [Path(os.path.abspath(root)) for root in roots]
    root = roots[0]
    if listing:
        files: Iterable[tuple[str, str, str]] = read_listing(Path(listing), root)
        start = len(str(root)) + 1
        files = (file for file in files if leave_out not in file[2][start:].split("/")[:-3])
    else:
        kept = []
        for root in roots:
            for folder in find_speaker_folders(root):
                if leave_out in folder.relative_to(root).parts:
                    log.info("%s is left out: it is not part of the training data", folder)
                else:
                    kept.append(folder)
        files = chain.from_iterable(scan(folder) for folder in kept)
    utt2path, passed_over = choose_files(files)
    check_found(utt2path, root)
    if passed_over:
        log.info("%s: %d files are other copies of an utterance, and are not used", root, passed_over)
    return {utt: utt2path[utt] for utt in sorted(utt2path)}


def check_found(utt2path: dict[str, str], root: Path) -> None:
    """Check that all utterances can be used.

    Raises:
        UserError: there are none, some are m4a only, or a table cannot hold a name.
    """
    if not utt2path:
        raise UserError(f"{root} has folders of speakers but no audio in them (ID/VIDEO/NUMBER.wav); unpack it again")
    m4a = [utt for utt, path in utt2path.items() if path.endswith(".m4a")]
    if m4a:
        raise UserError(
            f"{root}: {len(m4a)} of {len(utt2path)} utterances are there as m4a only, the first {utt2path[m4a[0]]};"
            f" convert them: local/convert_audio.sh {root}"
        )
    for utt, path in utt2path.items():
        if not utt.isascii() or any(c.isspace() for c in utt):
            check_id(utt, path)
        if "\n" in path:
            raise UserError(f"{path!r}: a line break in a path; rename the folder")


def find_lists(given: str, vox1: Path) -> dict[str, Path]:
    """Return the files of the lists O, E and H that are found, by list."""
    places = [Path(given)] if given else [vox1, vox1 / "meta", vox1.parent, vox1.parent / "meta"]
    if given and not places[0].is_dir():
        raise UserError(f"--lists {given} is not a folder; give the one that holds veri_test2.txt")
    found = {}
    for key, trial_list in TRIAL_LISTS.items():
        paths = [place / trial_list.file for place in places if (place / trial_list.file).is_file()]
        if paths:
            found[key] = paths[0]
    return found


def convert_trials(path: Path, utt2path: dict[str, str], speakers: set[str]) -> tuple[list[str], set[str]]:
    """Convert a list of lines "1|0 enroll test" to lines "enroll test target|nontarget".

    Args:
        path: the list.
        utt2path: the corpus's utterances, without ending.
        speakers: the corpus's speakers.

    Returns:
        the lines, and the list's speakers that are not in the corpus; no lines if there are such speakers.

    Raises:
        UserError: a line has another form, a label contradicts the speakers, an utterance of a known speaker is
            unknown, or there is no target or no non-target trial.
    """
    lines: list[str] = []
    missing: set[str] = set()
    count = {"0": 0, "1": 0}
    with open(path, encoding="utf-8-sig", errors="replace") as f:
        for number, line in enumerate(f, start=1):
            words = line.split()
            if len(words) != 3 or words[0] not in count:
                raise UserError(f"{path}:{number}: expected '1|0 utt1 utt2', found {line.strip()[:80]!r}; get it again")
            label, *pair = words
            spk = [utt.partition("/")[0] for utt in pair]
            if (spk[0] == spk[1]) != (label == "1"):
                raise UserError(
                    f"{path}:{number}: label {label} for speakers {spk[0]} and {spk[1]}; get the list again"
                )
            unknown = [utt for utt in pair if utt.rpartition(".")[0] not in utt2path]
            absent = [utt.partition("/")[0] for utt in unknown if utt.partition("/")[0] not in speakers]
            if unknown and not absent:
                raise UserError(
                    f"{path}:{number}: {unknown[0]} is not in the corpus, but its speaker is; unpack it again"
                )
            missing.update(absent)
            count[label] += 1
            if not missing:
                lines.append(f"{pair[0]} {pair[1]} {'target' if label == '1' else 'nontarget'}\n")
    if not (count["0"] and count["1"]):
        raise UserError(
            f"{path}: {count['1']} target and {count['0']} non-target trials; both are needed; get it again"
        )
    return ([] if missing else lines), missing


def make_trials(found: dict[str, Path], wanted: list[str], utt2path: dict[str, str]) -> dict[str, list[str]]:
    """Return the lines of all lists that can be made, by their file name in the data dir.

    Args:
        found: the lists' files, by O, E and H.
        wanted: the lists that must be made; empty: all that can be made.
        utt2path: VoxCeleb1's utterances, without ending.

    Raises:
        UserError: a wanted list, or any list at all, cannot be made.
    """
    speakers = {utt.partition("/")[0] for utt in utt2path}
    made = {}
    for key, trial_list in TRIAL_LISTS.items():
        if wanted and key not in wanted:
            continue
        if key not in found:
            if wanted:
                raise UserError(f"{trial_list.file} is not there; {WHERE_LISTS}")
            log.warning("%s is left out: there is no %s", trial_list.name, trial_list.file)
            continue
        lines, missing = convert_trials(found[key], utt2path, speakers)
        if missing:
            what = f"{len(missing)} of its speakers (the first {min(missing)}) are not in the corpus"
            remedy = "E and H need VoxCeleb1's dev and test parts, O its test part"
            if wanted:
                raise UserError(f"{found[key]}: {what}; {remedy}")
            log.warning("%s is left out: %s; %s", trial_list.name, what, remedy)
            continue
        published = hashlib.md5(found[key].read_bytes()).hexdigest() == trial_list.md5
        origin = "the published list" if published else "not the published list"
        log.info("%s: %d trials, %s", trial_list.name, len(lines), origin)
        made[trial_list.name] = lines
    if not made:
        raise UserError(f"no trial list can be made; {WHERE_LISTS}")
    return made


def check_disjoint(train: dict[str, str], test: dict[str, str]) -> None:
    """Check that training and test share no speakers.

    Raises:
        UserError: they do.
    """
    both = {utt.partition("/")[0] for utt in train} & {utt.partition("/")[0] for utt in test}
    if both:
        raise UserError(
            f"{len(both)} speakers are in --vox2 and in --vox1, the first {min(both)}: training and test must not share"
            " speakers; give VoxCeleb2 and VoxCeleb1 in separate folders"
        )


def write_data_dir(folder: Path, utt2path: dict[str, str]) -> None:
    """Write wav.scp, utt2spk and spk2utt; a file with the same content is left alone."""
    utt2spk = {f"{utt}.wav": utt.partition("/")[0] for utt in utt2path}
    DataDir.write(folder, {"wav.scp": {f"{utt}.wav": path for utt, path in utt2path.items()}, "utt2spk": utt2spk})
    tell("%s: %d speakers, %d utterances", folder, len(set(utt2spk.values())), len(utt2spk))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data dirs")
    parser.add_argument("--vox1", type=Path, required=True, metavar="DIR", help="VoxCeleb1: test, or dev and test")
    parser.add_argument(
        "--vox2",
        type=Path,
        required=True,
        action="append",
        metavar="DIR",
        help="VoxCeleb2: dev; give it twice if converted files are in another folder",
    )
    parser.add_argument("--lists", default="", metavar="DIR", help="folder of the published trial lists")
    parser.add_argument("--trials", default="", help='lists that must be made, such as "O H"; default: all that can be')
    parser.add_argument(
        "--vox1-files",
        default="",
        metavar="FILE",
        help="list of the paths of all files of --vox1, one per line, instead of a search",
    )
    parser.add_argument("--vox2-files", default="", metavar="FILE", help="list of the paths of all files of --vox2")
    args = parser.parse_args()
    wanted = args.trials.replace(",", " ").split()
    if not set(wanted) <= set(TRIAL_LISTS):
        raise WrongCall(f"--trials {args.trials!r}: known lists are {', '.join(TRIAL_LISTS)}")

    test = find_utterances([args.vox1], args.vox1_files)
    train = find_utterances(args.vox2, args.vox2_files, leave_out="test")
    check_disjoint(train, test)
    trials = make_trials(find_lists(args.lists, args.vox1), wanted, test)

    with folder_lock(args.data, "prepared"):
        write_data_dir(args.data / "vox2_dev", train)
        write_data_dir(args.data / "vox1", test)
        for trial_list in TRIAL_LISTS.values():
            path = args.data / "vox1" / "trials" / trial_list.name
            if trial_list.name in trials:
                with atomic_write(path, keep_same=True) as f:
                    f.writelines(trials[trial_list.name])
            else:
                path.unlink(missing_ok=True)  # left from another corpus


if __name__ == "__main__":
    run_step(main)
