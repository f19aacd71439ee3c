"""The model card of a bundle: a block for hubs, then what the files of a system tell."""

from pathlib import Path

import pytest
import yaml

from sv.embeddings.experiment import read_config
from sv.export.model_card import About, model_card
from sv.metrics.results import merge_results
from sv.scoring.thresholds import read_thresholds
from tests.sv.export.exported_system import RESULT, make_exp


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return make_exp(tmp_path / "exp")


def card_of(exp: Path, about: About) -> tuple[dict[str, object], str]:
    """Return the block for hubs and the text of the card."""
    card = model_card(exp, read_config(exp), read_thresholds(exp, "cos"), about)
    before, head, text = card.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head), text


def test_a_card_begins_with_a_block_for_hubs_and_tells_the_results(exp: Path) -> None:
    merge_results(exp, {"O.kaldi": {"cos": RESULT}})
    tags, text = card_of(exp, About("apache-2.0", "noise", "en"))
    assert (tags["license"], tags["language"], tags["library_name"]) == ("apache-2.0", ["en"], "onnx")
    assert tags["tags"] == ["speaker-verification", "speaker-embedding", "onnx"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        "Use", "Thresholds", "Data", "Licence", "Results", "Limits"
    ]  # fmt: skip
    assert "| O | cos | 4.200 [3.10, 5.50] | 0.400 | 100 | 900 |" in text
    assert "(100 target, 900 non-target)" in text and "| fa_0.01 | 20.00 | 10.00 | 1.00 |" in text
    assert "\n## Data\n\nnoise\n" in text and "(batch, frames, 80)" in text and "16000 Hz" in text


def test_a_card_says_what_nobody_has_stated(exp: Path) -> None:
    tags, text = card_of(exp, About())
    assert tags["license"] == "unknown" and "language" not in tags
    for title in ("Data", "Licence"):
        assert f"## {title}\n\nNot stated: ask whoever trained it before you use it\n" in text
    assert "Not measured.\n" in text


def test_only_a_system_with_a_log_of_its_training_names_the_loss(exp: Path) -> None:
    assert "resnet_small: one embedding for each recording" in card_of(exp, About())[1]
    (exp / "metrics.jsonl").touch()
    assert "resnet_small, trained with the loss sphereface2: one embedding" in card_of(exp, About())[1]
