"""Pretrained weights that begin to train later, or train slower, than the rest."""

import pytest
import torch
from torch import nn

from sv.errors import UserError
from sv.models import build_model
from sv.training.checkpoint import load_tensors, save_tensors
from sv.training.distributed import World
from sv.training.network import build_network
from sv.training.optimizer import build_optimizer, set_learning_rate
from sv.training.parameter_groups import check_fine_tuning, layers_of, pretrained_part, set_frozen
from sv.training.run import train
from sv.training.trainer import Trainer

WORLD = World(0, 1, torch.device("cpu"))


def layer_names(model: nn.Module) -> list[list[str]]:
    name_of = {id(p): name for name, p in model.named_parameters()}
    return [[name_of[id(p)] for p in layer] for layer in layers_of(model)]


def test_layers_are_modules_in_order_each_with_the_norm_behind_it():
    model = nn.Sequential()
    model.add_module("conv", nn.Conv1d(2, 3, 1))
    model.add_module("bn", nn.BatchNorm1d(3))
    model.add_module("relu", nn.ReLU())
    model.add_module("blocks", nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), nn.LSTM(3, 3)]))
    assert layer_names(model) == [
        ["conv.weight", "conv.bias", "bn.weight", "bn.bias"],
        ["blocks.0.0.weight", "blocks.0.0.bias", "blocks.0.1.weight", "blocks.0.1.bias"],
        ["blocks.1.weight_ih_l0", "blocks.1.weight_hh_l0", "blocks.1.bias_ih_l0", "blocks.1.bias_hh_l0"],
    ]


def test_layers_of_wavlm_are_convolutions_projection_positions_and_blocks():
    sizes = {"layers": 3, "width": 32, "heads": 2, "feed_forward": 24, "conv_channels": 8}
    encoder = build_model("WavLM_Base_ECAPA", sizes)
    layers = [[name.removeprefix("wavlm.") for name in layer] for layer in layer_names(encoder)]
    firsts = [f"feature_extractor.conv_layers.{n}" for n in range(7)]
    firsts += [f"encoder.{name}" for name in ("feature_projection", "transformer.pos_conv_embed")]
    firsts += [f"encoder.transformer.layers.{n}" for n in range(3)]
    assert [layer[0].startswith(f"{first}.") for layer, first in zip(layers, firsts, strict=True)] == [True] * 12
    assert sum(map(len, layers)) == len(list(encoder.wavlm.parameters()))


@pytest.mark.parametrize(
    ("model", "number", "first", "last"),
    [
        ("resnet_small", 6, "conv1.weight", "emb_bn.bias"),
        ("CAMPPlus", 63, "head.conv1.weight", "xvector.dense.linear.weight"),
        ("ECAPA_TDNN_c512", 7, "layer1.conv.weight", "linear.bias"),
    ],
)
def test_layers_of_encoders_hold_each_parameter_once(model, number, first, last):
    encoder = build_model(model, {"feat_dim": 80})
    layers = layer_names(encoder)
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(name for name, _ in encoder.named_parameters())
    assert (len(layers), names[0], names[-1]) == (number, first, last)


def net_of(make_config, **changes):
    torch.manual_seed(0)
    config = make_config(**changes).model_copy(update={"num_speakers": 4})
    return build_network(config), config


