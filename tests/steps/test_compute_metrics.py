"""steps/compute_metrics.py and summarize_results.py; what they compute: tests/sv/metrics."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

PRINTED = """\
---- O.kaldi.score -----
EER = 50.000
minDCF (p_target:0.5 c_miss:1 c_fa:1) = 1.000
"""


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    exp = tmp_path / "exp"
    (exp / "scores").mkdir(parents=True)
    (tmp_path / "trials").mkdir()
    (exp / "scores" / "O.kaldi.score").write_text("a b 0.50000 target\na b 0.50000 nontarget\n")
    (tmp_path / "trials" / "O.kaldi").write_text("a b target\na b nontarget\n")
    return exp


def compute(step: Run, exp: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["steps/compute_metrics.py", exp, "test_cos_result", exp.parent / "trials", "O.kaldi"]
    return step(*command, *options)


def test_lines_are_printed_and_a_summary_has_the_systems_name(step: Run, exp: Path) -> None:
    words = [exp, "test_cos_result", "trials", "O.kaldi", "--p-target", 0.5]
    result = step("steps/compute_metrics.py", *words, cwd=exp.parent)  # where the trial list is given from
    assert result.returncode == 0, result.stderr
    assert result.stdout == PRINTED == (exp / "scores" / "test_cos_result").read_text()
    assert f'"trials_file": "{exp.parent.resolve() / "trials" / "O.kaldi"}"' in (exp / "results.json").read_text()
    result = step("steps/summarize_results.py", exp)
    assert result.returncode == 0, result.stderr
    head, rule, row = result.stdout.splitlines()
    assert head.startswith("| system | trials | back-end | EER (%) |") and rule.startswith("| --- | --- | --- | ---: |")
    assert row == "| exp | O | cos | 50.000 | 1.000 | 1 | 1 |"


def test_mistakes_are_one_line_and_leave_no_results(step: Run, exp: Path) -> None:
    (exp / "scores" / "O.kaldi.score").write_text("a b 0.5\n")
    result = compute(step, exp)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("compute_metrics.py: error: ")
    assert "O.kaldi.score ends after 1 trials, " in result.stderr and not (exp / "results.json").exists()
    result = step("steps/summarize_results.py", exp)
    assert result.returncode == 1 and "results.json does not exist; score first (stage 5)" in result.stderr
