"""tools/import_wespeaker_config.py: a configuration of ours on disk, what was left out told, errors in a line."""

import pytest

from sv.config import load_config

THEIRS = """
gpus: "[0,1]"
seed: 7
num_epochs: 120
dataset_args: {num_frms: 300, fbank_args: {num_mel_bins: 64}}
dataloader_args: {batch_size: 64}
model: XVEC
model_args: {feat_dim: 64, embed_dim: 512, pooling_func: TSTP}
projection_args: {project_type: sphereface2, scale: 32.0, t: 3, lanbuda: 0.7, margin_type: C}
margin_update: {initial_margin: 0.0, final_margin: 0.2, increase_start_epoch: 20, fix_start_epoch: 40}
loss: CrossEntropyLoss
optimizer: SGD
optimizer_args: {momentum: 0.9, nesterov: True, weight_decay: 1e-4}
scheduler: ExponentialDecrease
scheduler_args: {initial_lr: 0.1, final_lr: 5e-5, warm_up_epoch: 6, warm_from_zero: True}
"""


@pytest.fixture
def theirs(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(THEIRS)
    return path


def test_writes_ours_and_tells_what_was_left_out(step, theirs, tmp_path):
    output = tmp_path / "exp" / "theirs" / "config.yaml"
    done = step("tools/import_wespeaker_config.py", theirs, output)
    assert done.returncode == 0, done.stderr
    assert "left out: gpus (an option of the recipe, --gpus)" in done.stderr
    assert done.stderr.endswith(f"wrote {output}: XVEC with sphereface2\n")
    config = load_config(output)
    assert (config.model, config.loss, config.seed, config.num_epochs) == ("XVEC", "sphereface2", 7, 120)
    assert config.loss_args["target_weight"] == 0.7 and config.optimizer_args.weight_decay == 1e-4


def test_what_can_not_be_imported_is_one_line_and_leaves_nothing(step, theirs, tmp_path):
    theirs.write_text(THEIRS.replace("XVEC", "XVECS"))
    done = step("tools/import_wespeaker_config.py", theirs, tmp_path / "ours.yaml")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"{theirs}: cannot be imported: model: XVECS is none of" in done.stderr
    assert not (tmp_path / "ours.yaml").exists()


@pytest.mark.parametrize(("text", "said"), [("- 1", "expected 'key: value' lines, found list"), ("a: [", "not YAML")])
def test_a_file_that_is_no_configuration(step, theirs, tmp_path, text, said):
    theirs.write_text(text)
    done = step("tools/import_wespeaker_config.py", theirs, tmp_path / "ours.yaml")
    assert done.returncode == 1 and said in done.stderr


def test_wrong_call_prints_usage(step):
    done = step("tools/import_wespeaker_config.py")
    assert done.returncode == 2 and "usage: import_wespeaker_config.py" in done.stderr
