#!/usr/bin/env python3
"""Make a data dir with a chosen share of wrong speaker labels, to measure how much of it a training tolerates.

Reads   <src-dir>; with --kind openset also --outside DIR, whose speakers are not in <src-dir>.
Writes  <dest-dir>: the same tables and utterance ids, a share of the labels in utt2spk and spk2utt wrong, and
        utt2spk_true with the true ones. Nothing is left there if the result is not valid.

symmetric   utterances drawn from all, each gets the label of any other speaker
classwise   a share of each speaker's utterances gets the label of one other speaker; the speakers form a circle
merge       whole speakers get the label of another one, as a clustering does that takes two speakers for one
split       half of a speaker's utterances get a label of their own (<speaker>-split), as one that takes one for two
openset     utterances are replaced by as many from outside, each with the label of the one it replaces

Exactly round(ratio x utterances) labels are wrong. With classwise each speaker's share is met within one utterance;
with merge and split one speaker is changed in part.
Utterance ids keep the true speaker's name that they may begin with, so utt2spk is not sorted by speaker: validate such
a data dir with --no-spk-sort. Training takes it as it is, features included.
e.g.: tools/corrupt_labels.py --kind classwise --ratio 0.3 --seed 1 data/train data_noisy/train
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import _path  # noqa: F401
import numpy as np

from sv.errors import UserError, WrongCall, check_seed, log, run_step
from sv.io import DataDir, original_speakers, read_table, write_table
from sv.io.nested_keys import first_difference

TOOLS = Path(__file__).resolve().parent
SPLIT = "-split"  # end of the name of a part of a speaker
KINDS = ("symmetric", "classwise", "openset", "merge", "split")  # in this order: a seed keeps its draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src_dir", type=Path, help="data dir with right labels")
    parser.add_argument("dest_dir", type=Path, help="data dir to write")
    parser.add_argument("--kind", choices=KINDS, default="symmetric", help="which labels become wrong")
    parser.add_argument("--ratio", type=float, required=True, help="share of wrong labels, at least 0 and below 1")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument("--outside", type=Path, help="data dir from which openset takes utterances")
    args = parser.parse_args()
    check_seed(args.seed)
    if not 0 <= args.ratio < 1:
        raise WrongCall(f"--ratio {args.ratio:g}: a share must be at least 0 and below 1")
    if (args.kind == "openset") != (args.outside is not None):
        raise WrongCall(f"--kind {args.kind}: give --outside DIR with openset, and with no other kind")
    if args.dest_dir.exists() and args.dest_dir.samefile(args.src_dir):
        raise UserError(f"{args.dest_dir} is both source and destination; name another destination")
    labels = read_labels(args.src_dir)
    args.dest_dir.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.Philox(key=[args.seed, KINDS.index(args.kind)]))
    with tempfile.TemporaryDirectory(dir=args.dest_dir.parent, prefix=f".{args.dest_dir.name}.") as folder:
        work = Path(folder) / "data"
        if args.kind == "openset":
            check_features(args.src_dir, args.outside)
            replaced = replace(labels, read_outside(args.outside, labels), args.ratio, rng)
            wrong = take_from_outside(labels, replaced, args.src_dir, args.outside, work)
        else:
            wrong = {"symmetric": symmetric, "classwise": classwise, "merge": merge, "split": split}[args.kind](
                labels, args.ratio, rng
            )
            tool("copy_data_dir.sh", "--validate-opts", "--no-spk-sort", args.src_dir, work)
        relabel(work, wrong)
        tool("copy_data_dir.sh", "--validate-opts", "--no-spk-sort", work, args.dest_dir)
    log.info("%s: %d of %d labels are wrong (%s)", args.dest_dir, len(wrong), len(labels), args.kind)


def read_labels(data_dir: Path) -> dict[str, str]:
    """Read utt2spk of a data dir; refuse one whose labels cannot be corrupted."""
    data = DataDir(data_dir)
    if (data.path / "utt2spk_true").exists():
        raise UserError(f"{data.path} has utt2spk_true: its labels are corrupted already; take the original")
    original = original_speakers(data.utt2spk.values())
    copies = [utt for utt, spk in data.utt2spk.items() if original[spk] != spk]
    if copies:
        raise UserError(
            f"{data.path}: {len(copies)} utterances are speed copies, first {copies[0]}; corrupt the original and make "
            "copies of that (tools/perturb_data_dir_speed.sh), so that they share its labels"
        )
    speakers = set(data.utt2spk.values())
    if len(speakers) < 2:
        raise UserError(f"{data.path} has {len(speakers)} speaker; a wrong label needs two or more")
    return data.utt2spk


def read_outside(data_dir: Path, labels: dict[str, str]) -> dict[str, str]:
    """Read utt2spk of the outside data; refuse speakers or utterances that the training data has as well."""
    outside = DataDir(data_dir).utt2spk
    for what, ours, theirs in (
        ("speaker", set(labels.values()), set(outside.values())),
        ("utterance", set(labels), set(outside)),
    ):
        if common := sorted(ours & theirs):
            raise UserError(
                f"{data_dir}: {what} {common[0]} is in the source as well; give a data dir of other speakers"
            )
    return outside


def check_features(src_dir: Path, outside: Path) -> None:
    """Refuse features of two front-ends; combine_data.sh would name temporary folders in its error."""
    from sv.config import read_front_end  # pydantic takes a tenth of a second

    ours, theirs = read_front_end(src_dir), read_front_end(outside)
    difference = first_difference(ours.model_dump(), theirs.model_dump(), {"dither"}) if ours and theirs else None
    if difference:
        key, here, there = difference
        raise UserError(
            f"{outside / 'fbank.yaml'}: {key} is {there}, but {here} in {src_dir / 'fbank.yaml'}; "
            "make the features of one again (stage 2)"
        )


def symmetric(labels: dict[str, str], ratio: float, rng: np.random.Generator) -> dict[str, str]:
    """Draw a wrong speaker for a share of all utterances, any other speaker with the same probability."""
    utts, speakers = list(labels), sorted(set(labels.values()))
    wrong: dict[str, str] = {}
    for row in draw(len(utts), round(ratio * len(utts)), rng):
        others = [spk for spk in speakers if spk != labels[utts[row]]]
        wrong[utts[row]] = others[int(rng.random() * len(others))]
    return wrong


def classwise(labels: dict[str, str], ratio: float, rng: np.random.Generator) -> dict[str, str]:
    """Give a share of each speaker's utterances to the next speaker of a random circle; utterance -> wrong speaker."""
    by_speaker = utts_of_speakers(labels)
    circle = [sorted(by_speaker)[i] for i in draw(len(by_speaker), len(by_speaker), rng)]
    wrong: dict[str, str] = {}
    seen = 0
    for spk, other in zip(circle, [*circle[1:], circle[0]], strict=True):
        utts = by_speaker[spk]
        count = round(ratio * (seen + len(utts))) - round(ratio * seen)  # adds up to that of all
        seen += len(utts)
        wrong |= {utts[i]: other for i in draw(len(utts), count, rng)}
    return wrong


