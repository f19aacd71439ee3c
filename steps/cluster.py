#!/usr/bin/env python3
"""Give recordings without labels pseudo speakers: clusters of their embeddings, by average linkage on the cosine.

Reads   <xvector-scp> of the recordings; with --labelled that of labelled speakers, and their utt2spk
Writes  <out-dir>/utt2spk, clusters as speakers; clusters.json: threshold, number and sizes and, with --truth, measures
        of agreement (NMI, ARI, B-cubed, purity)
        with --false-links also maybe_same_spk: "speaker speaker" of classes that may be one person

Clusters of fewer than --min-utts utterances are left out. Up to 20,000 utterances are clustered directly. If there are
more, k-means first reduces them to 20,000 points.

With --labelled, the threshold is the one with the highest pairwise F1 on the labelled utterances. Wrong pairs are
weighted by the expected number of speakers in the recordings, which assumes as many utterances per speaker as in the
labelled data. Labelled speakers also decide whether embeddings are whitened.

With --false-links, a cluster joins the nearest labelled speaker outside --spk-list if the cosine of their means is
above a threshold. The threshold comes from fragments of the listed speakers: at most the given share of them exceeds it
with a speaker outside the list, who is always another person. Two classes may be one person if their cosine is above
the EER threshold: fragments of one listed speaker fall below it as often as fragments of two exceed it. A fragment has
as many utterances as a cluster, but at most half of its speaker's.
e.g.: steps/cluster.py --labelled exp/x/embeddings/train/xvector.scp --utt2spk data/train/utt2spk \\
        --spk-list exp/x/heldout_spk --false-links 0.01 exp/x/embeddings/calls/xvector.scp exp/x/clusters/calls
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import WrongCall, check_whole, run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("xvector_scp", type=Path, help="embeddings of the recordings")
    parser.add_argument("out_dir", type=Path, help="folder to write")
    parser.add_argument("--threshold", type=float, help="minimum mean cosine to join two clusters")
    parser.add_argument("--labelled", type=Path, help="xvector.scp of labelled speakers")
    parser.add_argument("--utt2spk", type=Path, help="utt2spk of the labelled speakers")
    parser.add_argument("--spk-list", type=Path, help="list of labelled speakers to use, one per line")
    parser.add_argument(
        "--false-links", type=float, help="link clusters to labelled speakers; maximum share of wrong links"
    )
    parser.add_argument("--min-utts", type=int, default=4, help="minimum number of utterances of a cluster")
    parser.add_argument("--truth", type=Path, help='"utt spk", the true speakers, to measure the clusters')
    parser.add_argument("--before", type=Path, help="utt2spk of earlier clusters, to measure the change")
    args = parser.parse_args()
    if (args.threshold is None) == (args.labelled is None) or (args.labelled is None) != (args.utt2spk is None):
        raise WrongCall("give either --threshold, or --labelled and --utt2spk")
    if args.false_links is not None and (args.spk_list is None or not 0 <= args.false_links < 1):
        raise WrongCall("--false-links must be at least 0 and below 1, and needs --labelled and --spk-list")
    if args.spk_list is not None and args.labelled is None:
        raise WrongCall("--spk-list needs --labelled and --utt2spk, in place of --threshold")
    check_whole("--min-utts", args.min_utts, 1)
    from sv.clustering.pseudo_labels import Labelled, write_pseudo_labels

    source: float | Labelled = args.threshold
    if args.labelled is not None:
        source = Labelled(args.labelled, args.utt2spk, args.spk_list, args.false_links)
    options = {"min_utts": args.min_utts, "truth": args.truth, "before": args.before}
    write_pseudo_labels(args.xvector_scp, args.out_dir, source, **options)


if __name__ == "__main__":
    run_step(main)
