"""Let a script run in any folder and any shell. Import this before `sv`: the import itself does the work.

The package `sv` is found beside the script's folder. If this Python lacks the packages that `sv` needs, the script is
started again with the Python that path.sh would choose: SV_PYTHON, or else .venv, which tools/setup.sh makes.
"""

import os
import sys
from importlib.util import find_spec

_NEEDED = ("kaldiio", "numpy", "pydantic", "scipy", "soundfile", "torch", "torchaudio", "tqdm", "yaml")
_NOT_OF_BUNDLES = ("torch", "torchaudio")  # verify.py takes exported systems without them
_AGAIN = "SV_STARTED_AGAIN"  # so that an incomplete environment ends in an error and not in a circle


def _find() -> None:
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    sys.path.insert(0, root)
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    from shutil import which  # rarely needed

    python = which(os.environ.get("SV_PYTHON") or os.path.join(root, ".venv", "bin", "python3")) if lacking else None
    if _AGAIN not in os.environ and python is not None:
        os.execve(python, [python, *sys.orig_argv[1:]], {**os.environ, _AGAIN: "1"})
    os.environ.pop(_AGAIN, None)
    lacking = [name for name in lacking if name not in _NOT_OF_BUNDLES]
    if not lacking:
        return
    remedy = f"type: bash {root}/tools/setup.sh (or name an environment's Python in SV_PYTHON)"
    script = os.path.basename(sys.argv[0])
    sys.exit(f"{script}: error: {sys.executable} lacks {lacking[0]}; {remedy}")


_find()
