#!/usr/bin/env python3
"""Score trials by the cosine of their embeddings, normalized by a cohort of other speakers.

Reads   trials "enroll test target|nontarget", xvector.scp, and the cohort's spk_xvector.scp (a vector a speaker)
Writes  "enroll test score target|nontarget enroll_mag test_mag enroll_cohort_mean test_cohort_mean" in the order of the
        trials (three columns for trials without label); .done.NAME beside: their origin

magnitudes are lengths of embeddings after the mean was subtracted, for an enroll model the mean of its utterances'.
e.g.: steps/score_norm.py --top-n 300 --mean e/vox2_dev/mean_vec.npy data/vox1/trials/vox1_O_cleaned.kaldi \\
        e/vox1/xvector.scp e/vox2_dev/spk_xvector.scp scores/vox2_dev_asnorm300_vox1_O_cleaned.kaldi.score
"""

import argparse
from pathlib import Path

from sv.errors import run_step
from sv.io import Trials, read_enroll_map
from sv.metrics.provenance import mark_scores
from sv.scoring.cosine import enroll_models, read_embeddings, read_mean, unit_vectors
from sv.scoring.norm import METHODS, ScoreNorm, magnitudes, model_magnitudes
from sv.scoring.score_list import Column, score_list


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path)
    parser.add_argument("xvector_scp", type=Path)
    parser.add_argument("cohort_scp", type=Path, help="a vector a speaker: see compute_spk_means.py")
    parser.add_argument("scores", type=Path, help="written whole or not at all")
    parser.add_argument("--method", default="asnorm", help=f"{', '.join(METHODS)}; default: %(default)s")
    parser.add_argument("--top-n", type=int, default=300, help="nearest speakers of the cohort, for asnorm")
    parser.add_argument("--mean", type=Path, help="numpy file (dim,) to subtract first: see compute_mean.py")
    parser.add_argument("--enroll-map", type=Path, help='lines "model utt1 utt2 ...", as Kaldi\'s spk2utt')
    return parser.parse_args()


def main() -> None:
    args = parse()
    mean = read_mean(args.mean) if args.mean else None
    utts_of = read_enroll_map(args.enroll_map) if args.enroll_map else None
    vectors = read_embeddings(args.xvector_scp)
    unit = unit_vectors(vectors, mean=mean, source=args.xvector_scp)
    cohort = read_embeddings(args.cohort_scp, "make it with steps/compute_spk_means.py (stage 6)")
    cohort = unit_vectors(cohort, mean=mean, source=args.cohort_scp)
    models = enroll_models(unit, utts_of, source=args.xvector_scp, where=args.enroll_map) if utts_of else None
    norm = ScoreNorm(unit, cohort, models, method=args.method, top_n=args.top_n, source=args.cohort_scp)
    test_length = magnitudes(vectors, mean)
    enroll_length = model_magnitudes(test_length, vectors, utts_of) if utts_of else test_length

    def score(block: Trials) -> list[Column]:
        scores, *cohort_means = norm.normalize(block)
        return [scores, enroll_length[block.enroll], test_length[block.test], *cohort_means]

    score_list(
        args.trials,
        args.scores,
        score,
        known=unit.ids,
        known_enroll=models.ids if models else None,
        source=args.xvector_scp,
        enroll_source=args.enroll_map,
    )
    files = {"mean": args.mean, "enroll_map": args.enroll_map, "cohort": args.cohort_scp.with_suffix(".ark")}
    settings = {"method": args.method, **({"top_n": args.top_n} if args.method == "asnorm" else {})}
    mark_scores(args.scores, args.trials, args.xvector_scp, files, settings)


if __name__ == "__main__":
    run_step(main)
