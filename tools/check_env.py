#!/usr/bin/env python3
"""Check that this Python's environment holds what the recipes need, and say what it is.

Reads   nothing.
Writes  to stdout one line: versions of Python, torch and torchaudio, and whether CUDA works, or why it does not.
        Something missing or mismatched is an error of one line that says what to install.
"""

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from sv.errors import UserError, run_step

# Package as in pyproject.toml -> module that it brings. A test holds the two lists together.
CORE = {
    "torch": "torch",
    "torchaudio": "torchaudio",
    "numpy": "numpy",
    "scipy": "scipy",
    "soundfile": "soundfile",
    "kaldiio": "kaldiio",
    "pyyaml": "yaml",
    "pydantic": "pydantic",
    "tqdm": "tqdm",
}
TEST = {
    "codespell": "codespell_lib",
    "hypothesis": "hypothesis",
    "kaldi-native-fbank": "kaldi_native_fbank",
    "kaldi_native_io": "kaldi_native_io",
    "mypy": "mypy",
    "pytest": "pytest",
    "pytest-timeout": "pytest_timeout",
    "pytest-xdist": "xdist",
    "ruff": "ruff",
    "types-PyYAML": "yaml-stubs",
    "types-tqdm": "tqdm-stubs",
}


def check_present(packages: dict[str, str]) -> None:
    """Find, without importing it, the module of each package.

    Raises:
        UserError: some are missing; the message names all of them and the command that installs them.
    """
    missing = [package for package, module in packages.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"{sys.executable} lacks {', '.join(missing)}; install: {sys.executable} -m pip install {' '.join(missing)}"
        )


def check_pair() -> None:
    """Compare the versions of torch and torchaudio: 2.11.0 goes with 2.11.x, and 2.11.0+cu130 not with 2.11.0+cpu.

    Raises:
        UserError: they are not a pair, or one was installed without its metadata.
    """
    try:
        torch, audio = version("torch"), version("torchaudio")
    except PackageNotFoundError as error:
        raise UserError(
            f"{sys.executable}: package {error.name} has no metadata; install torch and torchaudio again"
        ) from None
    torch_release, _, torch_build = torch.partition("+")
    audio_release, _, audio_build = audio.partition("+")
    same_release = torch_release.split(".")[:2] == audio_release.split(".")[:2]
    if not same_release or (torch_build and audio_build and torch_build != audio_build):
        raise UserError(
            f"torch {torch} and torchaudio {audio} are not a matching pair in {sys.executable}; "
            f"install: {sys.executable} -m pip install torchaudio=={torch_release}"
        )


def check_imports(packages: dict[str, str]) -> None:
    """Import every module: a build for another CUDA, or a missing shared library, shows only there.

    Raises:
        UserError: a module fails; the message holds the first line of its error.
    """
    for package, module in packages.items():
        if "-stubs" in module:
            continue
        try:
            importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            reason = first_line(str(error) or type(error).__name__)
            raise UserError(f"{package} in {sys.executable} fails at import: {reason}; install it again") from None


def first_line(text: str) -> str:
    """First line of a message that is not empty, without "Error:" or the like in front."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return re.sub(r"^\w*Error: ", "", line)


def describe_cuda() -> str:
    """ "yes (2 x NVIDIA H200, CUDA 13.0)", or "no (why)"; the GPU is used once to be sure."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count:
            try:
                torch.ones(1, device="cuda").add_(1).item()
            except RuntimeError as error:
                return f"no ({torch.cuda.get_device_name(0)}: {first_line(str(error))})"
            return f"yes ({count} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda})"
    return f"no ({why_no_cuda(torch.version.cuda, [str(warning.message) for warning in caught])})"


def why_no_cuda(build: str | None, notes: list[str]) -> str:
    """The reason why torch sees no GPU.

    Args:
        build: CUDA version that torch was built for; None for a CPU build.
        notes: what torch warned about when it looked for GPUs.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if build is None:
        return "this torch is built for the CPU only"
    if visible is not None and visible.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all GPUs"
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver: nvidia-smi not found"
    try:
        seen = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "nvidia-smi does not answer"
    if seen.returncode != 0 or not seen.stdout.strip():
        return f"nvidia-smi: {first_line(seen.stdout + seen.stderr) or 'sees no GPU'}"
    for note in notes:
        if "too old" in note:
            return f"the NVIDIA driver is too old for CUDA {build}, for which this torch is built"
    return first_line(notes[0]) if notes else f"torch, built for CUDA {build}, does not see {first_line(seen.stdout)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="check also what tools/test.sh needs")
    parser.add_argument(
        "--quick", action="store_true", help="look for the packages only: import nothing, print nothing"
    )
    args = parser.parse_args()
    packages = {**CORE, **(TEST if args.test else {})}
    check_present(packages)
    check_pair()
    if args.quick:
        return
    check_imports(packages)
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"python {python}, torch {version('torch')}, torchaudio {version('torchaudio')}, CUDA: {describe_cuda()}")


if __name__ == "__main__":
    run_step(main)
