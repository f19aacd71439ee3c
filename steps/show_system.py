#!/usr/bin/env python3
"""Show a trained system: encoder, loss, front-end, thresholds and results.

Reads   <exp-dir>/config.yaml; models/avg_model.pt, whose tensors are not loaded; thresholds.json and results.json, if
        they are there
e.g.: steps/show_system.py exp/x
"""

import argparse
import json
from pathlib import Path
from typing import Any

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp_dir", type=Path, metavar="exp-dir", help="folder of the system")
    parser.add_argument("--json", action="store_true", help="print one object of JSON")
    args = parser.parse_args()
    from sv.embeddings.embedder import check_system
    from sv.embeddings.experiment import check_model, find_model, read_config
    from sv.io import read_json

    check_system(args.exp_dir)
    config, model = read_config(args.exp_dir), find_model(args.exp_dir)
    front_end = config.dataset_args.fbank_args
    values: dict[str, Any] = {
        "model": config.model,
        "model_args": config.model_args,
        "loss": config.loss,
        "loss_args": config.loss_args,
        "num_speakers": config.num_speakers,
        "sample_rate": front_end.sample_rate,
        "front_end": front_end.model_dump(),
        "model_file": str(model),
        "model_sha256": check_model(model),
    }
    for name in ("thresholds", "results"):
        path = args.exp_dir / f"{name}.json"
        values[name] = read_json(path) if path.is_file() else {}
    if args.json:
        print(json.dumps(values))
        return
    for name in ("model", "loss", "num_speakers", "sample_rate", "model_file", "model_sha256"):
        print(f"{name:14}{values[name]}")
    from sv.metrics.results import plain_backends, read_results, terminal_table

    results = read_results(args.exp_dir / "results.json") if values["results"] else {}
    llrs = [
        name for entries in results.values() for name in plain_backends(entries) if "cllr" in entries[name]
    ]  # fused
    calibrated = dict.fromkeys([*values["thresholds"], *llrs])
    print(f"{'calibrated':14}{', '.join(calibrated) or 'no: stage 7, or steps/calibrate.py --on DATA_DIR'}")
    if results:
        print(f"\n{terminal_table(results)}", end="")


if __name__ == "__main__":
    run_step(main)
