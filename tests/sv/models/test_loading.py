"""Loading backbones: in every wrapping that is met, and a clear line for a checkpoint of another model."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.models import build_model
from sv.models.encoder import Encoder
from sv.models.loading import cut_prefix, load_backbone

State = dict[str, Any]


@pytest.fixture
def model() -> Encoder:
    return build_model("resnet_small", {}).eval()


def other_state(**options: object) -> State:
    torch.manual_seed(9)
    return dict(build_model("resnet_small", options).state_dict())


def saved(state: State) -> State:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


WRAPPINGS: dict[str, Callable[[State], State]] = {
    "flat": lambda state: state,
    "saved": saved,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "model, state_dict": lambda state: {"model": {"state_dict": state}},
    "with a head": lambda state: {
        **state,
        "projection.weight": torch.zeros(9, 4),
        "projection.bias": torch.zeros(1, 1),
    },
    "averaged": lambda state: {key: value.float() for key, value in state.items()},
    "without counters": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_embeddings_are_those_of_the_saved_model(model: Encoder, wrapping: str) -> None:
    state = other_state()
    features = torch.randn(2, 30, 80)
    twin = build_model("resnet_small", {}).eval()
    twin.load_state_dict(state)
    load_backbone(model, WRAPPINGS[wrapping](state), "x.pt")
    assert torch.equal(model(features), twin(features))


def without(state: State, key: str) -> State:
    return {k: v for k, v in state.items() if k != key}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (other_state(embed_dim=64), r"its seg_1.weight is \(64, 1280\), the model's \(128, 1280\), its seg_1.bias is"),
        (
            without(other_state(), "conv1.weight"),
            r"it has no conv1.weight \(8, 1, 3, 3\); give the model and model_args",
        ),
        (
            other_state(two_emb_layer=True),
            "its seg_bn_1.running_mean is not in the model, its seg_bn_1.run",
        ),
        ({**other_state(), "bn1.bias": "text"}, "its bn1.bias is no tensor"),
        (
            other_state(m_channels=16),
            r"its conv1.weight is \(16, .*bn1.bias is \(16,\), .*, and 53 more differences; give",
        ),
    ],
)
def test_differences_are_listed(model: Encoder, state: State, message: str) -> None:
    before: dict[str, Tensor] = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match="exp/x.pt: not a checkpoint of this ResNet: " + message):
        load_backbone(model, state, "exp/x.pt")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "model.", "front.", "backbone.", "module.backbone."])
def test_prefix_of_all_tensors_is_cut_and_named(prefix: str) -> None:
    state = {**other_state(), "fc.weight": torch.zeros(1)}
    wrapped = {prefix + key: value for key, value in state.items()}
    assert cut_prefix(wrapped) == (state, prefix)
    assert cut_prefix({**wrapped, "projection.weight": 1}) == ({**state, "projection.weight": 1}, prefix)
    assert cut_prefix(state) == (state, "")


def test_prefix_of_some_tensors_is_their_name() -> None:
    state = dict(build_model("SimAM_ResNet34_ASP", {"in_planes": 2}).state_dict())
    assert cut_prefix(state) == (state, "")
    assert cut_prefix({"module." + key: value for key, value in state.items()}) == (state, "module.")


@pytest.mark.parametrize("prefix", ["module.", "front.", "module.backbone."])
def test_prefix_of_all_tensors_is_left_out_and_told(
    model: Encoder, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = other_state()
    state = {f"{prefix}{key}": value for key, value in given.items()} | {"projection.weight": torch.zeros(9, 4)}
    with caplog.at_level("INFO"):
        load_backbone(model, state, "x.pt")
    assert f"x.pt: the names of all its tensors begin with {prefix!r}, which is left out" in caplog.text
    assert all(torch.equal(value, given[key]) for key, value in model.state_dict().items() if key in given)


@pytest.mark.parametrize("state", [{}, {"model": {}}, {"epoch": 3}, {0: torch.zeros(1)}, [1, 2], None])
def test_file_without_state_dict_is_refused(model: Encoder, state: Any) -> None:
    with pytest.raises(UserError, match=r"x\.pt: holds no state dict \(tensors by name"):
        load_backbone(model, state, "x.pt")
