"""Command line `sv`: run the steps that users of a trained system need.

sv verify --model exp/NAME a.wav b.wav    runs steps/verify.py
sv COMMAND --help                         shows the step's help
"""

import os
import sys
from importlib import import_module
from pathlib import Path

from sv.errors import WrongCall, run_step, suggest

COMMANDS = {  # -> step, and what it does
    "verify": ("verify.py", "tell whether recordings are of the same speaker"),
    "enroll": ("enroll.py", "keep a speaker's recordings for identify"),
    "identify": ("identify.py", "tell which enrolled speaker is heard"),
    "embed": ("embed.py", "compute embeddings of audio files"),
    "models": ("list_models.py", "list the encoders, their sizes, and whose checkpoints they load"),
    "info": ("show_system.py", "show what a trained system is and its results"),
}


def main() -> None:
    """Run the step of a command, with the rest of the command line."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        lines = [f"  {name:10}{what}" for name, (_, what) in COMMANDS.items()]
        sys.stdout.write("\n".join(["usage: sv COMMAND ...", "", *lines, "", "sv COMMAND --help says more.\n"]))
        return
    if command == "--version":
        from sv import __version__

        sys.stdout.write(f"{__version__}\n")
        return
    if command not in COMMANDS:
        sys.argv[0] = "sv"
        run_step(lambda: _unknown(command))
    steps = Path(__file__).resolve().parent.parent / "steps"  # in the repository, and in an installed package
    sys.argv = [f"sv {command}", *sys.argv[2:]]  # its name in usage and errors
    sys.modules["__main__"].__spec__ = None  # else argparse of Python 3.14 says "python -m sv"
    sys.path.insert(0, os.fspath(steps))  # as Python does for a script
    run_step(import_module(COMMANDS[command][0].removesuffix(".py")).main)


def _unknown(command: str) -> None:
    raise WrongCall(f"unknown command {command!r}{suggest(command, COMMANDS)}")


if __name__ == "__main__":
    main()
