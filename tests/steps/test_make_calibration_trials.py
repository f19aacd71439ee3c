"""steps/make_calibration_trials.py: the name and the numbers asked for."""

import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_list_of_trials_has_the_name_and_the_number_asked_for(step: Run, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "utt2spk").write_text("".join(f"{s}{n} {s}\n" for s in "abc" for n in (1, 2)))
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\n")
    words = ["--name", "few.kaldi", "--num-target", 1, "--num-nontarget", 3, tmp_path / "exp", tmp_path]
    result = step("steps/make_calibration_trials.py", *words)
    assert result.returncode == 0, result.stderr
    labels = [line.split()[2] for line in (tmp_path / "exp" / "calibration" / "few.kaldi").open()]
    assert sorted(labels) == ["nontarget"] * 3 + ["target"]
