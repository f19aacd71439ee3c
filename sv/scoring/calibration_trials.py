"""Trials among held-out training speakers, on which scores are calibrated and thresholds are measured.

No utterance is paired with itself or with a copy of itself (utt2uniq), and no pair occurs twice. If ids name the video
(speaker/video/utterance, VoxCeleb's layout), target trials are of two videos, as in VoxCeleb's test lists: one video
would be far too easy.

A calibration is valid for trials as hard as those it was trained on. If the non-target trials of a test list share sex
or age, these trials must share it, too.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, log
from sv.io import DataDir, atomic_write, read_table
from sv.jobs.bad_utts import read_bad_utts
from sv.metrics.breakdown import speaker_words

_ENUMERATE = 2000  # utterances; up to this number all pairs are listed, beyond it they are drawn


def write_calibration_trials(
    exp_dir: Path,
    data_dir: Path,
    name: str = "heldout.kaldi",
    *,
    same: Sequence[str] = (),
    draw: Mapping[str, int] | None = None,
) -> None:
    """Draw trials among the held-out speakers of a system and write them to <exp-dir>/calibration/<name>.

    Utterances in embeddings/<data>/bad_utts are left out.

    Args:
        exp_dir: folder of the system, with heldout_spk.
        data_dir: data dir that it was trained on.
        name: name of the list.
        same: tables of the data dir that must say the same of both speakers of a non-target trial; where no two
            held-out speakers are the same, a line in the log says so and non-target trials are of any two.
        draw: num_target, num_nontarget and seed of `draw_calibration_trials`.

    Raises:
        UserError: no held-out speakers, or one that the data dir does not have; see `draw_calibration_trials`.
    """
    path = exp_dir / "heldout_spk"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; train with heldout_speakers of 2 or more (stage 3), or calibrate on recordings of "
            f"your own: steps/calibrate.py --on DATA_DIR {exp_dir}"
        )
    heldout = set(path.read_text(encoding="utf-8").split())
    utts = {utt: spk for utt, spk in DataDir(data_dir).utt2spk.items() if spk in heldout}
    missing = sorted(heldout - set(utts.values()))
    if not heldout or missing:
        what = f"speaker {missing[0]} is not in {data_dir / 'utt2spk'}" if missing else "is empty"
        raise UserError(f"{path}: {what}; give the data dir that the system was trained on")
    group = _groups(data_dir, same, heldout)
    for utt in read_bad_utts(exp_dir / "embeddings" / data_dir.name / "bad_utts"):
        utts.pop(utt, None)
    copies = data_dir / "utt2uniq"
    original = read_table(copies) if copies.is_file() else None
    trials = draw_calibration_trials(utts, group=group, original=original, **(draw or {}))
    out = exp_dir / "calibration" / name
    write_trials(out, trials)
    log.info("%d trials of %d held-out speakers in %s", len(trials), len(heldout), out)


def write_trials(path: Path, trials: Sequence[tuple[str, str, bool]]) -> None:
    """Write what `draw_calibration_trials` returns as a trial list."""
    with atomic_write(path) as f:
        f.writelines(f"{a} {b} {'target' if target else 'nontarget'}\n" for a, b, target in trials)


def _groups(data_dir: Path, tables: Sequence[str], heldout: Collection[str]) -> dict[str, str] | None:
    """Return the group of each speaker; None: no tables, or no two speakers are of one group."""
    if not tables:
        return None
    group = read_groups(data_dir, tables, heldout)
    if len(set(group.values())) == len(heldout):
        log.warning(
            "no two of %d held-out speakers have the same %s: non-target trials are drawn from all pairs",
            len(heldout),
            " ".join(tables),
        )
        return None
    return group


def read_groups(data_dir: Path, tables: Sequence[str], speakers: Collection[str]) -> dict[str, str]:
    """Return the group of each speaker: its entries in the tables of a data dir, for spk2age the age band.

    Raises:
        UserError: a table is missing, or lacks a speaker.
    """
    of_spk = [(data_dir / table, speaker_words(data_dir / table)) for table in tables]
    for path, words in of_spk:
        unknown = sorted(set(speakers) - set(words))
        if unknown:
            raise UserError(f"{path} says nothing of speaker {unknown[0]}; add it")
    return {spk: ", ".join(words[spk] for _, words in of_spk) for spk in speakers}


def draw_calibration_trials(
    utt2spk: Mapping[str, str],
    *,
    num_target: int = 30_000,
    num_nontarget: int = 60_000,
    seed: int = 0,
    group: Mapping[str, str] | None = None,
    original: Mapping[str, str] | None = None,
) -> list[tuple[str, str, bool]]:
    """Return (enroll, test, is target), sorted: all pairs, or as many as asked for, drawn by seed.

    Args:
        utt2spk: utterances of the held-out speakers.
        num_target, num_nontarget: largest numbers of trials. Of more than 2,000 utterances, non-target pairs are drawn
            at random; fewer are found than there are if one speaker has most of the utterances.
        seed: decides which are drawn.
        group: group of each speaker; both speakers of a non-target trial are of one group. None: any two speakers.
        original: utterance that an utterance is a copy of; no target trial pairs copies of one. None: no copies.

    Raises:
        UserError: no target or no non-target trial can be made.
    """
    utts = sorted(utt2spk, key=str.encode)
    rng = np.random.default_rng(seed)
    targets = _choose(_target_pairs(utts, utt2spk, original or {}), num_target, rng)
    nontargets = _choose(_nontarget_pairs(utts, utt2spk, group, num_nontarget, rng), num_nontarget, rng)
    others = "two speakers" if group is None else "two speakers of one group"
    for pairs, kind, what in ((targets, "target", "utterances of one speaker"), (nontargets, "non-target", others)):
        if not len(pairs):
            raise UserError(f"no {kind} trial among the {len(set(utt2spk.values()))} speakers; give {what} or more")
    rows = [(first, second, True) for first, second in targets.tolist()]
    rows += [(first, second, False) for first, second in nontargets.tolist()]
    return [(utts[first], utts[second], label) for first, second, label in sorted(rows)]


def _choose(pairs: NDArray[np.int64], limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw at most `limit` of the pairs; (pairs, 2)."""
    return pairs[rng.choice(len(pairs), limit, replace=False)] if len(pairs) > limit else pairs


