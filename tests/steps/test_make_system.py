"""The command line that resolves a system into its folder. The mistakes themselves: tests/sv/test_system.py."""

import subprocess

import pytest
import yaml

FILE = "model: resnet_small\nloss: sphereface2\nmargin_update: {increase_start_epoch: 2, fix_start_epoch: 3}\n"


@pytest.fixture
def call(step, tmp_path):
    (tmp_path / "c.yaml").write_text(FILE)

    def make(*words) -> subprocess.CompletedProcess[str]:
        return step("steps/make_system.py", "--config", tmp_path / "c.yaml", *words)

    return make


def override(key, value):
    return [f"--override=--{key} {key}={value}"]


def test_folder_is_named_after_the_system(call, tmp_path):
    words = [*override("loss_args.margin_type", "A"), *override("seed", "7")]
    done = call("--root", tmp_path / "exp", *words)
    assert (done.stdout, done.stderr) == (f"{tmp_path}/exp/resnet_small-sphereface2-A-m0.15-seed7\n", "")
    assert (tmp_path / "exp/resnet_small-sphereface2-A-m0.15-seed7/system.yaml").is_file()


def test_resolved_configuration_is_written_and_resolves_to_itself(call, step, tmp_path):
    words = [*override("loss", "aam"), "--set", "num_epochs=9 clip_grad_norm=5.0", "--set", "precision=bf16"]
    assert call(*words, tmp_path / "exp").returncode == 0
    written = yaml.safe_load((tmp_path / "exp/system.yaml").read_text())
    assert written["margin_update"]["final_margin"] == 0.2
    assert (written["num_epochs"], written["clip_grad_norm"], written["precision"]) == (9, 5.0, "bf16")
    step("steps/make_system.py", "--config", tmp_path / "exp/system.yaml", tmp_path / "again")
    assert (tmp_path / "again/system.yaml").read_text() == (tmp_path / "exp/system.yaml").read_text()


@pytest.mark.parametrize(
    ("status", "words", "message"),
    [
        (
            1,
            [*override("loss", "aam"), "--set", "loss_args.t=3"],
            "loss aam has no option 't'; known: scale, easy_margin",
        ),
        (
            1,
            override("margin_update.final_margin", "x"),
            "--margin_update.final_margin x: margin_update.final_margin is 'x'",
        ),
        (2, ["--gpus", "0;1"], "--gpus '0;1': expected numbers, as in 0,1"),
        (1, ["--stage", "4"], "exp/config.yaml does not exist; train the system first (stage 3)"),
        (1, ["--set", "model_init=no.pt"], "no.pt does not exist; give a model such as exp/NAME/models/avg_model.pt"),
        (1, ["--set", "model_init=/"], "/ is a folder; give a model such as exp/NAME/models/avg_model.pt"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(call, tmp_path, status, words, message):
    done = call(*words, tmp_path / "exp")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (status, 1, "")
    assert message in done.stderr
    assert not (tmp_path / "exp").exists()


def test_a_trained_system_takes_only_what_does_not_change_its_weights(call, tmp_path):
    exp = tmp_path / "exp"
    call(exp)
    trained = yaml.safe_load((exp / "system.yaml").read_text()) | {"num_speakers": 5}
    (exp / "config.yaml").write_text(yaml.safe_dump(trained))
    for words in (["--stage", "3"], ["--stage", "5"], ["--stage", "5", "--set", "num_avg=3"]):
        assert call(*words, exp).returncode == 0
    assert yaml.safe_load((exp / "system.yaml").read_text())["num_avg"] == 3
    for stage in ("3", "5"):
        done = call("--stage", stage, "--set", "seed=3", exp)
        assert f"{exp} was begun with another configuration: seed was 42, now 3; give the same options" in done.stderr
    assert yaml.safe_load((exp / "system.yaml").read_text())["seed"] == 42


def test_a_training_that_has_begun_does_not_need_the_model_that_it_started_from(call, tmp_path):
    exp, start = tmp_path / "exp", tmp_path / "start.pt"
    words = ["--set", f"model_init={start}", exp]
    done = call(*words)
    assert done.returncode == 1 and f"{start} does not exist; give a model" in done.stderr
    start.touch()
    assert call(*words).returncode == 0
    (exp / "system.yaml").rename(exp / "config.yaml")
    start.unlink()
    assert call(*words).returncode == 0


@pytest.mark.slow
def test_another_file_than_a_trained_system_s_is_refused_where_it_is_named(call, run, tmp_path):
    exp = tmp_path / "exp"
    call(exp)
    (exp / "system.yaml").rename(exp / "config.yaml")
    (tmp_path / "other.yaml").write_text("model: XVEC\nmargin_update: {increase_start_epoch: 2, fix_start_epoch: 3}\n")
    words = ["--config", tmp_path / "other.yaml", "--stage", "5", exp]
    assert run("steps/make_system.py", *words).returncode == 0  # a recipe's default
    done = run("steps/make_system.py", "--same-config", "true", *words)
    assert "was begun with another configuration: model was resnet_small, now XVEC" in done.stderr


def test_speeds_of_the_file_stay_unless_the_recipe_says_others(call, tmp_path):
    for words, speeds in ((["--speeds", "0.9"], [0.9]), (["--speeds", ""], []), ([], [0.8])):
        sets = ["--set", "train_feats=online"]
        (tmp_path / "c.yaml").write_text(FILE + "dataset_args: {speeds: [0.8]}\n")
        assert call(*sets, *words, tmp_path / "exp").returncode == 0
        assert yaml.safe_load((tmp_path / "exp/system.yaml").read_text())["dataset_args"]["speeds"] == speeds


def test_fine_tuning_starts_from_the_averaged_model(call, step, tmp_path):
    trained = tmp_path / "trained"
    call(trained)
    (trained / "system.yaml").rename(trained / "config.yaml")
    (tmp_path / "lm.yaml").write_text("do_lm: true\nmargin_update: {final_margin: null, increase_type: fixed}\n")
    words = ["--fine-tune", trained, "--config", tmp_path / "lm.yaml", tmp_path / "lm"]
    done = step("steps/make_system.py", *words)
    assert f"{trained}/models/avg_model.pt does not exist" in done.stderr
    (trained / "models").mkdir()
    (trained / "models" / "avg_model.pt").touch()
    assert step("steps/make_system.py", *words).returncode == 0
    tuned = yaml.safe_load((tmp_path / "lm/system.yaml").read_text())
    assert tuned["model_init"] == str(trained / "models" / "avg_model.pt")
    assert tuned["margin_update"]["final_margin"] == 0.3
