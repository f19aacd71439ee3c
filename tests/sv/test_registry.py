"""Names and options of a YAML file, checked against classes of options and signatures."""

import pytest
from pydantic import Field, ValidationError

from sv import losses
from sv.errors import UserError
from sv.registry import Options, Registry

LOSSES: Registry[tuple] = Registry("loss")


@LOSSES.register("aam")
def aam(dim: int, *, scale: float = 32.0, easy_margin: bool = False, kind: str = "C") -> tuple:
    return dim, scale, easy_margin, kind


class Sizes(Options):
    width: int
    depth: int = Field(3, ge=1)


def net(dim: int, options: Sizes, *, block: str) -> tuple:
    return dim, options, block


@pytest.fixture
def models():
    registry: Registry[tuple] = Registry("model")
    registry.add("wide", Sizes, f"{__name__}:net", block="basic")
    registry.add("absent", Sizes, "no_such_module:Net")
    return registry


def test_a_builder_is_imported_when_it_is_used_and_gets_its_options_last(models):
    assert models.build("wide", 7, width=5) == (7, Sizes(width=5, depth=3), "basic")
    assert models.resolve("absent", {"width": 5}) == {"width": 5, "depth": 3}
    with pytest.raises(ModuleNotFoundError):
        models.build("absent", 7, width=5)


def test_options_do_not_change():
    with pytest.raises(ValidationError):
        Sizes(width=5).width = 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 2}, "model wide: width must be given"),
        ({"width": 5, "depth": 0}, "model wide: depth is 0: Input should be greater than or equal to 1"),
        ({"width": 5, "dept": 0}, "model wide has no option 'dept'; did you mean 'depth'? known: width, depth"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(models, options, message):
    with pytest.raises(UserError) as error:
        models.options("wide", options)
    assert str(error.value) == message


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


def test_a_name_of_another_toolkit_is_answered_with_ours() -> None:
    with pytest.raises(UserError, match=r"^unknown loss 'arc_margin'; here it is aam$"):
        losses.LOSSES.options("arc_margin", {})
    with pytest.raises(UserError, match=r"^unknown loss 'sphereface'; here it is sphere$"):
        losses.LOSSES.options("sphereface", {})
    assert set(losses.LOSSES.elsewhere.values()) <= set(losses.LOSSES.names())
