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
HEAVY = {"matplotlib", "pydantic", "scipy", "torch"}
# These load not even numpy before they read their options.
LIGHT = {"adapt_plda", "average_models", "calibrate", "compute_mean", "compute_spk_means", "find_noisy_labels", "fuse"}
LIGHT |= {"make_calibration_trials", "make_report", "plot_augmentation", "score", "score_trials", "show_plan", "train"}
LIGHT |= {"begin_rounds", "judge_rounds", "summarize_rounds", "check_data", "extract_embeddings", "show_system"}
LIGHT |= {"import_wespeaker_config", "make_fbank", "make_system", "prepare_features"}
LIGHT |= {"embed", "enroll", "identify", "import_model", "list_models", "train_plda", "verify"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_of_every_argument_without_heavy_packages(
    run: Callable[..., subprocess.CompletedProcess[str]], script: str
) -> None:
    result = run("env", "PYTHONPROFILEIMPORTTIME=1", "COLUMNS=100", script, "--help")
    assert result.returncode == 0 and f"usage: {Path(script).name} " in result.stdout
    arguments = re.split(r"\n  (?=\S)", result.stdout.partition("\npositional arguments:")[2].partition("\n\n")[0])[1:]
    options = re.split(r"\n  (?=-)", result.stdout.partition("\noptions:")[2])[1:]
    assert ("positional arguments:" in result.stdout) == bool(arguments)
    assert [word for word in arguments + options if not re.search(r"\S {2,}\S|\n {10,}\S", word)] == []  # each has help
    loaded = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert "encodings" in loaded and not loaded & (HEAVY | {"numpy"} if Path(script).stem in LIGHT else HEAVY)
