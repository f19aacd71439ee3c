"""The network of encoder and head, and its file."""

import pytest
import torch

from sv.training.network import EXACT_VALUES, in_channels_last


def test_file_has_wespeakers_layout(build):
    state = build().flat_state()
    assert {"conv1.weight", "layer1.0.conv1.weight", "seg_1.weight", "projection.weight", "projection.bias"} <= set(
        state
    )
    assert state["projection.weight"].shape == (4, 8)
    assert not any(key.startswith(("backbone", "head")) for key in state)


class Doubled(torch.nn.Module):
    """A wrapper of an encoder."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, features):
        return 2 * self.inner(features)


def test_an_encoder_is_wrapped_once_more_and_keeps_its_names(build):
    net, features = build(loss="softmax").eval(), torch.randn(2, 30, 16)
    names, embedding, seen = list(net.state_dict()), net.backbone(features), []
    net.wrap_backbone(Doubled)
    net.wrap_backbone(Doubled)
    net.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(features, torch.tensor([0, 1]), 0.0)
    torch.testing.assert_close(seen[0], 4 * embedding)
    assert list(net.state_dict()) == names


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


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_largest_batch_of_channels_last_has_exact_batch_norm(precision):
    torch.manual_seed(1)
    x = (torch.randn(EXACT_VALUES // (80 * 200), 8, 80, 200) + 0.5).to(precision)
    norm = torch.nn.BatchNorm2d(8, momentum=1.0)
    norm(x.to(memory_format=torch.channels_last))
    expected = x.double().var((0, 2, 3))
    assert ((norm.running_var - expected).abs() / expected).max() < 1e-3


@pytest.mark.parametrize(
    ("batch_size", "device", "options", "expected"),
    [
        (64, "cpu", {}, True),
        (65, "cpu", {}, True),
        (66, "cpu", {}, False),
        (128, "cuda", {}, True),
        (64, "cpu", {"channels_last": False}, False),
        (64, "cuda", {"channels_last": False}, False),
    ],
)
def test_the_layout_depends_on_the_batch_on_cpus(make_config, batch_size, device, options, expected):
    args = {"num_frms": 200, "fbank_args": {"num_mel_bins": 80}}
    config = make_config(dataset_args=args, dataloader_args={"batch_size": batch_size}, **options)
    assert in_channels_last(config, torch.device(device)) is expected
