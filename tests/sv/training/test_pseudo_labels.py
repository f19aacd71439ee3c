"""Labels from a clustering: which are trusted, masked and corrected by the losses of an epoch; their lists."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sv.config import Config, PseudoArgs
from sv.data import Batch, UttIndex, read_index
from sv.data.utt_index import PackedStrings
from sv.errors import UserError
from sv.io import ArkWriter, write_table
from sv.losses import build_head
from sv.training.distributed import World
from sv.training.heldout import WholeUtts
from sv.training.network import SpeakerNet
from sv.training.pseudo_labels import PseudoLabels, PseudoUtts, read_pseudo_utts, read_rivals

WORLD = World(0, 1, torch.device("cpu"))
NAMES = ["a", "b", "c", "d"]  # classes; the first two are labelled by people
LABELS = np.array([0, 0, 1, 1, 2, 2, 2, 3, 3, 3], dtype=np.int32)
PSEUDO = np.arange(10) >= 4


class Axes(nn.Module):
    """An encoder whose embedding is the mean of the features."""

    embedding_dim = 4

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=1)


class FakeReader:
    """Features of one frame, by row of the index."""

    def __init__(self, features: dict[int, list[float]]) -> None:
        self.features = features

    def whole(self, utt: int, *, center: bool) -> np.ndarray:
        if utt not in self.features:
            raise UserError(f"utt{utt} cannot be read")
        return np.array([self.features[utt]], dtype=np.float32)


class Case:
    """Ten utterances of four classes, whose weight vectors are the axes.

    Attributes:
        features: what the reader of whole utterances gives, by row.
    """

    def __init__(self, loss: str = "sphereface2", rivals: Any = None, **args: Any) -> None:
        torch.manual_seed(0)
        self.net = SpeakerNet(Axes(), build_head(loss, 4, 4, {}))
        nn.init.eye_(self.net.head.get_parameter("weight"))
        utts = PackedStrings.pack(f"utt{n}" for n in range(10))
        index = UttIndex(Path("data"), utts, np.full(10, 50, np.int32), LABELS, NAMES)
        self.features: dict[int, list[float]] = {}
        reader: Any = FakeReader(self.features)
        known = PseudoUtts(index, PSEUDO, rivals, WholeUtts(reader, False, "utterance to correct"))
        self.labels = PseudoLabels(known, self.net, Config(pseudo_args=PseudoArgs(**args)), WORLD)

    def note(self, *losses: tuple[int, float]) -> None:
        rows, values = zip(*losses, strict=True)
        self.labels.note(batch_of(*rows), torch.tensor(values), self.net)

    def pass_epoch(self, losses: dict[int, float], epoch: int = 1) -> dict[str, float]:
        """Note the losses of an epoch, by row, in batches of three, and end it."""
        items = list(losses.items())
        for first in range(0, len(items), 3):
            self.note(*items[first : first + 3])
        return self.labels.end_epoch(epoch)

    def weight(self, *rows: int) -> list[float]:
        return self.labels.relabel(batch_of(*rows))[1].weight.tolist()

    def speaker(self, *rows: int) -> list[int]:
        return self.labels.relabel(batch_of(*rows))[0].speaker.tolist()

    def lines(self, folder: Path) -> list[list[str]]:
        self.labels.write(folder / "pseudo_labels")
        return [line.split() for line in (folder / "pseudo_labels").read_text().splitlines()]


def batch_of(*rows: int) -> Batch:
    return Batch(torch.zeros(len(rows), 5, 4), torch.from_numpy(LABELS[list(rows)]).long(), np.array(rows))


LOSSES = {0: 9.0, 1: 9.0, 2: 9.0, 3: 9.0, 4: 0.1, 5: 0.12, 6: 5.0, 7: 0.11, 8: 6.0, 9: 0.1}


def test_the_gate_rejects_pseudo_labels_of_the_high_mode_alone(tmp_path: Path) -> None:
    case = Case(gate=True)
    assert case.weight(*range(10)) == [1] * 10
    figures = case.pass_epoch(LOSSES)
    assert case.weight(*range(10)) == [1, 1, 1, 1, 1, 1, 0, 1, 0, 1]
    assert figures["pseudo_trusted"] == pytest.approx(4 / 6)
    assert figures["pseudo_low"] == pytest.approx(0.107, abs=0.001) and figures["pseudo_separation"] > 10
    assert figures["pseudo_high"] == pytest.approx(math.sqrt(30))  # the mean of the logarithms of 5 and 6
    written = case.lines(tmp_path)
    assert [line[:4] for line in written[1:3]] == [["utt5", "c", "c", "0.12"], ["utt6", "c", "c", "5"]]
    assert [float(line[4]) >= 0.5 for line in written] == [True, True, False, True, False, True]


def test_running_means_by_hand() -> None:
    """From the first visit on a mean; two visits in an epoch count as their mean, and no visit leaves it as it was."""
    case = Case(gate=True, decay=0.8)
    case.pass_epoch({4: 3.0}, 1)
    case.note((4, 1.0), (4, 2.0), (5, 7.0))
    case.labels.end_epoch(2)
    case.labels.end_epoch(3)
    expected = (0.8 * 0.2 * 3.0 + 0.2 * 1.5) / (0.8 * 0.2 + 0.2)
    assert case.labels.running_means() == pytest.approx([expected, 7.0, *[np.nan] * 4], nan_ok=True)


def test_before_the_start_nothing_is_decided_and_the_means_are_kept() -> None:
    case = Case(gate=True, start_epoch=3)
    assert case.pass_epoch(LOSSES, 1) == {} == case.pass_epoch(LOSSES, 2)
    assert case.weight(6, 8) == [1, 1]
    case.pass_epoch({}, 3)
    assert case.weight(6, 8) == [0, 0]


def test_losses_without_two_modes_are_all_trusted(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(gate=True)
    with caplog.at_level("INFO"):
        figures = case.pass_epoch(dict.fromkeys(LOSSES, 2.0))
    assert figures["pseudo_trusted"] == 1 and figures["pseudo_separation"] == 0
    assert "of 6 pseudo labels 100.0 % trusted, modes of the loss 2 and 2, 0.00 deviations apart" in caplog.text
    assert "not two clear modes, so all are trusted" in caplog.text


def test_a_low_mode_of_a_minority_opens_no_gate() -> None:
    """Early in training a few easy utterances have low losses; the others are not wrong for that."""
    case = Case(gate=True)
    figures = case.pass_epoch({**LOSSES, 5: 5.5, 7: 6.5})
    assert figures["pseudo_separation"] > 10 and figures["pseudo_trusted"] == 1


def test_a_loss_of_zero_has_a_logarithm() -> None:
    figures = Case(gate=True).pass_epoch({**LOSSES, 4: 0.0})
    assert all(math.isfinite(value) for value in figures.values())


def test_an_utterance_that_was_never_seen_is_trusted(tmp_path: Path) -> None:
    case = Case(gate=True)
    case.pass_epoch({row: loss for row, loss in LOSSES.items() if row != 8})
    assert case.weight(6, 8) == [0, 1]
    assert case.lines(tmp_path)[4] == ["utt8", "d", "d", "nan", "1"]


@pytest.mark.parametrize("negatives", ["labelled", "all"])
def test_an_utterance_without_confidence_keeps_the_pairs_that_it_is_told_to(negatives: str) -> None:
    unlabelled = Case(gate=True, negatives=negatives).labels.relabel(batch_of(4))[1].unlabelled
    assert (unlabelled is None) == (negatives == "all")
    assert unlabelled is None or unlabelled.tolist() == [False, False, True, True]


def test_speed_copies_are_labelled_like_their_originals() -> None:
    utts = Case().labels.utts
    names = [*NAMES, "sp0.9-a", "sp0.9-b", "sp0.9-c", "sp0.9-d"]  # made in training, without utterances in the index
    copied = replace(utts, index=replace(utts.index, speakers=names))
    assert copied.unlabelled().tolist() == [False, False, True, True] * 2


def test_masked_classes_are_those_of_the_label_in_training() -> None:
    case = Case(rivals=np.array([[-1, -1], [3, -1], [-1, -1], [1, -1]]), mask=True, correct_above=0.9)
    assert case.labels.relabel(batch_of(0, 2, 4, 7))[1].ignored.tolist() == [[-1, -1], [3, -1], [-1, -1], [1, -1]]
    case.features[4] = [0, 0, 0, 1.0]
    case.pass_epoch({4: 1.0})
    batch, confidence = case.labels.relabel(batch_of(4))
    assert batch.speaker.tolist() == [3] and confidence.ignored.tolist() == [[1, -1]]


@pytest.mark.parametrize("loss", ["sphereface2", "aam"])
def test_a_sure_network_corrects_pseudo_labels_and_no_others(
    loss: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(loss, gate=True, correct_above=0.9)
    case.features |= {row: [0, 0, 0, 2.0] for row in range(9)}  # all look like class d
    case.features |= {5: [0, 0, 1.0, 1.0], 6: [0, -1.0, 0, 0]}  # two classes alike; none
    figures = case.pass_epoch(LOSSES)
    assert case.speaker(*range(10)) == [0, 0, 1, 1, 3, 2, 2, 3, 3, 3]
    assert case.weight(*range(10)) == [1, 1, 1, 1, 1, 1, 0, 1, 0, 1]
    assert figures["pseudo_corrected"] == 1
    assert "utterance to correct left out: utt9 cannot be read" in caplog.text
    assert [line[1:3] for line in case.lines(tmp_path)[:2]] == [["c", "d"], ["c", "c"]]


def test_a_corrected_label_is_trusted_its_mean_stands_still_and_it_may_be_withdrawn() -> None:
    case = Case(gate=True, correct_above=0.9)
    case.features |= {row: [0, 0, 1.0, 0] for row in (4, 5)} | {row: [0, 0, 0, 1.0] for row in (6, 7, 8, 9)}
    case.pass_epoch(LOSSES, 1)
    assert (case.speaker(6), case.weight(6)) == ([3], [1])
    case.pass_epoch({**LOSSES, 6: 0.001}, 2)  # of the corrected label
    assert case.labels.running_means()[2] == pytest.approx(5.0)
    case.features[6] = [0, -1.0, 0, 0]
    case.pass_epoch(LOSSES, 3)
    assert (case.speaker(6), case.weight(6)) == ([2], [0])


def test_the_lead_keeps_labels() -> None:
    for lead, speaker in ((0.0, 3), (0.99, 2)):
        case = Case("softmax", correct_above=0.2, correct_lead=lead)
        case.features[4] = [0, 0, 0.5, 0.9]
        case.pass_epoch({4: 1.0})
        assert case.speaker(4) == [speaker]


def read(folder: Path, utt2spk: dict[str, str]) -> UttIndex:
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt in sorted(utt2spk):
            writer.write(utt, np.zeros((6, 4)))
    write_table(folder / "utt2num_frames", dict.fromkeys(utt2spk, 6))
    write_table(folder / "utt2spk", utt2spk)
    return read_index(folder)


def test_lists_are_read(tmp_path: Path) -> None:
    index = read(tmp_path, {"u1": "a", "u2": "b", "u3": "c", "u4": "sp0.9-a", "u5": "sp0.9-b", "u6": "h"})
    assert read_pseudo_utts(index) is None
    (tmp_path / "pseudo_utts").write_text("u3\nu2\n")
    found = read_pseudo_utts(index)
    assert found is not None and found.tolist() == [False, True, True, False, False, False]
    (tmp_path / "maybe_same_spk").write_text("a b\nc a\nh a\nb a\n")
    classes = index.with_speakers(["a", "b", "c", "sp0.9-a", "sp0.9-b"])
    assert read_rivals(classes, {"h"}).tolist() == [[1, 2], [0, -1], [0, -1], [4, -1], [3, -1]]
    (tmp_path / "maybe_same_spk").write_text("")
    assert read_rivals(classes, {"h"}).shape == (5, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u1\nu9\n", "pseudo_utts:2: 'u9' is not an utterance of .*; list only its own, one a line"),
        ("u1 a\n", "pseudo_utts:1: 'u1 a' is not an utterance"),
    ],
)
def test_a_bad_list_of_utterances_gets_one_line(text: str, message: str, tmp_path: Path) -> None:
    index = read(tmp_path, {"u1": "a", "u2": "b"})
    (tmp_path / "pseudo_utts").write_text(text)
    with pytest.raises(UserError, match=message):
        read_pseudo_utts(index)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "maybe_same_spk does not exist, and pseudo_args.mask needs it: two speakers a line that may be one"),
        ("a b\na x\n", "maybe_same_spk:2: 'x' is not a speaker of .*; each line takes two different speakers"),
        ("a a\n", "maybe_same_spk:1: 'a' comes twice; each line takes two different speakers"),
        ("a\n", "maybe_same_spk:1"),
    ],
)
def test_a_bad_list_of_rivals_gets_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    index = read(tmp_path, {"u1": "a", "u2": "b"})
    if text is not None:
        (tmp_path / "maybe_same_spk").write_text(text)
    with pytest.raises(UserError, match=message):
        read_rivals(index, set())


def test_a_blank_line_is_no_error(tmp_path: Path) -> None:
    index = read(tmp_path, {"u1": "a", "u2": "b"})
    (tmp_path / "pseudo_utts").write_text("\nu1\n\n")
    found = read_pseudo_utts(index)
    assert found is not None and found.tolist() == [True, False]
