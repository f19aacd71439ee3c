"""steps/run_system.sh: what later stages read of stage 3."""

from pathlib import Path


def test_a_training_that_is_refused_does_not_change_what_later_stages_read(run, tmp_path: Path) -> None:
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
