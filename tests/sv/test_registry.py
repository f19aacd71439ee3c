"""Names and options of a YAML file, checked against signatures."""

import pytest

from sv.errors import UserError
from sv.registry import Registry, suggest

LOSSES: Registry[tuple] = Registry("loss")


@LOSSES.register("aam")
def aam(dim: int, *, scale: float = 32.0, easy_margin: bool = False, kind: str = "C") -> tuple:
    return dim, scale, easy_margin, kind


def test_build_keeps_defaults():
    assert LOSSES.build("aam", 256, kind="A") == (256, 32.0, False, "A")


def test_resolve_gives_every_option():
    assert LOSSES.resolve("aam", {"scale": 40}) == {"scale": 40.0, "easy_margin": False, "kind": "C"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("amm", {}, "unknown loss 'amm'; did you mean 'aam'? known: aam"),
        ("aam", {"scal": 1}, "loss aam has no option 'scal'; did you mean 'scale'? known: scale, easy_margin, kind"),
        ("aam", {"scale": "large"}, "loss aam: scale is 'large': Input should be a valid number"),
    ],
)
def test_unknown_names_and_types_are_refused_by_name(name, options, message):
    with pytest.raises(UserError) as error:
        LOSSES.build(name, 256, **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("ResNet35", "; did you mean 'ResNet34'?"), ("ResNet5", "; did you mean 'ResNet50'?"), ("tdnn", ";")],
)
def test_the_nearest_name_is_suggested(word, nearest):
    names = ["ResNet18", "ResNet34", "ResNet50", "ResNet152"]
    assert suggest(word, names) == f"{nearest} known: ResNet18, ResNet34, ResNet50, ResNet152"