def test_learning_rates_fall_by_layer_from_the_output_to_the_input_and_the_head_has_its_own(make_config):
    net, config = net_of(make_config, fine_tuning={"encoder_lr": 0.5, "layer_decay": 0.1})
    optimizer = build_optimizer(net, config)
    set_learning_rate(optimizer, 2.0)
    lr = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: (lr[id(p)], decay[id(p)]) for name, p in net.named_parameters()}
    expected = {
        "head.weight": (2.0, 1e-4),
        "head.bias": (2.0, 0.0),
        "backbone.emb_bn.weight": (1.0, 1e-4),
        "backbone.seg_1.weight": (1.0, 1e-4),
        "backbone.layer4.0.conv1.weight": (0.1, 1e-4),
        "backbone.layer1.0.bn2.bias": (1e-4, 1e-4),
        "backbone.bn1.bias": (1e-5, 1e-4),
        "backbone.conv1.weight": (1e-5, 1e-4),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert len(lr) == len(list(net.parameters()))


def test_a_state_without_factors_is_one_where_all_are_1(make_config):
    net, config = net_of(make_config)
    optimizer = build_optimizer(net, config)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["lr_factor"]
    optimizer.load_state_dict(state)
    set_learning_rate(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


class Named(nn.Module):
    """An encoder with a pretrained part."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.back = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        self.front.weight.requires_grad_(False)  # for good


def test_a_frozen_part_is_in_eval_mode_and_thaws_to_what_it_was(make_config, monkeypatch):
    net, config = net_of(make_config, fine_tuning={"frozen_epochs": 2})
    net.backbone = Named()
    monkeypatch.setattr("sv.training.parameter_groups.pretrained_part", lambda backbone: backbone.front)
    assert set_frozen(net, config.fine_tuning, 1)
    assert not set_frozen(net, config.fine_tuning, 2)
    net.train()
    front, back = net.backbone.front, net.backbone.back
    assert (front.training, back.training, front.bias.requires_grad, back.bias.requires_grad) == (False, True) * 2
    assert set_frozen(net, config.fine_tuning, 3)
    net.train()
    assert (front.training, front.bias.requires_grad, front.weight.requires_grad) == (True, True, False)
    assert not set_frozen(net, config.fine_tuning, 4)


def test_an_encoder_may_name_the_part_that_is_pretrained(make_config, monkeypatch):
    net, _ = net_of(make_config)
    assert pretrained_part(net.backbone) is net.backbone
    monkeypatch.setattr(type(net.backbone), "pretrained", "layer1")
    assert pretrained_part(net.backbone) is net.backbone.layer1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "there is no model to start from; give one"),
        ({"model_init": "a.pt", "loss": "triplet"}, "loss triplet has no weights to train meanwhile; set it to 0"),
    ],
)
def test_freezing_that_makes_no_sense_is_refused(make_config, changes, told):
    net, config = net_of(make_config, fine_tuning={"frozen_epochs": 1}, **changes)
    with pytest.raises(UserError, match=rf"fine_tuning.frozen_epochs is 1, but {told}"):
        check_fine_tuning(net, config)


@pytest.fixture
def begun(make_config, tmp_path):
    """A configuration that starts from a model, frozen in the first of two epochs."""
    torch.manual_seed(5)
    net, _ = net_of(make_config)
    net.train()(torch.randn(8, 20, 16), torch.arange(8) % 4, 0.1)  # running statistics of their own
    save_tensors(net.flat_state(), tmp_path / "a.pt")

    def make(**changes):
        start = {"model_init": str(tmp_path / "a.pt"), "fine_tuning": {"frozen_epochs": 1, "layer_decay": 0.5}}
        return make_config(**{**start, "num_epochs": 2, "save_minutes": 1e-9, **changes})

    return make


def changed(folder, one, other):
    """Parts of the network that differ between two models: encoder, its batch norm's statistics, head."""
    before, after = (load_tensors(folder / "models" / f"model_{n}.pt") for n in (one, other))
    kinds = {key: "head" if key.startswith("projection.") else "encoder" for key in before}
    kinds |= {key: "statistics" for key in before if "running" in key}
    return {kind for key, kind in kinds.items() if not before[key].equal(after[key])}


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_weights_and_statistics_until_its_epoch(begun, data_dir, tmp_path):
    train(begun(), data_dir, tmp_path / "exp", WORLD)
    assert changed(tmp_path / "exp", 0, 1) == {"head"}
    assert changed(tmp_path / "exp", 1, 2) == {"head", "encoder", "statistics"}


@pytest.mark.slow
@pytest.mark.parametrize("last", [3, 6, 8])  # steps done before the end, of 6 an epoch
def test_a_training_that_was_ended_goes_on_frozen_or_thawed_as_it_was(begun, data_dir, tmp_path, monkeypatch, last):
    train(begun(), data_dir, tmp_path / "whole", WORLD)
    step = Trainer._step

    def until_the_last(trainer, batch):
        if trainer.place.step == last:
            raise KeyboardInterrupt
        step(trainer, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_step", until_the_last)
        train(begun(), data_dir, tmp_path / "ended", WORLD)
    train(begun(), data_dir, tmp_path / "ended", WORLD)
    for name in ("model_1.pt", "model_2.pt"):
        assert (tmp_path / "ended/models" / name).read_bytes() == (tmp_path / "whole/models" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("split_head", [False, True])
def test_two_processes_freeze_and_thaw_as_one_does(begun, start_training, worlds, data_dir, tmp_path, split_head):
    """Batch norm has running statistics throughout, so that the batch of a process does not matter."""
    changes = {"freeze_batch_norm": True, "split_head": split_head}
    one = begun(**changes, dataloader_args={"batch_size": 8, "num_workers": 0})
    two = begun(**changes, dataloader_args={"batch_size": 4, "num_workers": 0})
    processes = [start_training(one, data_dir, tmp_path / "one")]
    processes += [start_training(two, data_dir, tmp_path / "two", env=env) for env in worlds(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0, (tmp_path / "two.log").read_text()
    assert changed(tmp_path / "two", 0, 1) == {"head"}
    assert changed(tmp_path / "two", 1, 2) == {"head", "encoder"}
    result, expected = (load_tensors(tmp_path / name / "models/model_2.pt") for name in ("two", "one"))
    for key, value in expected.items():
        assert torch.allclose(result[key], value, rtol=1e-4, atol=1e-5), key
