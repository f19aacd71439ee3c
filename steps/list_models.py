#!/usr/bin/env python3
"""List the encoders: size, FLOPs of an embedding of 2 s, and the toolkits whose checkpoints they load.

Prints  a Markdown table of all encoders, or of those named; sizes are those of the default options, from
        sv/models/catalog.csv; no network is built
e.g.: steps/list_models.py CAMPPlus ResNet34
"""

import argparse
import json
from dataclasses import asdict

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="model", help="names, as in --model of a recipe")
    parser.add_argument("--json", action="store_true", help="print an object of JSON for each encoder")
    parser.add_argument("--renew", action="store_true", help="measure all encoders and rewrite sv/models/catalog.csv")
    args = parser.parse_args()
    from sv.models import MODELS
    from sv.models.catalog import describe, renew, table

    MODELS.check_names(args.models)
    if args.renew:
        renew()
    elif args.json:
        for entry in map(describe, args.models or MODELS.names()):
            print(json.dumps(asdict(entry)))
    else:
        print(*table(args.models), sep="\n")


if __name__ == "__main__":
    run_step(main)
