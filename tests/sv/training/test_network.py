"""The network's file, and starting from one."""

import pytest
import torch

from sv.errors import UserError
from sv.io import write_table
from sv.training.checkpoint import save_tensors
from sv.training.network import build_network, start_from


@pytest.fixture
def build(make_config):
    def make(seed=0, num_speakers=4, **changes):
        torch.manual_seed(seed)
        return build_network(make_config(**changes).model_copy(update={"num_speakers": num_speakers}))

    return make


def test_file_has_wespeakers_layout(build):
    state = build().flat_state()
    assert {"conv1.weight", "layer1.0.conv1.weight", "seg_1.weight", "projection.weight", "projection.bias"} <= set(
        state
    )
    assert state["projection.weight"].shape == (4, 8)
    assert not any(key.startswith(("backbone", "head")) for key in state)


def test_flat_state_is_read_back(build):
    one, other = build(0), build(1)
    other.load_flat(one.flat_state(), "test")
    assert all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())


def test_frozen_batch_norm_stays_in_eval_mode(build):
    net = build(freeze_batch_norm=True).train()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(module.training for module in norms)
    assert net.backbone.conv1.training


def saved(net, folder, speakers=None):
    path = folder / "models" / "model_1.pt"
    save_tensors(net.flat_state(), path)
    if speakers:
        write_table(folder / "spk2id", {name: number for number, name in enumerate(speakers)})
    return path


@pytest.mark.parametrize("form", ["flat", "state_dict", "checkpoint"])
def test_training_can_start_from_a_model_of_any_form(build, tmp_path, caplog, form):
    caplog.set_level("INFO")
    one, other = build(0), build(1)
    wrap = {"flat": lambda s: s, "state_dict": lambda s: {"state_dict": s}, "checkpoint": lambda s: {"model": s}}[form]
    torch.save(wrap(one.flat_state()), tmp_path / "a.pt")
    start_from(other, tmp_path / "a.pt", ["a", "b", "c", "d"])
    assert all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())
    assert "encoder loaded; head: loaded" in caplog.text


def test_head_of_other_speakers_is_matched_by_name(build, tmp_path, caplog):
    caplog.set_level("INFO")
    one, other = build(0), build(1, num_speakers=3)
    before = other.head.weight.detach().clone()
    start_from(other, saved(one, tmp_path, ["a", "b", "c", "d"]), ["b", "d", "e"])
    assert other.head.weight[:2].equal(one.head.weight[[1, 3]])
    assert other.head.weight[2].equal(before[2])
    assert "head: 2 of 3 speakers matched by name" in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": "aam"}, "head: initialized anew, the file's is of another loss"),
        ({"num_speakers": 5}, "head: initialized anew, the file's weight is (4, 8), here (5, 8)"),
    ],
)
def test_a_head_that_does_not_fit_is_told_and_left_alone(build, tmp_path, caplog, changes, told):
    caplog.set_level("INFO")
    other = build(1, **changes)
    before = other.head.weight.detach().clone()
    start_from(other, saved(build(0), tmp_path), [f"s{n}" for n in range(len(before))])
    assert other.head.weight.equal(before)
    assert told in caplog.text


def test_another_encoder_is_refused(build, tmp_path):
    path = saved(build(0, model_args={"m_channels": 4, "embed_dim": 8}), tmp_path)
    with pytest.raises(UserError, match=r"model_1.pt: not a checkpoint of this ResNet"):
        start_from(build(1), path, ["a", "b", "c", "d"])


def test_files_that_are_no_models_are_refused(build, tmp_path):
    for content, message in ((None, "does not exist"), (b"no zip", "is not a model file, or is truncated")):
        if content is not None:
            (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(UserError, match=message):
            start_from(build(), tmp_path / "a.pt", [])
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        start_from(build(), tmp_path / "a.pt", [])
