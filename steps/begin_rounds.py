#!/usr/bin/env python3
"""Choose held-out speakers for a teacher's clusters; part of steps/train_half_labelled.sh.

Reads   <exp-dir>/system.yaml, <teacher>/{config.yaml,heldout_spk,spk2id if there are}, <labelled>
Writes  <exp-dir>/round0/heldout_spk: the speakers of <labelled>/heldout_spk, if there is one; else those that the
        teacher held out; else some that are chosen as for training. A warning says if the teacher was trained on them
Prints  the --feats with which the teacher reads <labelled>: ark if the features have its front-end, else online

e.g.: steps/begin_rounds.py data/train exp/campplus exp/x
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, help="data dir of the labelled speakers")
    parser.add_argument("teacher", type=Path, help="folder of the trained system that makes the first clusters")
    parser.add_argument("exp_dir", type=Path, help="folder of the experiment")
    args = parser.parse_args()
    from sv.embeddings.experiment import find_model, how_to_read, read_config, read_system
    from sv.io import atomic_write
    from sv.training.dataset import read_data
    from sv.training.heldout import select_heldout, warn_of_known
    from sv.training.network import read_speakers

    config, model = read_system(args.exp_dir), find_model(args.teacher)
    index = read_data(config, args.labelled).index
    heldout = select_heldout(index, model, config.heldout_speakers, config.seed)
    warn_of_known(heldout, read_speakers(args.teacher / "spk2id"), args.teacher)
    with atomic_write(args.exp_dir / "round0" / "heldout_spk") as f:
        f.writelines(f"{name}\n" for name in heldout)
    feats = how_to_read(args.labelled, read_config(args.teacher).dataset_args.fbank_args)
    print("ark" if feats == "ark" else "online")  # recordings without labels have no shards


if __name__ == "__main__":
    run_step(main)
