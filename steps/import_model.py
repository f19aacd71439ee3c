#!/usr/bin/env python3
"""Import a model that another toolkit trained, to score, verify and fine-tune with it here.

Reads   <checkpoint>, a file or a folder, with tensors and plain values only
            wespeaker    folder with config.yaml and avg_model.pt, or a model file beside its config.yaml
            3dspeaker    model file: CAM++, ERes2Net, ERes2NetV2, ECAPA
            speechbrain  folder with embedding_model.ckpt, and classifier.ckpt and label_encoder.txt if there are: ECAPA
            redimnet     file of ReDimNet's or ReDimNet2's authors, which holds its model_config
            resemblyzer  pretrained.pt
Writes  <exp-dir>/{config.yaml,models/avg_model.pt}, and spk2id if the speakers' names are known; whole or not at all

The configuration has the model's own front-end. The head is kept if the checkpoint has one and this project has its
loss.
e.g.: steps/import_model.py --from 3dspeaker campplus_cn_en_common.pt exp/campplus_cn_en
      bash egs/speechocean762/run.sh --speeds "" --data data/campplus --exp-dir exp/campplus_cn_en --corpus DIR \\
        --config exp/campplus_cn_en/config.yaml --stop-stage 2; the same with --stage 4 instead of the last line
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import run_step

SOURCES = ["wespeaker", "3dspeaker", "speechbrain", "redimnet", "resemblyzer"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="file or folder of the other toolkit")
    parser.add_argument("exp_dir", type=Path, help="folder of the system; it must not exist")
    parser.add_argument("--from", dest="source", choices=SOURCES, required=True, help="toolkit that trained it")
    parser.add_argument("--model", help="name of the encoder, if the checkpoint does not give it")
    args = parser.parse_args()
    if args.model:
        from sv.models import MODELS

        MODELS.check_names([args.model])  # before torch loads
    from sv.training.import_checkpoint import import_model

    import_model(args.source, args.checkpoint, args.exp_dir, args.model)


if __name__ == "__main__":
    run_step(main)
