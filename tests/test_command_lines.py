"""Every script of Python as a process of its own: it starts, answers --help, and loads for that no heavy package.

What the scripts do is tested within the tests' process (the fixture `step`), which starts none.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path for folder in ("steps", "local", "tools") for path in (ROOT / folder).glob("*.py"))
SCRIPTS = [str(path.relative_to(ROOT)) for path in FILES if path.read_text().startswith("#!")]
HEAVY = {"matplotlib", "scipy", "torch"}
LIGHT = ["score", "score_trials", "calibrate", "fuse", "make_calibration_trials", "compute_mean", "compute_spk_means"]
LIGHT += ["train_plda", "adapt_plda"]  # load not even numpy before they read their options
EARLY = {  # load one of these before they read their options
    *("local/make_mini_corpus.py", "local/make_noises.py", "local/make_rirs.py", "steps/average_models.py"),
    *("steps/find_noisy_labels.py", "steps/plot_augmentation.py", "steps/train.py", "steps/verify.py"),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_comes_without_heavy_packages(run: Callable[..., subprocess.CompletedProcess[str]], script: str) -> None:
    result = run("env", "PYTHONPROFILEIMPORTTIME=1", script, "--help")
    assert result.returncode == 0 and f"usage: {Path(script).name} " in result.stdout
    loaded = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    unwanted = HEAVY | {"numpy"} if Path(script).stem in LIGHT else set() if script in EARLY else HEAVY
    assert "encodings" in loaded and not loaded & unwanted
