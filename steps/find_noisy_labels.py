#!/usr/bin/env python3
"""Rank the utterances of a training set by how wrong their speaker labels look.

Reads   <exp-dir>/{config.yaml,spk2id,models/avg_model.pt}, <exp-dir>/embeddings/<name of data-dir>/xvector.scp (made by
        steps/extract_embeddings.sh), <data-dir>/utt2spk; the truth, if there is one: <data-dir>/utt2spk_true.
        Utterances of bad_utts beside xvector.scp, which could not be read, are left out.
Writes  <exp-dir>/noisy_labels/<name of data-dir>/{loss,cosine}: "utt spk score nearest-other-speaker", the most
        suspicious first: by the loss of the trained head (held-out speakers, whom it does not know, are left out), and
        by the cosine to the mean of the speaker's other utterances (a speaker's only utterance is left out).
        With the truth also report.json: how many of the first N are wrong, where N is the number of wrong labels.

e.g.: steps/find_noisy_labels.py exp/resnet34 data/vox2_dev
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv.embeddings.experiment import find_model, read_config
from sv.errors import UserError, log, run_step
from sv.io import DataDir, atomic_write, read_table
from sv.jobs.bad_utts import read_bad_utts
from sv.losses.metric import MetricHead
from sv.scoring.cosine import read_embeddings
from sv.training.label_noise import Detection, class_cosines, head_losses, measure_detection
from sv.training.network import build_network, read_model, read_speakers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--truth", type=Path, help='"utt spk" of the true speakers (default: utt2spk_true, if any)')
    args = parser.parse_args()
    bad = read_bad_utts(args.exp_dir / "embeddings" / args.data_dir.resolve().name / "bad_utts")
    labels = {utt: spk for utt, spk in DataDir(args.data_dir).utt2spk.items() if utt not in bad}
    if len(set(labels.values())) < 2:
        raise UserError(f"{args.data_dir} has one speaker alone; a wrong label takes two or more")
    truth = read_truth(args.truth, args.data_dir, labels)
    utts, embeddings = list(labels), embeddings_of(args.exp_dir, args.data_dir, labels)
    names = sorted(set(labels.values()))
    losses = losses_of(args.exp_dir, embeddings, list(labels.values()))
    number = {name: row for row, name in enumerate(names)}
    cosines, nearest = class_cosines(embeddings, np.array([number[spk] for spk in labels.values()]))
    out_dir, report = args.exp_dir / "noisy_labels" / args.data_dir.resolve().name, {}
    for name, score, suspicion in (("loss", losses, losses), ("cosine", cosines, -cosines)):
        order = [int(row) for row in np.argsort(-suspicion, kind="stable") if not np.isnan(suspicion[row])]
        with atomic_write(out_dir / name) as f:
            f.writelines(f"{utts[i]} {labels[utts[i]]} {score[i]:.4f} {names[nearest[i]]}\n" for i in order)
        log.info("%s: %d of %d utterances", out_dir / name, len(order), len(utts))
        is_wrong = np.array([truth.get(utts[i], labels[utts[i]]) != labels[utts[i]] for i in order], dtype=bool)
        if is_wrong.any():
            report[name] = asdict(tell(name, measure_detection(is_wrong)))
    if truth:
        with atomic_write(out_dir / "report.json") as f:
            json.dump(report, f, indent=2)


def read_truth(path: Path | None, data_dir: Path, labels: dict[str, str]) -> dict[str, str]:
    """The true speakers of all utterances; none if nobody knows them."""
    beside = data_dir / "utt2spk_true"
    if path is None and not beside.is_file():
        log.info("%s does not exist: no way to tell precision and recall", beside)
        return {}
    truth = read_table(path or beside)
    unknown = labels.keys() - truth.keys()
    if unknown:
        raise UserError(f"{path or beside} lacks {len(unknown)} utterances of {data_dir}, first {min(unknown)}")
    return truth


def embeddings_of(exp_dir: Path, data_dir: Path, labels: dict[str, str]) -> NDArray[np.float32]:
    """(utts, dim), in the order of the labels."""
    scp = exp_dir / "embeddings" / data_dir.resolve().name / "xvector.scp"
    remedy = f"extract them: steps/extract_embeddings.sh {exp_dir} {data_dir}"
    if not scp.is_file():
        raise UserError(f"{scp} does not exist; {remedy}")
    vectors = read_embeddings(scp)
    missing = [utt for utt in labels if utt not in vectors.index]
    if missing:
        raise UserError(f"{scp} lacks {len(missing)} utterances of {data_dir}, first {missing[0]}; {remedy}")
    return vectors.matrix[[vectors.index[utt] for utt in labels]]


def losses_of(exp_dir: Path, embeddings: NDArray[np.float32], speakers: list[str]) -> NDArray[np.float32]:
    """(utts,) losses under the trained head, with the margin at the training's end."""
    config, model = read_config(exp_dir), find_model(exp_dir)
    number = {name: row for row, name in enumerate(read_speakers(exp_dir / "spk2id"))}
    if not number:
        raise UserError(f"{exp_dir / 'spk2id'} does not exist; train the system first (stage 3)")
    net = build_network(config.model_copy(update={"num_speakers": len(number)}))
    net.load_flat(read_model(model), str(model))
    if isinstance(net.head, MetricHead):
        raise UserError(
            f"the loss of {exp_dir} compares utterances with one another and ranks none; train with another"
        )
    final = config.margin_update.final_margin
    speaker = np.array([number.get(spk, -1) for spk in speakers])
    return head_losses(net.head, embeddings, speaker, net.head.margins.default if final is None else final)


def tell(name: str, found: Detection) -> Detection:
    log.info(
        "%s: %d labels are wrong; precision (and recall) at their number %.3f, average precision %.3f",
        *(name, found.wrong, found.precision, found.average_precision),
    )
    return found


if __name__ == "__main__":
    run_step(main)
