"""Precision and recall of gate and correction, on labels few enough to count."""

from pathlib import Path

import pytest

from sv.clustering.label_decisions import Decision, class_speakers, measure_decisions, read_decisions
from sv.errors import UserError


def test_gate_and_correction_are_counted_against_the_truth(tmp_path: Path) -> None:
    lines = [  # cluster 1 is ann, cluster 2 is bob
        "a1 cluster1 cluster1 0.1 0.9",
        "a2 cluster1 cluster1 0.1 0.2",  # right, rejected
        "a3 cluster1 cluster2 0.9 0.1",  # right, made wrong
        "a4 cluster2 cluster1 0.9 0.1",  # wrong, mended
        "b1 cluster2 cluster2 nan 1",
        "b2 cluster2 cluster2 0.2 0.7",
        "b3 cluster1 cluster1 0.2 0.8",  # wrong, trusted
        "c1 cluster1 bob 0.3 0.9",  # wrong, and its speaker has no class
    ]
    (tmp_path / "pseudo_labels").write_text("".join(f"{line}\n" for line in lines))
    decisions = read_decisions(tmp_path / "pseudo_labels")
    truth = {utt: {"a": "ann", "b": "bob", "c": "cid"}[utt[0]] for utt in decisions}
    assert measure_decisions(decisions, truth, []) == pytest.approx(
        {
            "wrong": 3 / 8,
            "gate_precision": 1 / 3,
            "gate_recall": 1 / 3,
            "corrected": 3,
            "correction_precision": 1 / 3,
            "correction_recall": 1 / 2,
        }
    )
    kept = {utt: Decision(one.label, one.label, 0.1, 1.0) for utt, one in decisions.items()}
    found = measure_decisions(kept, truth, [])
    assert found["gate_precision"] is None and found["gate_recall"] == 0


def test_labels_of_a_wrongly_linked_cluster_are_wrong() -> None:
    truth = {f"x{number}": "xia" for number in range(4)} | {f"y{number}": "yul" for number in range(4)}
    decisions = {utt: Decision("ann", "ann", 0.1, 1.0) for utt in truth if utt < "y"}  # ann is labelled
    decisions |= {utt: Decision("cluster1", "cluster1", 0.1, 1.0) for utt in truth if utt > "y"}
    decisions["y0"] = Decision("cluster1", "ann", 0.1, 1.0)
    found = measure_decisions(decisions, truth, ["ann"])
    assert (found["wrong"], found["corrected"], found["correction_precision"]) == (0.5, 1, 0.0)
    assert class_speakers({"y0": "cluster1"}, truth, ["ann"]) == {"cluster1": "yul", "ann": "ann"}


def test_a_line_of_another_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pseudo_labels does not exist; train on pseudo labels with"):
        read_decisions(tmp_path / "pseudo_labels")
    (tmp_path / "pseudo_labels").write_text("a c c 0.1 0.2\nb c c x 0.2\n")
    with pytest.raises(UserError, match="pseudo_labels:2: expected 'utt label label mean posterior'; train again"):
        read_decisions(tmp_path / "pseudo_labels")
