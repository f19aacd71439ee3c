"""Options of encoders: ranges, and poolings that an encoder cannot use."""

import pytest

from sv.errors import UserError
from sv.models import MODELS, build_model


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
