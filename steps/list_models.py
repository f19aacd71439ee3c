#!/usr/bin/env python3
"""List the encoders: size, arithmetic of an embedding of 2 s, and the toolkits whose checkpoints they load.

Prints  a Markdown table of all encoders, or of those named; sizes are those of the default options
e.g.: steps/list_models.py CAMPPlus ResNet34
"""

import argparse
import sys

import _path  # noqa: F401

from sv.errors import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="model", help="names, as in --model of a recipe")
    args = parser.parse_args()
    from sv.models.catalog import table

    sys.stdout.write(table(args.models))


if __name__ == "__main__":
    run_step(main)