def merge(labels: dict[str, str], ratio: float, rng: np.random.Generator) -> dict[str, str]:
    """Give all utterances of every second speaker, in random order, to the one before; utterance -> wrong speaker."""
    by_speaker = utts_of_speakers(labels)
    order = [sorted(by_speaker)[i] for i in draw(len(by_speaker), len(by_speaker), rng)]
    pairs = zip(order[::2], order[1::2], strict=False)
    return first_wrong(labels, ratio, [(utt, one) for one, other in pairs for utt in by_speaker[other]])


def split(labels: dict[str, str], ratio: float, rng: np.random.Generator) -> dict[str, str]:
    """Give half of the utterances of speakers, in random order, a speaker of their own; utterance -> wrong speaker."""
    by_speaker = utts_of_speakers(labels)
    wrong = []
    for i in draw(len(by_speaker), len(by_speaker), rng):
        spk = sorted(by_speaker)[i]
        if f"{spk}{SPLIT}" in by_speaker:
            raise UserError(
                f"there is a speaker {spk}{SPLIT} already, so these labels were split before; take the original"
            )
        utts = by_speaker[spk]
        wrong += [(utts[row], f"{spk}{SPLIT}") for row in sorted(draw(len(utts), len(utts) // 2, rng))]
    return first_wrong(labels, ratio, wrong)


def utts_of_speakers(labels: dict[str, str]) -> dict[str, list[str]]:
    """Return the utterances of each speaker."""
    found: dict[str, list[str]] = {}
    for utt, spk in labels.items():
        found.setdefault(spk, []).append(utt)
    return found


def first_wrong(labels: dict[str, str], ratio: float, wrong: list[tuple[str, str]]) -> dict[str, str]:
    """Return the first wrong labels, as many as the ratio asks for."""
    count = round(ratio * len(labels))
    if count > len(wrong):
        raise UserError(
            f"--ratio asks for {count} wrong labels, and this kind can make only {len(wrong)}; set it lower"
        )
    return dict(wrong[:count])


def replace(labels: dict[str, str], outside: dict[str, str], ratio: float, rng: np.random.Generator) -> dict[str, str]:
    """Draw utterances of the outside data and the utterances that they replace; new -> old."""
    utts, others = list(labels), list(outside)
    count = round(ratio * len(utts))
    if count > len(others):
        raise UserError(
            f"--ratio asks to replace {count} utterances, and --outside has only {len(others)}; set it lower"
        )
    return {
        others[new]: utts[old]
        for new, old in zip(draw(len(others), count, rng), draw(len(utts), count, rng), strict=True)
    }


def draw(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` different numbers below `total`, in random order."""
    order: list[int] = np.argsort(rng.random(total), kind="stable")[:count].tolist()
    return order


def take_from_outside(
    labels: dict[str, str], replaced: dict[str, str], src_dir: Path, outside: Path, work: Path
) -> dict[str, str]:
    """Make the data dir `work` with utterances replaced, and return the labels of the new ones."""
    kept = work.with_name("kept")
    old = set(replaced.values())
    keep_utts(src_dir, [utt for utt in labels if utt not in old], kept)
    if not replaced:
        kept.rename(work)
        return {}
    new = work.with_name("new")
    keep_utts(outside, list(replaced), new)
    tool("combine_data.sh", work, kept, new)
    return {utt: labels[gone] for utt, gone in replaced.items()}


def keep_utts(source: Path, utts: list[str], dest: Path) -> None:
    """Make the data dir `dest` with these utterances of `source` alone."""
    listed = dest.with_name(f"{dest.name}.utts")
    listed.write_text("".join(f"{utt}\n" for utt in utts), encoding="utf-8")
    tool("subset_data_dir.sh", "--utt-list", listed, source, dest)


def relabel(data_dir: Path, wrong: dict[str, str]) -> None:
    """Put wrong labels into a data dir, and the true ones beside them."""
    true = read_table(data_dir / "utt2spk")
    labels = {utt: wrong.get(utt, spk) for utt, spk in true.items()}
    DataDir.write(data_dir, {"utt2spk_true": true, "utt2spk": labels})
    speakers = sorted(set(labels.values()))
    for path in data_dir.glob("spk2*"):
        if path.name != "spk2utt":  # a speaker who has lost all utterances is left out, a part of one is like the whole
            values = read_table(path)
            kept = {spk: spk if spk in values else spk.removesuffix(SPLIT) for spk in speakers}
            write_table(path, {spk: values[source] for spk, source in kept.items() if source in values})


def tool(name: str, *words: object) -> None:
    """Run a data-dir tool; show its message only if it fails."""
    done = subprocess.run([TOOLS / name, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(last.partition("error: ")[2] or last)


if __name__ == "__main__":
    run_step(main)
