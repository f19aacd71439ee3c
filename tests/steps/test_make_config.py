"""The command line that names and resolves a system."""

import subprocess

import pytest
import yaml

FILE = "model: resnet_small\nloss: sphereface2\nmargin_update: {increase_start_epoch: 2, fix_start_epoch: 3}\n"


@pytest.fixture
def call(run, tmp_path):
    (tmp_path / "c.yaml").write_text(FILE)

    def make(*words) -> subprocess.CompletedProcess[str]:
        return run("steps/make_config.py", "--config", tmp_path / "c.yaml", *words)

    return make


@pytest.mark.slow
def test_name_is_printed_alone(call):
    done = call("--print-name", "--loss", "sphereface2", "--margin-type", "A", "--seed", "7", "--margin", "", "--t", "")
    assert (done.stdout, done.stderr) == ("resnet_small-sphereface2-A-m0.15-seed7\n", "")


@pytest.mark.slow
def test_resolved_configuration_is_written_and_resolves_to_itself(call, run, tmp_path):
    words = [
        "--loss",
        "aam",
        "--num_epochs",
        "9",
        "--lr",
        "0.2",
        "--set",
        "clip_grad_norm=5.0",
        "--set",
        "precision=bf16",
    ]
    assert call("--output", tmp_path / "out.yaml", *words).returncode == 0
    written = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert written["margin_update"]["final_margin"] == 0.2
    assert (written["num_epochs"], written["scheduler_args"]["initial_lr"], written["precision"]) == (9, 0.2, "bf16")
    run("steps/make_config.py", "--config", tmp_path / "out.yaml", "--output", tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_text() == (tmp_path / "out.yaml").read_text()


@pytest.mark.slow
def test_a_mistake_is_one_line(call):
    """The mistakes themselves are in tests/sv/test_system.py."""
    done = call("--print-name", "--loss", "aam", "--t", "3")
    message = "make_config.py: error: loss aam has no option 't'; known: scale, easy_margin\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, message, "")
