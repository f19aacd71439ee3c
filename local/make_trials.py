#!/usr/bin/env python3
"""Make two trial lists for a test set: O of any speakers, H of speakers of the same sex and age band.

Target trials, the same in both lists: all pairs of two utterances of a speaker; if there are more than --num-target,
those with the smallest SHA-256 of "SEED target UTT1 UTT2".
Non-target trials: for k = 0, 1, 2 ... the SHA-256 of "SEED LIST k" (LIST is O or H) gives two utterances: bytes 0 to 7
and 8 to 15, as big-endian numbers modulo the number of utterances, are indices into their sorted list. A pair is left
out if both are of one speaker, if it was drawn before in either order or, for H, if sex or age band (under 10, 10 to
17, 18 and over) differ. Drawing ends at --num-nontarget pairs, or when there are no more.
So the lists depend only on the ids and the seed, not on a library's random numbers or on the order of the input.

Reads   <data-dir>/utt2spk; for list H also spk2gender (f or m) and spk2age (years)
Writes  <out-dir>/O.kaldi and H.kaldi, "enroll test target|nontarget", the smaller id first, sorted; a list is written
        whole or not at all
Prints  name, size and the first digits of the SHA-256 of each list
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import combinations, count
from pathlib import Path

import _path  # noqa: F401

from sv.errors import UserError, check_seed, check_whole, log, run_step
from sv.io import DataDir, atomic_write, read_table, sha256_of

Pair = tuple[str, str]
Allowed = Callable[[str, str], bool]
SEED, NUM_TARGET, NUM_NONTARGET = 762, 6000, 12000


def any_two(first: str, second: str) -> bool:
    """Allow any two utterances in a target trial."""
    return True


def target_pairs(utt2spk: Mapping[str, str], limit: int, seed: int, allowed: Allowed = any_two) -> list[Pair]:
    """Return at most `limit` pairs of two utterances of one speaker, drawn by the rule above.

    Args:
        utt2spk: utterance to speaker.
        limit: maximum number of pairs.
        seed: decides which are drawn, if there are more.
        allowed: whether two utterances may make a trial.
    """
    groups: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        groups.setdefault(utt2spk[utt], []).append(utt)
    pairs = (pair for utts in groups.values() for pair in combinations(utts, 2) if allowed(*pair))  # may be millions
    return sorted(nsmallest(limit, pairs, key=lambda pair: _digest(f"{seed} target {pair[0]} {pair[1]}")))


def nontarget_pairs(
    utt2spk: Mapping[str, str], limit: int, seed: int, name: str, group: Mapping[str, object] | None = None
) -> list[Pair]:
    """Return `limit` pairs of utterances of two speakers, or all there are, drawn by the rule above.

    Args:
        utt2spk: utterance to speaker.
        limit: maximum number of pairs.
        seed, name: decide which are drawn.
        group: speaker to group; both speakers of a pair are of the same group. None: any two speakers.
    """
    utts = sorted(utt2spk)
    wanted = min(limit, count_nontargets(utt2spk, group))
    pairs: set[Pair] = set()
    for first, second in _draws(f"{seed} {name}", len(utts)) if wanted else ():
        a, b = utt2spk[utts[first]], utt2spk[utts[second]]
        if a != b and (group is None or group[a] == group[b]):
            pairs.add((utts[min(first, second)], utts[max(first, second)]))
            if len(pairs) == wanted:
                break
    return sorted(pairs)


def count_nontargets(utt2spk: Mapping[str, str], group: Mapping[str, object] | None = None) -> int:
    """Return the number of pairs of utterances of two speakers (of the same group)."""
    speakers = Counter(utt2spk.values())
    groups: Counter[object] = Counter()
    for spk, utts in speakers.items():
        groups[group[spk] if group else None] += utts
    same_group, same_speaker = (sum(n * (n - 1) // 2 for n in sizes.values()) for sizes in (groups, speakers))
    return same_group - same_speaker


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _draws(name: str, size: int) -> Iterator[tuple[int, int]]:
    for k in count():
        digest = _digest(f"{name} {k}")
        yield int.from_bytes(digest[:8], "big") % size, int.from_bytes(digest[8:16], "big") % size


def age_band(years: int) -> str:
    """Return the name of the age band."""
    return "under 10" if years < 10 else "10 to 17" if years < 18 else "18 and over"


def speaker_groups(
    speakers: Iterable[str], gender: Mapping[str, str], age: Mapping[str, str], folder: Path
) -> dict[str, tuple[str, str]]:
    """Return (sex, age band) by speaker.

    Args:
        speakers: those to look up.
        gender: f or m, by speaker.
        age: years, by speaker.
        folder: where the tables come from, for error messages.

    Raises:
        UserError: the sex of a speaker is not f or m, or the age is not a whole number of years.
    """
    groups = {}
    for spk in speakers:
        if gender.get(spk) not in ("f", "m"):
            raise UserError(f"{folder / 'spk2gender'}: speaker {spk} has {gender.get(spk)!r}; write f or m")
        if not age.get(spk, "").isdecimal():
            raise UserError(f"{folder / 'spk2age'}: speaker {spk} has {age.get(spk)!r}; write a whole number of years")
        groups[spk] = gender[spk], age_band(int(age[spk]))
    return groups


def draw_trials(
    utt2spk: Mapping[str, str],
    groups: Mapping[str, object] | None,
    *,
    seed: int = SEED,
    num_target: int = NUM_TARGET,
    num_nontarget: int = NUM_NONTARGET,
    allowed: Allowed = any_two,
) -> dict[str, dict[str, list[Pair]]]:
    """Draw the trials of list O and, if the speakers' groups are known, of list H: list -> label -> pairs.

    Args:
        utt2spk: utterance to speaker.
        groups: speaker to group, for list H.
        seed, num_target, num_nontarget: see above.
        allowed: whether two utterances may make a target trial. If no two of a speaker may, all may, with a warning.

    Raises:
        WrongCall: no trial is asked for.
        UserError: a list has no target or no non-target trial.
    """
    check_whole("--num-target", num_target, 1)
    check_whole("--num-nontarget", num_nontarget, 1)
    targets = target_pairs(utt2spk, num_target, seed, allowed)
    if not targets and (targets := target_pairs(utt2spk, num_target, seed)):
        log.warning(
            "no speaker has two recordings, or two sessions if these are known: target trials are of one, and too easy"
        )
    lists = {}
    for name, group in (("O", None), ("H", groups)) if groups is not None else (("O", None),):
        lists[name] = {"target": targets, "nontarget": nontarget_pairs(utt2spk, num_nontarget, seed, name, group)}
        for label, pairs in lists[name].items():
            if not pairs:
                raise UserError(f"list {name}: no {label} trial can be made of these speakers; bring more of them")
        if len(lists[name]["nontarget"]) < num_nontarget:
            log.warning("list %s: there are only %d non-target pairs", name, len(lists[name]["nontarget"]))
    return lists


def write_trials(out_dir: Path, lists: Mapping[str, Mapping[str, list[Pair]]]) -> None:
    """Write sorted lists, and tell the size and the first digits of the SHA-256 of each."""
    for name, trials in lists.items():
        path = out_dir / f"{name}.kaldi"
        lines = sorted(f"{a} {b} {label}\n" for label, pairs in trials.items() for a, b in pairs)
        with atomic_write(path) as f:
            f.writelines(lines)
        sizes = ", ".join(f"{len(pairs)} {label}s" for label, pairs in trials.items())
        log.info("%s: %s, sha256 %.16s...", path, sizes, sha256_of(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="data dir of the test set")
    parser.add_argument("out_dir", type=Path, nargs="?", metavar="out-dir", help="default: <data-dir>/trials")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of all draws")
    parser.add_argument("--num-target", type=int, default=NUM_TARGET, help="target trials of each list")
    parser.add_argument(
        "--num-nontarget", type=int, default=NUM_NONTARGET, help="number of non-target trials of each list"
    )
    args = parser.parse_args()
    check_seed(args.seed)
    data = DataDir(args.data_dir)
    groups = None
    tables = [data.path / "spk2gender", data.path / "spk2age"]
    if all(table.is_file() for table in tables):
        gender, age = map(read_table, tables)
        groups = speaker_groups(data.spk2utt, gender, age, data.path)
    else:
        log.warning("%s has no spk2gender or no spk2age: list H, of the same sex and age, is left out", data.path)
    sizes = {"num_target": args.num_target, "num_nontarget": args.num_nontarget}
    write_trials(args.out_dir or args.data_dir / "trials", draw_trials(data.utt2spk, groups, seed=args.seed, **sizes))


if __name__ == "__main__":
    run_step(main)
