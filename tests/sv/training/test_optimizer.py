"""Optimizers over encoder and head."""

from copy import deepcopy

import pytest
import torch

from sv.training.network import build_network
from sv.training.optimizer import build_optimizer, match_layout


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
