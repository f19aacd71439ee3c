"""steps/make_report.py and compare.py on two small systems: the page is whole and fetches nothing."""

import base64
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def write_system(exp: Path, seed: int) -> None:
    """Six speakers of four utterances, all pairs scored."""
    rng = np.random.default_rng(seed)
    utts = [f"{spk}{n}" for spk in "ABCDEF" for n in range(4)]
    lines = []
    for i, a in enumerate(utts):
        for b in utts[i + 1 :]:
            same = a[0] == b[0]
            lines.append(f"{a} {b} {rng.normal(1.5 * same):.5f} {'target' if same else 'nontarget'}\n")
    (exp / "scores").mkdir(parents=True)
    (exp / "scores" / "O.kaldi.score").write_text("".join(lines))
    trials = exp.parent / "data" / "trials"
    trials.mkdir(parents=True, exist_ok=True)
    (trials / "O.kaldi").write_text("".join(re.sub(r" \S+ (\S+)$", r" \1", line) for line in lines))
    (exp.parent / "data" / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    (exp.parent / "data" / "wav.scp").write_text("".join(f"{utt} {exp.parent / 'wav' / utt}.wav\n" for utt in utts))
    (exp.parent / "data" / "spk2gender").write_text("".join(f"{spk} {'fm'[spk > 'C']}\n" for spk in "ABCDEF"))
    (exp.parent / "wav").mkdir(exist_ok=True)
    for utt in utts:
        (exp.parent / "wav" / f"{utt}.wav").write_bytes(f"sound of {utt}".encode())
    (exp / "config.yaml").write_text("model: <b>x</b>\n")


@pytest.mark.slow
def test_page_of_two_systems_and_their_paired_test(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_system(tmp_path / name, seed)
        pairs = [line.split()[:2] for line in (tmp_path / name / "scores" / "O.kaldi.score").open()]
        lines = [f"{a} {b} {'near' if a[1] == b[1] else '<far>'}\n" for a, b in pairs]
        (tmp_path / "trial2cond").write_text("enroll test place\n" + "".join(lines))
        options = [tmp_path / name, "cos_result", tmp_path / "data" / "trials", "O.kaldi"]
        options += ["--test-data", tmp_path / "data", "--trial2cond", tmp_path / "trial2cond", "--llr", "true"]
        assert step("steps/compute_metrics.py", *options).returncode == 0
    pages = ["--test-data", tmp_path / "data", "--report", tmp_path / "all.html"]
    result = step("steps/compare.py", *pages, tmp_path / "a", tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert "| a | O | cos | " in result.stdout
    for measure in ("EER (%)", "minDCF (p_target 0.05)", "actDCF (p_target 0.05)", "Cllr"):
        assert result.stdout.count(f"| O | cos: a, b | {measure} | ") == 1
    page = (tmp_path / "all.html").read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page and page.count("<svg") == 3
    assert not re.search(r"""(src|href)=["']?https?:|@import|url\(\s*["']?http""", page)
    assert page.count('<td class="word">place</td><td class="word">near</td>') == 2
    assert page.count('<td class="word">&lt;far&gt;</td>') == 2
    assert page.count('<td class="word">sex</td><td class="word">f\u00a0/ m</td>') == 2
    assert page.count("<th>minDCF (p_target 0.01)</th><th>minDCF (p_target 0.05)</th>") == 2  # of the parts
    assert "with EER (o) and minDCF at p_target 0.01 (x), 0.05 (+); at the edge: a rate of 0 or 100 %<" in page
    assert "<th>test: data</th>" in page and "training: " not in page
    sounds = re.findall(r'data-sound="(\w+)"', page)
    assert len(sounds) == 40 > len(set(sounds))
    for utt in set(sounds):
        assert page.count(base64.b64encode(f"sound of {utt}".encode()).decode()) == 1
    assert (tmp_path / "all_plots" / "det_O.png").read_bytes().startswith(b"\x89PNG")
    shutil.rmtree(tmp_path / "a" / "scores")
    result = step("steps/make_report.py", "--train-data", tmp_path / "data", tmp_path / "a")
    assert result.returncode == 0, result.stderr
    assert "its curves are left out" in result.stderr
    page = (tmp_path / "a" / "report.html").read_text()
    assert '<th>training: data</th></tr></thead><tbody><tr><td class="word">speakers</td><td>6</td>' in page


def measure(step: Run, exp: Path) -> None:
    result = step("steps/compute_metrics.py", exp, "cos_result", exp.parent / "data" / "trials", "O.kaldi")
    assert result.returncode == 0, result.stderr


def test_score_files_over_other_trials_are_refused_before_anything_is_printed(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_system(tmp_path / name, seed)
        if name == "c":
            path = tmp_path / name / "scores" / "O.kaldi.score"
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        measure(step, tmp_path / name)
    pages = ["--test-data", tmp_path / "data", "--report", tmp_path / "all.html"]
    result = step("steps/compare.py", *pages, *(tmp_path / name for name in "abc"))
    assert result.returncode == 1 and result.stdout == "" and not (tmp_path / "all.html").exists()
    assert "c/scores/O.kaldi.score ends after 275 trials, " in result.stderr.splitlines()[-1]


def test_systems_are_named_by_their_folders(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate(("a/x", "x")):
        write_system(tmp_path / name, seed)
        measure(step, tmp_path / name)
    folders = [tmp_path / "a" / "x", tmp_path / "x" / "scores" / ".."]
    for command, told in (
        ("steps/compare.py", "give two or more folders, of different names"),
        ("steps/summarize_results.py", "give folders of different names: they are the rows' names"),
    ):
        result = step(command, *folders)
        assert result.returncode == 1 and result.stdout == "" and told in result.stderr
    assert "| x | O | cos |" in step("steps/summarize_results.py", folders[1]).stdout
