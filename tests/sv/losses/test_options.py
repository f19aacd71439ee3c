"""Names and options of losses: ranges, unknown names, and the margins that a loss takes."""

import pytest

from sv.errors import UserError
from sv.losses import LOSSES, build_head, loss_options


def test_unknown_loss_lists_the_known_ones() -> None:
    with pytest.raises(
        UserError, match=r"unknown loss 'spherface2'; did you mean 'sphereface2'.* known: softmax, sphere, am, aam,"
    ):
        build_head("spherface2", 4, 3, {})


def test_registry_holds_the_losses() -> None:
    with_weights = ["softmax", "sphere", "am", "aam", "aam_subcenter", "aam_intertopk", "aam_intertopk_subcenter"]
    assert LOSSES.names() == [
        *with_weights,
        "sphereface2",
        "triplet",
        "ge2e",
        "prototypical",
        "angular_prototypical",
        "teacher",
    ]


@pytest.mark.parametrize(
    ("loss", "args", "message"),
    [
        ("sphere", {"angle_factor": 0}, "loss sphere: angle_factor is 0: Input should be greater than or equal to 1"),
        ("aam_subcenter", {"num_subcenters": 0}, "num_subcenters is 0: .* 1"),
        ("aam_intertopk", {"top_margin": -0.1}, "top_margin is -0.1: .* 0"),
        ("aam_intertopk_subcenter", {"top_margin": 0.3}, "top_margin is 0.3: .* 0.2"),
        ("aam_intertopk", {"top_k": 0}, "top_k is 0: .* 1"),
        ("aam_intertopk", {"k_top": 3}, "no option 'k_top'; did you mean 'top_k'"),
        ("aam", {"scale": 0.0}, "scale is 0.0: Input should be greater than 0"),
        ("aam", {"scale": float("inf")}, "scale is inf: .* finite"),
        ("ge2e", {"scale": -1.0}, "scale is -1.0: Input should be greater than 0"),
        ("ge2e", {"utts_per_speaker": 1}, "utts_per_speaker is 1: .* 2"),
        ("triplet", {"mining": "hard"}, r"mining is 'hard'; did you mean 'hardest'\? known: semihard, hardest"),
        ("sphereface2", {"t": 0.5}, "t is 0.5: .* 1"),
        ("sphereface2", {"t": 81.0}, "t is 81.0: .* 80"),
        ("sphereface2", {"target_weight": 1.0}, "target_weight is 1.0: Input should be less than 1"),
        ("sphereface2", {"target_weight": float("nan")}, "target_weight is nan"),
        ("sphereface2", {"margin_type": "B"}, "margin_type is 'B'"),
        (
            "sphereface2",
            {"lanbuda": 0.7},
            "no option 'lanbuda'.* known: scale, margin_type, target_weight, t",
        ),
    ],
)
def test_an_option_out_of_range_is_refused(loss: str, args: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loss_options(loss, args)


@pytest.mark.parametrize(
    ("loss", "margin", "allowed"),
    [
        ("sphere", 4.0, "takes 0 to 1"),
        ("aam", -0.1, "takes 0 to 1.5"),
        ("sphereface2", float("nan"), "takes 0 to 1"),
        ("triplet", 2.5, "takes 0 to 2"),
        ("softmax", 0.2, "has no margin, give 0"),
        ("ge2e", 0.2, "has no margin, give 0"),
    ],
)
def test_a_margin_out_of_range_is_refused(loss: str, margin: float, allowed: str) -> None:
    with pytest.raises(UserError, match=f"margin {margin:g} does not fit: {loss} {allowed}"):
        loss_options(loss, {}).margins.check(margin, loss)


@pytest.mark.parametrize("loss", LOSSES.names())
def test_default_margins_are_in_range_and_heads_agree_with_their_options(loss: str) -> None:
    options = loss_options(loss, {})
    margins = options.margins
    for margin in (margins.lowest, margins.default, margins.finetune or margins.highest):
        margins.check(margin, loss)
    head = build_head(loss, 4, 3, {})
    assert bool(head.row_parameters) == options.can_split
    assert hasattr(options, "utts_per_speaker") == options.compares_utterances
    assert all(hasattr(options, name) for name in options.in_name)
