#!/usr/bin/env python3
"""Export a trained system for use without this toolkit.

Reads   <exp-dir>/{config.yaml,models/avg_model.pt}; for a bundle also calibration/cos.json, thresholds.json (stage 7)
        and results.json.
Writes  <out>: an ONNX or TorchScript file, or a folder that steps/verify.py --model takes without torch.

--format onnx         one file: --input feats (batch, frames, mels), which WeSpeaker's runtime and sherpa-onnx load, or
                      --input waveform (batch, samples in [-1, 1]), to embeddings
--format torchscript  the same, traced
--format bundle       model, front-end, cohort mean, calibration, thresholds, model card and checksums

Every export is compared with the trained model: the cosine of their embeddings is at least 0.9999.
e.g.: steps/export.py exp/x x.onnx
      steps/export.py --format bundle --license apache-2.0 --data "VoxCeleb2 dev" --language en exp/x bundle
"""

import argparse
from pathlib import Path

import _path  # noqa: F401

from sv.errors import log, run_step


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, help="folder of the system")
    parser.add_argument("out", type=Path, help="file, or folder of a bundle, which must not exist")
    parser.add_argument("--format", choices=["onnx", "torchscript", "bundle"], default="onnx", help="see above")
    parser.add_argument("--input", choices=["feats", "waveform"], help="of a file; default: feats")
    parser.add_argument("--model", type=Path, help="default: <exp-dir>/models/avg_model.pt")
    parser.add_argument("--license", default="", help="licence of the weights for the model card, such as apache-2.0")
    parser.add_argument("--data", default="", help="training data, for the model card")
    parser.add_argument("--language", default="", help="language of that data, for the model card, such as en")
    args = parser.parse_args()
    foreign = ["input"] if args.format == "bundle" else ["license", "data", "language"]
    if given := [f"--{name}" for name in foreign if getattr(args, name)]:
        parser.error(f"--format {args.format} does not take {', '.join(given)}")
    return args


def main() -> None:
    args = parse()
    if args.model:
        from sv.embeddings.experiment import find_model

        find_model(args.exp_dir, args.model)  # before torch loads
    if args.format == "bundle":
        from sv.export.bundle import write_bundle
        from sv.export.model_card import About

        write_bundle(args.exp_dir, args.out, About(args.license, args.data, args.language), args.model)
    else:
        from sv.export.files import write_file

        write_file(args.exp_dir, args.out, args.format, args.input or "feats", args.model)
    log.info("wrote %s", args.out)


if __name__ == "__main__":
    run_step(main)
