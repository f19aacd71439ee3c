"""Rounds of clustering and training: measure each, and decide by labelled held-out speakers whether to continue."""

import json
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from sv.clustering.label_decisions import measure_decisions, read_decisions
from sv.clustering.whitening import unit_rows
from sv.errors import UserError, counted, log, tell
from sv.io import atomic_write, read_json, read_table
from sv.metrics.error_rates import eer, sort_scores
from sv.scoring.cosine import read_embeddings

SAME_CLUSTERS = 0.98  # NMI of the clusters of two rounds, above which a further round would train on the same labels


@dataclass(frozen=True)
class Round:
    """One round: the system that was trained, and the clusters of its embeddings.

    Attributes:
        number: 0 for the system that was trained on labelled speakers alone, or the teacher.
        heldout_eer: percent on all pairs of utterances of the held-out speakers, by the averaged model.
        clusters: what clusters.json says.
        decisions: result of `measure_decisions`; {} without gate and correction, or if the truth is not known.
    """

    number: int
    heldout_eer: float
    clusters: dict[str, Any]
    decisions: dict[str, Any]


def heldout_eer(xvector_scp: Path, utt2spk: Path, heldout_spk: Path) -> float:
    """Return the EER in percent of all pairs of utterances of held-out speakers, less their common mean.

    Args:
        xvector_scp: embeddings of the labelled data.
        utt2spk: speakers of the labelled data.
        heldout_spk: the speakers, one a line.

    Raises:
        UserError: fewer than two of them, or none with two utterances, have embeddings.
    """
    vectors, wanted = read_embeddings(xvector_scp), set(heldout_spk.read_text(encoding="utf-8").split())
    labels = {utt: spk for utt, spk in read_table(utt2spk).items() if spk in wanted and utt in vectors.index}
    names, speaker = np.unique(list(labels.values()), return_inverse=True)
    if len(names) < 2 or len(labels) == len(names):
        raise UserError(
            f"{heldout_spk} has {len(names)} speakers of {utt2spk}, too few for target and non-target pairs; "
            "set heldout_speakers to 2 or more, with two utterances or more each"
        )
    rows = vectors.matrix[[vectors.index[utt] for utt in labels]]
    unit = unit_rows(rows - rows.mean(axis=0))
    first, second = np.triu_indices(len(unit), 1)
    scores, same = (unit @ unit.T)[first, second], speaker[first] == speaker[second]
    return eer(sort_scores(scores[same], scores[~same]))


def read_rounds(exp_dir: Path, labelled: Path, truth: Path | None = None, *, last: int) -> list[Round]:
    """Read the rounds of an experiment that are complete.

    Args:
        exp_dir: holds round0, round1, ...
        labelled: data dir of the labelled speakers.
        truth: true speakers of the recordings without labels, to measure against.
        last: number of the last one to read; further ones may be of earlier clusters.

    Raises:
        UserError: there is none; the rounds hold out different speakers.
    """
    found: list[Round] = []
    known = read_table(truth) if truth else {}
    heldout = exp_dir / "round0" / "heldout_spk"
    folders = (exp_dir / f"round{number}" for number in range(last + 1))
    for folder in takewhile(lambda folder: (folder / "clusters" / ".done").is_file(), folders):
        own = folder / "heldout_spk"
        if own.read_text(encoding="utf-8") != heldout.read_text(encoding="utf-8"):
            raise UserError(f"{own} and {heldout} differ, so that their EER cannot be compared; remove {folder}")
        embeddings = folder / "embeddings" / labelled.name / "xvector.scp"
        measured = heldout_eer(embeddings, labelled / "utt2spk", own)
        clusters, labels = read_json(folder / "clusters" / "clusters.json"), folder / "pseudo_labels"
        decisions = {}
        if known and labels.is_file():
            trained_on = set(read_table(labelled / "utt2spk").values()) - set(own.read_text(encoding="utf-8").split())
            decisions = measure_decisions(read_decisions(labels), known, trained_on)
        found.append(Round(len(found), measured, clusters, decisions))
    if not found:
        raise UserError(f"{exp_dir} has no complete round; train first (stage 3)")
    return found


def judge(rounds: list[Round], most: int) -> tuple[int, str]:
    """Return the number of the best round, and the reason to stop; "" to continue.

    The best round has the lowest EER on held-out speakers, of those that were trained on recordings without labels.
    Rounds end when this EER has not fallen, or when the clusters stay the same.

    Args:
        rounds: from round 0 on.
        most: number of rounds after round 0.
    """
    last = rounds[-1]
    best = min(rounds[1:] or rounds, key=lambda one: one.heldout_eer).number
    if last.number >= most:
        return best, f"{counted(most, 'round')} done"
    if last.number and last.heldout_eer >= min(one.heldout_eer for one in rounds[:-1]):
        return best, "the EER on held-out speakers has stopped falling"
    if last.clusters.get("nmi_with_before", 0.0) > SAME_CLUSTERS:
        return best, f"the clusters stay the same (NMI above {SAME_CLUSTERS})"
    return best, ""


def judge_rounds(exp_dir: Path, labelled: Path, most: int, truth: Path | None, *, last: int) -> tuple[int, str]:
    """Judge the rounds of an experiment, and log them; if they have ended, write exp_dir/rounds.json.

    See `judge` and `read_rounds`. A rounds.json of rounds that have ended stays until they end again.

    Raises:
        UserError: see `read_rounds`.
    """
    rounds = read_rounds(exp_dir, labelled, truth, last=last)
    best, why = judge(rounds, most)
    for one in rounds:
        agreed = f", NMI with the truth {one.clusters['nmi']:.3f}" if "nmi" in one.clusters else ""
        told = (one.number, one.heldout_eer, one.clusters["clusters"], agreed)
        tell("round %d: held-out EER %.2f %%, then %d clusters%s", *told)
    if why:
        tell("best is round %d: %s", best, why)
        if rounds[0].heldout_eer <= rounds[best].heldout_eer and best:
            log.warning("round 0 is no worse on held-out speakers: recordings without labels may not have helped")
        with atomic_write(exp_dir / "rounds.json") as f:
            json.dump({"best": best, "why": why, "rounds": [asdict(one) for one in rounds]}, f, indent=2)
    return best, why
