"""The options of poolings: WeSpeaker's defaults, and values that they cannot have."""

from typing import Any

import pytest

from sv.errors import UserError
from sv.models.options import POOLINGS


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("TSTP", {}),
        ("ASTP", {"bottleneck_dim": 128, "global_context_att": False}),
        ("ASP", {"hidden_dim": 128}),
        ("MHASTP", {"layer_num": 2, "head_num": 2, "d_s": 1, "bottleneck_dim": 64}),
        ("MQMHASTP", {"layer_num": 2, "head_num": 8, "d_s": 2, "bottleneck_dim": 64, "query_num": 2}),
        ("XI", {"hidden_size": 256, "stddev": False, "train_mean": True, "train_prec": True}),
    ],
)
def test_defaults_are_wespeakers(name: str, defaults: dict[str, Any]) -> None:
    assert POOLINGS.resolve(name, {}) == defaults


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("TSTP", {"bottleneck_dim": 64}, "pooling TSTP has no option 'bottleneck_dim'"),
        ("ASTP", {"bottleneck_dim": 0}, "pooling ASTP: bottleneck_dim is 0: Input should be greater than 0"),
        ("MHASTP", {"query_num": 2}, "pooling MHASTP has no option 'query_num'"),
        ("MQMHASTP", {"head_num": -1}, "pooling MQMHASTP: head_num is -1"),
        ("XI", {"stddev": "perhaps"}, "pooling XI: stddev is 'perhaps'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        POOLINGS.resolve(name, options)
