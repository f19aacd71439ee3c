"""Find labels of a training set that look wrong, by the head's loss or the cosine to the speaker's other utterances.

Both work on embeddings of whole utterances. An utterance with a wrong label tends to keep a high loss while the others
of its class are learned, and to lie far from them. Two Gaussians on the logarithms of the losses (`sv.metrics.mixture`)
tell how probable it is that a label is right.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sv.embeddings.experiment import find_model, read_config
from sv.errors import UserError, log
from sv.io import DataDir, atomic_write, read_table, sha256_of
from sv.jobs.bad_utts import read_bad_utts
from sv.losses import loss_options
from sv.losses.head import Head
from sv.metrics.mixture import fit_mixture
from sv.metrics.provenance import embeddings_origin
from sv.scoring.cosine import read_embeddings
from sv.training.network import build_network, read_model, read_speakers

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BLOCK = 1024  # utterances


@torch.no_grad()
def head_losses(head: Head, embeddings: Floats, speaker: Longs, margin: float) -> Floats:
    """Return the loss of each utterance, (utts,); NaN if the head does not know its speaker.

    Args:
        head: a trained head, on the CPU.
        embeddings: (utts, dim).
        speaker: (utts,) the head's class; -1 for a speaker that it does not know.
        margin: margin of the loss.
    """
    losses = np.full(len(embeddings), np.nan, dtype=np.float32)
    known = np.flatnonzero(speaker >= 0)
    for first in range(0, len(known), _BLOCK):
        rows = known[first : first + _BLOCK]
        losses[rows] = head(torch.from_numpy(embeddings[rows]), torch.from_numpy(speaker[rows]), margin).losses.numpy()
    return losses


def class_cosines(embeddings: Floats, speaker: Longs) -> tuple[Floats, Longs]:
    """Compare each utterance with the mean of its speaker's other utterances, and find the nearest other speaker.

    The mean of all embeddings is subtracted first, as before scoring.

    Args:
        embeddings: (utts, dim).
        speaker: (utts,) from 0 to the number of speakers - 1, at least two.

    Returns:
        cosines (utts,), NaN for a speaker's only utterance; and (utts,) the speaker with the nearest mean, other than
        the labelled one.
    """
    unit = _unit(embeddings - embeddings.mean(axis=0))
    sums = np.zeros((int(speaker.max()) + 1, unit.shape[1]), dtype=np.float32)
    np.add.at(sums, speaker, unit)
    alone = np.bincount(speaker)[speaker] == 1
    cosines = np.einsum("ij,ij->i", unit, _unit(sums[speaker] - unit))
    cosines[alone] = np.nan
    means, nearest = _unit(sums), np.empty(len(unit), dtype=np.int64)
    for first in range(0, len(unit), _BLOCK):
        block = slice(first, first + _BLOCK)
        scores = unit[block] @ means.T  # (block, speakers)
        scores[np.arange(len(scores)), speaker[block]] = -np.inf
        nearest[block] = scores.argmax(axis=1)
    return cosines, nearest


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    return unit


@dataclass(frozen=True)
class Detection:
    """Measures of how well a ranking finds wrong labels.

    Attributes:
        wrong: number of wrong labels in the ranking.
        precision: share of wrong labels among the first `wrong` of the ranking; it equals the recall there.
        average_precision: mean over the wrong labels of the precision at their rank.
    """

    wrong: int
    precision: float
    average_precision: float


def measure_detection(is_wrong: Bools) -> Detection:
    """Measure a ranking, the most suspicious first: (utts,) whether each label is wrong; at least one must be."""
    wrong = int(is_wrong.sum())
    ranks = np.flatnonzero(is_wrong) + 1
    return Detection(wrong, float(is_wrong[:wrong].mean()), float((np.arange(1, wrong + 1) / ranks).mean()))


def find_noisy_labels(exp_dir: Path, data_dir: Path, truth_path: Path | None = None) -> None:
    """Write exp_dir/noisy_labels/NAME/{loss,cosine,suspected}: utterances, ranked by how suspicious their labels are.

    The lines are "utt spk score nearest-other-speaker", the most suspicious first; in `loss` the probability that the
    label is right follows, and `suspected` lists the utterances where it is below a half. If the true speakers are
    known, report.json has the measures of each ranking (`Detection`), and precision and recall of `suspected`.

    Args:
        exp_dir: folder of a trained system, with the embeddings of `data_dir`.
        data_dir: holds utt2spk; NAME is the folder's name.
        truth_path: "utt spk" of the true speakers; None: utt2spk_true of `data_dir`, if there is one.

    Raises:
        UserError: fewer than two speakers; embeddings, the true speakers or the model are missing or incomplete; the
            system's loss compares utterances with one another or reads no labels.
    """
    name = data_dir.resolve().name
    bad = read_bad_utts(exp_dir / "embeddings" / name / "bad_utts")
    labels = {utt: spk for utt, spk in DataDir(data_dir).utt2spk.items() if utt not in bad}
    names = sorted(set(labels.values()))
    if len(names) < 2:
        raise UserError(f"{data_dir} has only one speaker; a label can be wrong only if there are two or more")
    truth = _read_truth(truth_path, data_dir, labels)
    embeddings = _read_embeddings(exp_dir, data_dir, labels)
    losses = _trained_losses(exp_dir, embeddings, list(labels.values()))
    number = {spk: row for row, spk in enumerate(names)}
    cosines, nearest = class_cosines(embeddings, np.array([number[spk] for spk in labels.values()]))
    utts, out_dir, report = list(labels), exp_dir / "noisy_labels" / name, {}
    is_wrong = np.array([truth.get(utt, spk) != spk for utt, spk in labels.items()], dtype=bool)
    right = probably_right(losses, out_dir / "loss")
    (out_dir / "report.json").unlink(missing_ok=True)  # of other rankings
    others = [names[row] for row in nearest]
    for kind, score, suspicion in (("loss", losses, losses), ("cosine", cosines, -cosines)):
        order = [int(row) for row in np.argsort(-suspicion, kind="stable") if not np.isnan(suspicion[row])]
        with atomic_write(out_dir / kind) as f:
            for i in order:
                end = f" {right[i]:.4f}" if kind == "loss" else ""
                f.write(f"{utts[i]} {labels[utts[i]]} {score[i]:.4f} {others[i]}{end}\n")
        log.info("%s: %d of %d utterances", out_dir / kind, len(order), len(utts))
        if is_wrong[order].any():
            found = measure_detection(is_wrong[order])
            log.info(
                "%s: %d labels are wrong; of the first %d, the share %.3f is; average precision %.3f",
                *(kind, found.wrong, found.wrong, found.precision, found.average_precision),
            )
            report[kind] = asdict(found)
    suspected = right < 0.5  # not where the head does not know the speaker: NaN
    with atomic_write(out_dir / "suspected") as f:
        f.writelines(f"{utts[row]}\n" for row in np.flatnonzero(suspected))
    log.info(
        "%s: the labels of %d utterances are more probably wrong than right",
        out_dir / "suspected",
        int(suspected.sum()),
    )
    if truth:
        report["suspected"] = measure_suspected(suspected, is_wrong, ranked=~np.isnan(losses))
        with atomic_write(out_dir / "report.json") as f:
            json.dump(report, f, indent=2)


def measure_suspected(suspected: Bools, is_wrong: Bools, *, ranked: Bools) -> dict[str, float | None]:
    """Return the number of suspected utterances, and their precision and recall; all arrays are (utts,).

    The precision is None if nothing is suspected, the recall if no label is wrong.
    """
    count, hits, wrong = (int(mask.sum()) for mask in (suspected, suspected & is_wrong, is_wrong & ranked))
    return {
        "utterances": count,
        "precision": hits / count if count else None,
        "recall": hits / wrong if wrong else None,
    }


def probably_right(losses: Floats, ranking: Path) -> NDArray[np.float64]:
    """Return the probability that each label is right, (utts,); NaN where the loss is.

    It is the posterior of the low one of two Gaussians, and 1 for all labels if there are no two clear modes.

    Args:
        losses: (utts,) from 0.
        ranking: file of the ranked utterances, for the message.
    """
    right, known = np.full(len(losses), np.nan), ~np.isnan(losses)
    if known.any():
        logs = np.log(np.maximum(losses[known].astype(np.float64), np.finfo(np.float32).tiny))
        mixture = fit_mixture(logs)
        right[known] = mixture.low_posterior(logs) if mixture.has_two_modes else 1
        log.info("modes of the loss %.3g and %.3g, %.2f deviations apart", *np.exp(mixture.means), mixture.separation)
        if mixture.unclear:
            told = "no label is suspected: the losses have no two clear modes (%s); check labels from the top of %s"
            log.warning(told, mixture.unclear, ranking)
    return right


def _read_truth(path: Path | None, data_dir: Path, labels: dict[str, str]) -> dict[str, str]:
    """Read the true speakers of all utterances; {} if they are not known."""
    beside = data_dir / "utt2spk_true"
    if path is None and not beside.is_file():
        log.info("%s does not exist: precision and recall cannot be measured", beside)
        return {}
    truth = read_table(path or beside)
    unknown = labels.keys() - truth.keys()
    if unknown:
        raise UserError(f"{path or beside} lacks {len(unknown)} utterances of {data_dir}, first {min(unknown)}")
    return truth


def _read_embeddings(exp_dir: Path, data_dir: Path, labels: dict[str, str]) -> Floats:
    """Read the embeddings of all labelled utterances, (utts, dim), in the order of the labels."""
    scp = exp_dir / "embeddings" / data_dir.resolve().name / "xvector.scp"
    remedy = f"extract them: steps/extract_embeddings.sh {exp_dir} {data_dir}"
    if not scp.is_file():
        raise UserError(f"{scp} does not exist; {remedy}")
    model, made_by = find_model(exp_dir), embeddings_origin(scp)["model_sha256"]
    if made_by and made_by != sha256_of(model):
        raise UserError(f"{scp} was not made by {model}, whose loss ranks the labels; {remedy}")
    vectors = read_embeddings(scp)
    missing = [utt for utt in labels if utt not in vectors.index]
    if missing:
        raise UserError(f"{scp} lacks {len(missing)} utterances of {data_dir}, first {missing[0]}; {remedy}")
    return vectors.matrix[[vectors.index[utt] for utt in labels]]


def _trained_losses(exp_dir: Path, embeddings: Floats, speakers: list[str]) -> Floats:
    """Return the losses (utts,) under the trained head, with the margin at the end of training."""
    config, model = read_config(exp_dir), find_model(exp_dir)
    number = {name: row for row, name in enumerate(read_speakers(exp_dir / "spk2id"))}
    if not number:
        raise UserError(f"{exp_dir / 'spk2id'} does not exist; train the system first (stage 3)")
    options = loss_options(config.loss, config.loss_args)
    if not options.can_split:
        what = "compares utterances with one another" if options.compares_utterances else "reads no labels"
        raise UserError(
            f"{exp_dir / 'config.yaml'}: loss {config.loss} {what}, so it ranks none; "
            "train with one such as sphereface2"
        )
    net = build_network(config.model_copy(update={"num_speakers": len(number)}))
    net.load_flat(read_model(model), str(model))
    final = config.margin_update.final_margin
    speaker = np.array([number.get(spk, -1) for spk in speakers])
    return head_losses(net.head, embeddings, speaker, net.head.margins.default if final is None else final)
