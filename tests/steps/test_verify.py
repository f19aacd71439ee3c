"""steps/verify.py: a line a pair, an exit status for each outcome, pairs of a file."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.io import sha256_of
from sv.metrics.results import KEYS
from tests.sv.noise_verifier import make_exp, noise, write

pytestmark = pytest.mark.usefixtures("noise_is_speech")


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exp(tmp_path_factory.mktemp("exp"))


def test_step_prints_a_line_a_pair_and_ends_by_outcome(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path
) -> None:
    a, b = write(tmp_path / "a.wav", noise(0)), write(tmp_path / "b.wav", noise(1))
    result = step("steps/verify.py", "--model", exp, a, a, b)
    first, second = result.stdout.splitlines()
    assert first == f"same: {a} {a}: LLR 5.00, probability 0.9933 at prior 0.5, threshold 0.00 (prior)"
    assert f"{a} {b}: LLR " in second
    for words, status, line in (
        ([], 0, "same: "),
        (["--prior", "0.001"], 3, "different: "),
        (["--threshold", "5"], 4, "cannot tell by the threshold: "),
        (["--prior", "0.001", "--threshold", "eer"], 0, "same by the threshold: "),
    ):
        result = step("steps/verify.py", "--model", exp, a, a, *words)
        assert result.returncode == status and result.stdout.startswith(line), result.stderr
    for words in ([a], [a, a, "--pairs", "-"], []):
        result = step("steps/verify.py", "--model", exp, *words)
        assert result.returncode == 2 and "give two or more recordings, or --pairs" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prior", "0"], "--prior 0.0: expected a probability between 0 and 1"),
        (["--threshold", "blah"], "unknown threshold 'blah'; known: eer"),
        (["--threshold", "nan"], "threshold nan: expected a finite number"),
        (["--margin", "-1"], "margin -1.0: expected a number of at least 0"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_a_wrong_call(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    a = write(tmp_path / "a.wav", noise(0))
    result = step("steps/verify.py", "--model", exp, a, a, *words)
    assert (result.returncode, result.stdout) == (2, "") and result.stderr.startswith(f"verify.py: error: {told}")


def test_a_list_of_pairs_that_cannot_be_used_is_no_wrong_call(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs"
    for text, told in (("", "no pairs; give two"), ("a.wav\n", "1 column; give two recordings")):
        pairs.write_text(text)
        result = step("steps/verify.py", "--model", exp, "--pairs", pairs)
        assert (result.returncode, result.stdout) == (1, "") and told in result.stderr


def test_a_calibration_that_fails_on_test_trials_is_told_in_one_line(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path
) -> None:
    a, folder = write(tmp_path / "a.wav", noise(0)), shutil.copytree(exp, tmp_path / "exp")
    entry = {**dict.fromkeys(KEYS, 1), "act_dcf": {"0.01": 6.06}, "calibration_sha256": "another"}
    for sha, lines in (("another", 0), (sha256_of(folder / "calibration/cos.json"), 1)):
        results = {"O.kaldi": {"cos_cali": {**entry, "calibration_sha256": sha}, "plda_cali": entry}}
        (folder / "results.json").write_text(json.dumps({"results": results}))
        result = step("steps/verify.py", "--model", folder, a, a)
        assert (result.returncode, result.stderr.count("\n")) == (0, lines), result.stderr
    assert "Calibration fails on O cos: actDCF up to 6.06, where 1 is deciding without scores" in result.stderr


def test_step_goes_on_past_a_bad_file_and_says_so(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path
) -> None:
    a, text = write(tmp_path / "a.wav", noise(0)), tmp_path / "text"
    text.write_text("no audio")
    bad = {
        text: "cannot be read as audio",
        tmp_path / "gone": "does not exist; bring it back or correct the path",
        tmp_path: "is a folder; give a file",
    }
    for path, message in bad.items():
        result = step("steps/verify.py", "--model", exp, a, path)
        assert result.returncode == 1 and result.stdout == "" and result.stderr.count("\n") == 1
        assert str(path) in result.stderr and message in result.stderr
    result = step("steps/verify.py", "--model", exp, a, text, a)
    failed, same = result.stdout.splitlines()
    assert result.returncode == 1 and failed.startswith(f"failed: {a} {text}: ") and same.startswith(f"same: {a} {a}")
    assert result.stderr == "verify.py: error: 1 of 2 pairs failed; the reason stands in the line of each\n"


def test_step_takes_pairs_from_a_file_and_prints_json(
    step: Callable[..., subprocess.CompletedProcess[str]], exp: Path, tmp_path: Path
) -> None:
    a, spaced = write(tmp_path / "a.wav", noise(0)), write(tmp_path / "b 1.wav", noise(0))
    pairs = tmp_path / "pairs"
    pairs.write_bytes(f"\ufeff{a} {a}\r\n\n{a}\t{spaced}\n".encode())
    result = step("steps/verify.py", "--model", exp, "--json", "--pairs", pairs)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["first"], row["second"], row["same"]) for row in found] == [
        (str(a), str(a), True),
        (str(a), str(spaced), True),
    ]
    pairs.write_text(f"{a} {a}\n{a} {a} {a}\n")
    result = step("steps/verify.py", "--model", exp, "--pairs", pairs)
    assert result.returncode == 1 and result.stdout == "" and f"{pairs}:2: 3 columns; give two" in result.stderr
    result = step("steps/verify.py", "--model", exp, "--pairs", "-")
    assert "stdin: no pairs; give two recordings in each line" in result.stderr
