"""Optimizers over encoder and head."""

from copy import deepcopy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sv.training.network import build_network
from sv.training.optimizer import build_optimizer, match_layout, set_learning_rate, start_momenta


def build(make_config, **changes):
    torch.manual_seed(0)
    config = make_config(**changes).model_copy(update={"num_speakers": 4})
    net = build_network(config)
    return net, build_optimizer(net, config)


def test_the_bias_of_sphereface2_is_not_decayed(make_config):
    net, optimizer = build(make_config)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 0.0]
    assert optimizer.param_groups[1]["params"] == [net.head.bias]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(net.parameters()))


def test_a_head_without_such_parameters_needs_one_group(make_config):
    _, optimizer = build(make_config, loss="aam")
    assert len(optimizer.param_groups) == 1


def steps(config, net, layout, number):
    """An optimizer after some steps with random gradients, its parameters in the given memory layout."""
    optimizer = build_optimizer(net.to(memory_format=layout), config)
    for step in range(number):
        torch.manual_seed(step)
        for parameter in net.parameters():
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_momenta_take_the_layout_of_their_parameters(make_config, name):
    (one, _), (other, _) = build(make_config, optimizer=name), build(make_config, optimizer=name)
    config = make_config(optimizer=name)
    whole = steps(config, one, torch.contiguous_format, 2)
    continued = steps(config, other, torch.channels_last, 2)
    continued.load_state_dict(deepcopy(whole.state_dict()))
    match_layout(continued)
    for optimizer, net in ((whole, one), (continued, other)):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
        optimizer.step()
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
@pytest.mark.parametrize(
    ("device", "precision", "processes", "fused"),
    [
        ("cpu", "fp32", 1, True),
        ("cpu", "fp16", 1, False),  # the CPU's kernel does not skip a step
        ("cuda", "fp16", 1, True),
        ("cuda", "fp16", 2, False),  # nor does the GPU's if two processes of a split head overflow
        ("cuda", "bf16", 2, True),
    ],
)
def test_with_fp16_only_a_gpu_fuses_so_that_its_scaler_does_not_wait(
    make_config, name, device, precision, processes, fused
):
    config = make_config(optimizer=name, precision=precision).model_copy(update={"num_speakers": 4})
    with FakeTensorMode(), torch.device(device):
        net = build_network(config)
        if processes > 1:
            net.head.split(0, processes)
        optimizer = build_optimizer(net, config)
    assert bool(optimizer.defaults["fused"]) is fused
    assert getattr(optimizer, "_step_supports_amp_scaling", False) is fused, "what the scaler asks"
    started = name == "SGD" and fused and precision == "fp16"
    assert len(optimizer.state) == (len(list(net.parameters())) if started else 0)


def test_momenta_of_zero_are_those_of_a_first_step(make_config):
    (one, _), (other, _) = build(make_config), build(make_config)
    plain, started = (build_optimizer(net, make_config()) for net in (one, other))
    start_momenta(started)
    for step in range(3):
        for net, optimizer in ((one, plain), (other, started)):
            torch.manual_seed(step)
            set_learning_rate(optimizer, 0.1)
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape)
            optimizer.step()
    assert all(p.equal(q) for p, q in zip(one.parameters(), other.parameters(), strict=True))
