"""steps/run_system.sh: what it reads of the configuration, and what later stages read of stage 3."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.config import Config, save_config

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_a_teacher_s_path_may_be_long_and_contain_blanks_and_quotes(run: Run, tmp_path: Path) -> None:
    teacher = tmp_path / f"{'a long folder ' * 10}it's: #2"
    save_config(Config(teacher=str(teacher)), tmp_path / "exp" / "system.yaml")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "utt2spk").write_text("a a\n")
    words = ["--stop-stage", 3, "--gpus", "none", "--nj", 1, tmp_path / "train", tmp_path / "test", tmp_path / "exp"]
    result = run("steps/run_system.sh", *words)
    assert f"{teacher}/config.yaml does not exist" in result.stderr


@pytest.mark.slow
def test_a_training_that_is_refused_does_not_change_what_later_stages_read(run: Run, tmp_path: Path) -> None:
    exp, data = tmp_path / "exp", tmp_path / "data"
    for name in ("train", "train_aug", "test"):
        (data / name).mkdir(parents=True)
    exp.mkdir()
    (exp / "system.yaml").write_text("model: resnet_small\n")
    (exp / "training_set").write_text("train\n")
    words = ["--stage", 3, "--stop-stage", 3, "--training-set", data / "train_aug", data / "train", data / "test", exp]
    done = run("steps/run_system.sh", *words)
    assert done.returncode == 1 and "train_aug" in done.stderr
    assert (exp / "training_set").read_text() == "train\n"
