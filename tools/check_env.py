#!/usr/bin/env python3
"""Check that this Python's environment holds what the recipes need, and say what it is.

Reads   pyproject.toml: the packages needed, and their least versions.
Writes  to stdout one line: versions of Python, torch and torchaudio, and whether CUDA works, or why it does not.
"""

import argparse
import importlib
import os
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sv.errors import UserError, log, run_step

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
PIP = f"{sys.executable} -m pip install"


def read_requirements(name: str) -> dict[str, str]:
    """Return package -> least version ("" for any) of a list in pyproject.toml, without packages under a condition."""
    text = PYPROJECT.read_text(encoding="utf-8")  # Python 3.10 has nothing that reads TOML
    block = text.partition(f"\n{name} = [\n")[2].partition("\n]")[0]
    return dict(re.findall(r'^  "([\w-]+)(?:>=([\d.]+))?",', block, re.MULTILINE))


def check_versions(needed: dict[str, str]) -> None:
    """Warn of packages that are older than needed.

    Raises:
        UserError: some are missing, or torch and torchaudio are not a pair (2.11.0+cu130 and 2.11.1 are one).
    """
    found: dict[str, str] = {}
    for package in needed:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    if missing := [package for package in needed if package not in found]:
        raise UserError(f"{sys.executable} lacks {', '.join(missing)}; install: {PIP} {' '.join(missing)}")
    numbers = {text: [*map(int, re.findall(r"\d+", text))] for text in (*needed.values(), *found.values())}
    for package, least in needed.items():
        if numbers[found[package]] < numbers[least]:
            log.warning("warning: %s %s is older than %s (pyproject.toml)", package, found[package], least)
    torch, audio = found["torch"], found["torchaudio"]
    builds = {text.partition("+")[2] for text in (torch, audio)} - {""}
    if numbers[torch][:2] != numbers[audio][:2] or len(builds) == 2:
        pair = f"torch {torch} and torchaudio {audio} are not a matching pair in {sys.executable}"
        raise UserError(f"{pair}; install: {PIP} torchaudio=={torch.partition('+')[0]}")


def check_import(package: str) -> None:
    """Import a package: a build for another CUDA, or a missing shared library, shows only there."""
    try:
        importlib.import_module("yaml" if package == "pyyaml" else package)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{package} in {sys.executable} fails at import: {reason}; install it again") from error


def describe_cuda() -> str:
    """Use the GPU once; return "yes (2 x NVIDIA H200, CUDA 13.0)", or "no" with torch's reason."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    try:
        torch.ones(1, device="cuda").add_(1).item()
    except (AssertionError, RuntimeError) as error:  # AssertionError: a build for the CPU
        reason, visible = re.split(r"\. |\n", str(error))[0], os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is '{visible}'"
        return f"no ({reason}; this torch is built for {build}{hidden})"
    return f"yes ({torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {build})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="also check the packages that tools/test.sh needs")
    parser.add_argument("--quick", action="store_true", help="only check versions: import nothing, print nothing")
    args = parser.parse_args()
    core = read_requirements("dependencies")
    check_versions({**core, **(read_requirements("test") if args.test else {})})
    if not args.quick:
        for package in core:
            check_import(package)
        versions = f"python {sys.version.split()[0]}, torch {version('torch')}, torchaudio {version('torchaudio')}"
        print(f"{versions}, CUDA: {describe_cuda()}")


if __name__ == "__main__":
    run_step(main)
