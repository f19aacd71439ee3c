"""Every script of Python as a process of its own: it starts, answers --help, and loads for that no heavy package.

What the scripts do is tested within the tests' process (the fixture `step`), which starts none.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ("steps/*.py", "local/*.py", "tools/*.py", "docs/make_*.py")
FILES = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
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


SEEDED = {
    "local/degrade_data.py": ["data", "name", "out"],
    "local/make_mini_corpus.py": ["out"],
    "local/make_noises.py": ["data"],
    "local/make_rirs.py": ["data"],
    "local/make_trials.py": ["data"],
    "local/prepare_folder.py": ["corpus", "data"],
    "local/prepare_speechocean762.py": ["corpus", "data"],
    "steps/make_calibration_trials.py": ["exp", "data"],
    "steps/plot_augmentation.py": ["data", "utt", "out"],
    "tools/corrupt_labels.py": ["--ratio", "0.3", "data", "out"],
}


def test_all_scripts_with_a_seed_are_known() -> None:
    assert {script for script in SCRIPTS if '"--seed"' in (ROOT / script).read_text()} == SEEDED.keys()


@pytest.mark.parametrize("script", SEEDED)
@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_out_of_range_is_refused(
    step: Callable[..., subprocess.CompletedProcess[str]], script: str, seed: str
) -> None:
    result = step(script, "--seed", seed, *SEEDED[script])
    told = f"{Path(script).name}: error: --seed {seed}: expected a whole number from 0 to 4294967295\n"
    assert (result.returncode, result.stderr) == (2, told)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("steps/check_data.py", ["begin", "data", "--num-parts", "1"]),
        ("steps/make_shards.py", ["begin", "data"]),
        ("local/degrade_data.py", ["data", "name", "out"]),
        ("local/make_noises.py", ["out"]),
        ("local/make_rirs.py", ["out"]),
        ("local/prepare_folder.py", ["corpus", "data"]),
    ],
)
def test_a_rate_in_khz_is_refused(
    step: Callable[..., subprocess.CompletedProcess[str]], script: str, words: list[str]
) -> None:
    result = step(script, "--sample-rate", "16", *words)
    told = "error: --sample-rate 16: expected a rate in Hz from 1000 to 384000, such as 16000\n"
    assert (result.returncode, result.stderr) == (2, f"{Path(script).name}: {told}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (
            2,
            ["calibrate.py", "exp", "--on", "data", "--p-target", "2"],
            "--p-target 2.0: expected a probability between",
        ),
        (
            2,
            ["fuse.py", "--heldout", "a", "--p-target", "0", "out", "--scores", "b"],
            "--p-target 0.0: expected a probability",
        ),
        (2, ["train.py", "data", "exp", "--gpus", "foo"], "--gpus 'foo': expected numbers, as in 0,1"),
        (
            2,
            ["extract_embeddings.py", "part", "exp", "data", "out", "--num-threads", "0"],
            "--num-threads 0: expected a whole number of at least 1",
        ),
        (
            2,
            ["import_model.py", "--from", "redimnet", "--model", "ResNet35", "file", "out"],
            "did you mean 'ResNet34'?",
        ),
        (1, ["export.py", "exp", "out", "--model", "none.pt"], "none.pt does not exist; give an existing file with"),
        (2, ["make_calibration_trials.py", "exp", "data", "--seed", "-1"], "--seed -1: expected a whole number from"),
        (2, ["average_models.py", "exp", "--num-avg", "0"], "--num-avg 0: expected a whole number of at least 1"),
        (1, ["find_noisy_labels.py", "exp", "data", "--truth", "none"], "--truth none does not exist; give a file"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_told_before_torch_loads(
    run: Callable[..., subprocess.CompletedProcess[str]], status: int, words: list[str], told: str
) -> None:
    result = run("env", "PYTHONPROFILEIMPORTTIME=1", f"steps/{words[0]}", *words[1:])
    loaded = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert result.returncode == status and told in result.stderr and "torch" not in loaded
