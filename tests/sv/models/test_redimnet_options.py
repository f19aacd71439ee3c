"""The options of ReDimNet and ReDimNet2: sizes by name, stages as YAML reads them, values out of range."""

from typing import Any

import pytest

from sv.errors import UserError
from sv.models import MODELS
from sv.models.redimnet_options import REDIMNETS

STAGES2 = {"channels": 6, "stages_setup": [[[1, 1], 1, 2, 3]]}


def test_every_size_has_its_own_defaults() -> None:
    for name, (mels, channels, block, group_divisor, stages) in REDIMNETS.items():
        found = MODELS.resolve(name, {})
        assert (found["feat_dim"], found["channels"], found["block_2d_type"]) == (mels, channels, block)
        assert found["group_divisor"] == group_divisor and found["stages_setup"] == [list(stage) for stage in stages]
    sizes = {f"ReDimNet2B{size}": MODELS.resolve(f"ReDimNet2B{size}", {}) for size in range(7)}
    assert [found["channels"] for found in sizes.values()] == [12, 16, 20, 24, 32, 48, 64]
    assert [found["out_channels"] for found in sizes.values()] == [64, 64, 64, 64, None, 256, 224]


def test_stages_are_resolved_to_what_yaml_reads() -> None:
    assert MODELS.resolve("ReDimNetB1", {})["stages_setup"][1:3] == [[2, 3, 1, None], [3, 4, 1, 12]]
    assert MODELS.resolve("ReDimNetB5", {})["stages_setup"] == MODELS.resolve("ReDimNetB4", {})["stages_setup"]
    assert MODELS.resolve("ReDimNet2B6", {})["stages_setup"][4:] == [[[1, 2], 4, 0.75, 32], [[2, 1], 3, 0.5, 24]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ReDimNet", {}, "channels must be given"),
        ("ReDimNetB0", {"block_2d_type": "resnet"}, "block_2d_type is 'resnet'"),
        ("ReDimNetB0", {"stages_setup": [[1, 2, 0, 30]]}, "stages_setup.0.2 is 0"),
        ("ReDimNetB0", {"stages_setup": []}, "at least 1 item"),
        ("ReDimNet2", {**STAGES2, "stages_setup": [[[1, 1], 1, 0, 3]]}, "stages_setup.0.2 is 0"),
        ("ReDimNet2", {**STAGES2, "stages_setup": [[2, 1, 1, 3]]}, "stages_setup.0.0 is 2"),
        ("ReDimNet2", {**STAGES2, "out_channels": 0}, "out_channels is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MODELS.resolve(name, options)