def _target_pairs(utts: list[str], utt2spk: Mapping[str, str], original: Mapping[str, str]) -> NDArray[np.int64]:
    groups: dict[str, list[int]] = {}
    for row, utt in enumerate(utts):
        groups.setdefault(utt2spk[utt], []).append(row)
    pairs = [np.array(rows)[np.column_stack(np.triu_indices(len(rows), 1))] for rows in groups.values()]
    both = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    _, video = np.unique([_video(original.get(utt, utt)) for utt in utts], return_inverse=True)
    return both[video[both[:, 0]] != video[both[:, 1]]]


def _video(utt: str) -> str:
    """Return the video, which two utterances of a target trial may not share; the utterance where ids name no video."""
    return utt.rsplit("/", 1)[0] if utt.count("/") == 2 else utt


def _nontarget_pairs(
    utts: list[str],
    utt2spk: Mapping[str, str],
    group: Mapping[str, str] | None,
    wanted: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    speakers, speaker = np.unique([utt2spk[utt] for utt in utts], return_inverse=True)
    groups, of_speaker = np.unique([group[spk] if group else "" for spk in speakers.tolist()], return_inverse=True)
    if len(utts) <= _ENUMERATE:
        pairs = np.column_stack(np.triu_indices(len(utts), 1))
    else:
        drawn = np.sort(rng.integers(0, len(utts), (4 * wanted * len(groups), 2)), axis=1)
        pairs = np.unique(drawn, axis=0)
    one, other = speaker[pairs[:, 0]], speaker[pairs[:, 1]]
    return pairs[(one != other) & (of_speaker[one] == of_speaker[other])]
