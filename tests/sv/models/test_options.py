"""Names, options and defaults of encoders: ranges, and poolings that an encoder cannot use."""

import pytest

from sv.errors import UserError
from sv.models import MODELS, build_model


def test_registry_holds_wespeakers_names() -> None:
    resnets = ["resnet_small", *(f"ResNet{depth}" for depth in (18, 34, 50, 101, 152, 221, 293))]
    ecapas = ["ECAPA_TDNN_c512", "ECAPA_TDNN_c1024", "ECAPA_TDNN_GLOB_c512", "ECAPA_TDNN_GLOB_c1024"]
    redimnets = ["ReDimNet", *(f"ReDimNetB{size}" for size in range(7))]
    res2nets = ["Res2Net34_Base", "Res2Net34_Large", "ERes2Net34_Base", "ERes2Net34_Large", "ERes2Net34_aug"]
    res2nets += ["ERes2NetV2", "ERes2NetV2_w24s4ep4"]  # 3D-Speaker's
    simams = ["SimAM_ResNet34_ASP", "SimAM_ResNet100_ASP"]
    assert {*resnets, *simams, *ecapas, *redimnets, *res2nets, "XVEC", "CAMPPlus"} <= set(MODELS.names())


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"unknown model 'Resnet34'; did you mean 'ResNet34'.* known: .*ResNet293.*XVEC"
    ):
        build_model("Resnet34", {})


def test_defaults_are_wespeakers() -> None:
    assert MODELS.resolve("ResNet34", {}) == {
        "m_channels": 32,
        "feat_dim": 80,
        "embed_dim": 256,
        "pooling_func": "TSTP",
        "two_emb_layer": False,
        "emb_bn": False,
    }
    assert MODELS.resolve("ECAPA_TDNN_GLOB_c512", {})["embed_dim"] == 192
    assert MODELS.resolve("XVEC", {})["embed_dim"] == 512
    assert MODELS.resolve("CAMPPlus", {})["embed_dim"] == 512
    assert MODELS.resolve("resnet_small", {})["embed_dim"] == 128


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ("ResNet34", {"embed_dim": 0}, "model ResNet34: embed_dim is 0: Input should be greater than 0"),
        ("resnet_small", {"m_channels": -8}, "m_channels is -8"),
        ("XVEC", {"stats_dim": 0}, "stats_dim is 0"),
        ("ECAPA_TDNN_c512", {"feat_dim": 80.5}, "feat_dim is 80.5: .* integer"),
        ("ResNet34", {"embed_dims": 256}, "no option 'embed_dims'; did you mean 'embed_dim'"),
        ("ResNet34", {"pooling_func": "TSTB"}, "unknown pooling 'TSTB'; did you mean 'TSTP'.* known: TAP, TSDP, TSTP"),
        ("ECAPA_TDNN_GLOB_c512", {"pooling_func": "TSTP"}, "pooling TSTP has no option 'global_context_att'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(model: str, args: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MODELS.resolve(model, args)


def test_sizes_that_torch_refuses_are_one_line() -> None:
    with pytest.raises(UserError, match=r"model XVEC cannot be built with model_args .*hid_dim") as error:
        build_model("XVEC", {"hid_dim": 10**16})
    assert "\n" not in str(error.value)
