"""ReDimNet2: sizes and names as published, arithmetic against one written out with functions."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sv.errors import UserError
from sv.models import build_model
from sv.models.encoder import Encoder
from sv.models.loading import load_backbone
from sv.models.redimnet2 import is_official2, read_official2

STAGES = [[[1, 1], 1, 2, 3], [[2, 1], 2, 1, 6], [[1, 2], 1, 0.5, None], [[1, 2], 1, 1, 6]]
SMALL: dict[str, Any] = {"feat_dim": 8, "channels": 6, "embed_dim": 5, "stages_setup": STAGES}
ALL_PARTS: dict[str, Any] = {"dual_agg": True, "agg_gnorm": True, "emb_bn": True, "out_channels": 7}
VARIANTS: list[dict[str, Any]] = [
    {},
    ALL_PARTS,
    {"out_channels": 3, "return_2d_output": True, "block_2d_type": "basic_resnet_fwse"},
    {"agg_gnorm": True, "compress_tconvs": False, "group_divisor": 2},
]


def small_model(**options: Any) -> Encoder:
    """Build a small network with weights that differ from map to map, in double precision."""
    torch.manual_seed(1)
    model = build_model("ReDimNet2", {**SMALL, **options}).double()
    for name, parameter in model.named_parameters():
        if name.endswith(".w"):
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize(
    ("size", "tensors", "parameters"),
    [
        ("B0", 727, 703_060),
        ("B1", 727, 1_254_992),
        ("B2", 727, 2_530_208),
        ("B3", 727, 2_364_712),
        ("B4", 739, 6_659_744),
        ("B5", 741, 7_900_456),
        ("B6", 803, 12_394_784),
    ],
)
def test_size_is_wespeakers(size: str, tensors: int, parameters: int) -> None:
    with torch.device("meta"):
        model = build_model(f"ReDimNet2{size}", {})
    assert len(model.state_dict()) == tensors
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_size_with_two_maps_a_stage_is_the_authors() -> None:
    with torch.device("meta"):
        model = build_model("ReDimNet2B6", {"dual_agg": True, "agg_gnorm": True})
    assert len(model.state_dict()) == 832 - 3  # three buffers of the front-end
    assert sum(p.numel() for p in model.parameters()) == 12_611_360


def test_tensors_are_named_as_published() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in build_model("ReDimNet2B6", {}).state_dict().items()}
        dual = {key: tuple(v.shape) for key, v in build_model("ReDimNet2", {**SMALL, **ALL_PARTS}).state_dict().items()}
    assert shapes["backbone.stem.0.weight"] == (64, 1, 3, 3)
    assert shapes["backbone.stage0.0.w"] == (1, 1, 4608, 1)
    assert shapes["backbone.stage2.2.weight"] == (256, 1, 1, 2)  # strides 2 over the frames, 128 groups
    assert shapes["backbone.stage3.2.weight"] == (256, 1, 2, 2)
    assert shapes["backbone.stage0.3.conv_block.conv1.weight"] == (192, 1, 3, 3)
    assert shapes["backbone.stage0.6.0.weight"] == (64, 192, 1, 1)
    assert shapes["backbone.stage0.6.1.running_mean"] == (64,)
    assert shapes["backbone.stage0.8.red_dim_conv.0.weight"] == (72, 4608, 1)
    assert shapes["backbone.fin_wght1d.w"] == (1, 7, 4608, 1)
    assert shapes["backbone.head.weight"] == (224, 512, 1, 1)
    assert shapes["pool.linear1.weight"] == (128, 3 * 9 * 224, 1)
    assert shapes["bn.weight"] == (2 * 9 * 224,)
    assert shapes["linear.weight"] == (192, 2 * 9 * 224)
    assert dual["backbone.stem_gnorm.weight"] == dual["backbone.stage0_up_2d.1.weight"] == (48,)
    assert dual["backbone.stage1_pre.0.w"] == (1, 3, 48, 1)
    assert dual["backbone.stage1_1d.exp_dim_conv.weight"] == (48, 8, 1)
    assert dual["backbone.stage2.0.w"] == (1, 5, 48, 1)  # without a 1-d block it gives one map
    assert dual["bn2.bias"] == (5,)


def slow_redimnet2(model: Encoder, features: Tensor, options: dict[str, Any]) -> Tensor:
    """The network from its tensors; blocks and 1-d blocks, which are ReDimNet's, are called as modules."""
    state, bins, channels = model.state_dict(), options["feat_dim"], options["channels"]
    rows, total = bins * channels, 1

    def mix(maps: list[Tensor], at: str) -> Tensor:
        weights = state[at].softmax(dim=1)
        return sum((weights[:, i] * x for i, x in enumerate(maps)), torch.zeros_like(maps[0]))

    def group_norm(x: Tensor, at: str) -> Tensor:
        if f"{at}.weight" not in state:
            return x
        groups = x.reshape(len(x), options["channels"], -1)
        mean, var = groups.mean(dim=2, keepdim=True), groups.var(dim=2, keepdim=True, correction=0)
        normed = ((groups - mean) / (var + 1e-5).sqrt()).reshape(x.shape)
        return normed * state[f"{at}.weight"][:, None] + state[f"{at}.bias"][:, None]

    x = features[:, : features.shape[1] // 4 * 4].transpose(1, 2)[:, None]
    x = functional.conv2d(x, state["backbone.stem.0.weight"], state["backbone.stem.0.bias"], padding=1)
    x = functional.layer_norm(
        x.movedim(1, -1), (channels,), state["backbone.stem.1.weight"], state["backbone.stem.1.bias"], 1e-6
    )
    x = x.permute(0, 1, 3, 2).reshape(len(x), rows, -1)
    maps = [group_norm(x, "backbone.stem_gnorm")]
    for stage, ((stride, frames), blocks, expansion, reduction) in enumerate(options["stages_setup"]):
        dual = options.get("dual_agg") and reduction is not None
        at = f"backbone.stage{stage}" + ("_pre" if dual else "")
        total *= frames
        x = mix(maps, f"{at}.0.w").reshape(len(x), bins, channels, -1).permute(0, 2, 1, 3)
        weight = state[f"{at}.2.weight"]
        groups = channels // weight.shape[1]
        x = functional.conv2d(x, weight, state[f"{at}.2.bias"], stride=(stride, total), groups=groups)
        bins, channels = bins // stride, channels * stride
        for block in range(blocks):
            x = model.get_submodule(f"{at}.{3 + block}")(x)
        index = 3 + blocks
        if expansion != 1:
            x = functional.conv2d(x, state[f"{at}.{index}.0.weight"], state[f"{at}.{index}.0.bias"])
            parts = (state[f"{at}.{index}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
            x, index = functional.batch_norm(x, *parts, eps=1e-6), index + 1
        x = x.permute(0, 2, 1, 3).reshape(len(x), rows, -1)
        outputs = [x]
        if reduction is not None:
            name = f"backbone.stage{stage}_1d" if dual else f"{at}.{index + 1}"
            outputs = [*([x] if dual else []), model.get_submodule(name)(x)]
            index += 1
        names = [f"backbone.stage{stage}_up_{part}.1" for part in ("2d", "1d")] if dual else [f"{at}.{index + 2}"]
        for output, name in zip(outputs, names, strict=True):
            repeated = output.unsqueeze(-1).expand(*output.shape, total).reshape(len(x), rows, -1)
            maps.append(group_norm(repeated, name))
    x = mix(maps, "backbone.fin_wght1d.w")
    if options.get("return_2d_output"):
        x = x.reshape(len(x), bins, channels, -1).permute(0, 2, 1, 3)
        x = functional.conv2d(x, state["backbone.head.weight"], state["backbone.head.bias"]).flatten(1, 2)
    elif "out_channels" in options:
        x = functional.conv1d(x, state["backbone.head.weight"], state["backbone.head.bias"])
    stats = model.get_submodule("pool")(x)
    for norm in ("bn", "bn2"):
        if norm == "bn2":
            stats = functional.linear(stats, state["linear.weight"], state["linear.bias"])
        if f"{norm}.weight" in state:
            parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
            stats = functional.batch_norm(stats, *parts)
    return stats


@pytest.mark.parametrize("options", VARIANTS)
def test_arithmetic_is_as_published(options: dict[str, Any]) -> None:
    model = small_model(**options)
    features = torch.randn(3, 23, 8, dtype=torch.float64)
    model.train()(features)  # so that batch norm has statistics
    model.eval()
    expected = slow_redimnet2(model, features, {**SMALL, **options})
    torch.testing.assert_close(model(features), expected, rtol=1e-9, atol=1e-9)
    assert expected.shape == (3, 5)


def test_frames_beyond_a_multiple_of_the_time_stride_are_left_out() -> None:
    model, features = small_model().eval(), torch.randn(2, 15, 8, dtype=torch.float64)
    assert model.min_frames == 4
    assert torch.equal(model(features), model(features[:, :12]))


def test_bins_that_a_stride_does_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="stage 0 cannot divide 8 bins by 3; take another feat_dim"):
        small_model(stages_setup=[[[3, 1], 1, 1, None]])


CONFIG: dict[str, Any] = {
    "F": 8,
    "C": 6,
    "causal": "none",
    "block_1d_type": "conv+att",
    "stages_setup": [(tuple(stage[0]), stage[1], stage[2], [(3, 3)], stage[3]) for stage in STAGES],  # type: ignore[arg-type]
    "embed_dim": 5,
    "hop_length": 160,
    "feat_type": "tf",
    "spec_params": {"norm_signal": True},
    "dual_agg": True,
    "pad_right_samples": None,
}


def test_checkpoint_of_the_authors_is_read() -> None:
    trained = small_model(dual_agg=True).eval()
    content = {"model_config": CONFIG, "state_dict": {**trained.state_dict(), "spec.x": torch.zeros(1)}}
    assert is_official2(content)
    args, front_end, state = read_official2(content, "b.pt")
    assert (front_end["kind"], front_end["unit_variance"], front_end["num_mel_bins"]) == ("redimnet_tf", True, 8)
    model = build_model("ReDimNet2", args).double().eval()
    load_backbone(model, state, "b.pt")
    features = torch.randn(2, 31, 8, dtype=torch.float64)
    assert torch.equal(model(features), trained(features))


def test_checkpoint_with_other_parts_is_refused() -> None:
    for key, value in {"causal": "full", "use_freq_pos_enc": True}.items():
        config = {**CONFIG, key: value}
        with pytest.raises(UserError, match=f"b.pt: its model_config has {key}: {value!r}, which is not supported"):
            read_official2({"model_config": config, "state_dict": {}}, "b.pt")


def test_checkpoint_of_redimnet_is_another() -> None:
    assert not is_official2({"model_config": {"stages_setup": [(1, 2, 1, [(3, 3)], 8)]}})
    assert not is_official2({"model_config": {}}) and not is_official2([1])
