"""Rounds in the report: read from their folders, drawn on two maps, told in words."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.errors import UserError
from sv.io import ArkWriter, DataDir, write_table
from sv.metrics.comparison import ScoredSystem
from sv.report import write_report
from sv.report.rounds import Round, choose_utterances, in_cluster, losses_caption, read_maps, read_round

UTTS = [f"u{number:02}" for number in range(48)]
SPEAKER = np.repeat(np.arange(4), 12)
TRUTH = {utt: f"s{number}" for utt, number in zip(UTTS, SPEAKER, strict=True)}


def embeddings(spread: float, seed: int = 1) -> NDArray[np.float32]:
    """48 embeddings of 4 speakers."""
    centers = np.random.default_rng(0).normal(size=(4, 16))
    rows = centers[SPEAKER] + spread * np.random.default_rng(seed).normal(size=(48, 16))
    return rows.astype(np.float32)


def write_rounds(folder: Path, truth: bool = True, decisions: bool = True) -> Path:
    """Two rounds: the clusters are the speakers, but two utterances are in none; write the second one's folder."""
    write_table(folder / "truth", TRUTH)
    found: dict[str, object] = {"clusters": 4, "utterances": 48, "labelled": 46}
    if truth:
        found |= {"truth": str(folder / "truth"), "nmi": 0.5, "b_cubed_precision": 0.75, "b_cubed_recall": 0.25}
    labels = {utt: f"c{spk}" for utt, spk in list(TRUTH.items())[2:]}
    rounds = []
    for number in range(2):
        base = folder / "exp" / f"round{number}"
        scp = base / "embeddings/calls/xvector.scp"
        scp.parent.mkdir(parents=True)
        with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
            for utt, row in zip(UTTS, embeddings(0.5 - 0.2 * number, seed=number), strict=True):
                writer.write(utt, row)
        (base / "clusters").mkdir()
        write_table(base / "clusters/utt2spk", labels)
        clusters = {**found, "embeddings": str(scp), "shrinkage": 1.0 if number else 0.3}
        (base / "clusters/clusters.json").write_text(json.dumps(clusters))
        rounds.append({"number": number, "heldout_eer": 5.0 - number, "clusters": found, "decisions": {}})
    DataDir.write(folder / "exp/round1/data/pseudo", {"utt2spk": labels})
    DataDir.write(folder / "exp/round1/data/all", {"utt2spk": {**labels, "v0": "ann"}})
    (folder / "exp/rounds.json").write_text(json.dumps({"best": 1, "why": "1 round done", "rounds": rounds}))
    if decisions:  # two modes: 36 losses about 0.01, ten about 1
        lines = [
            f"{utt} {label} {label} {(0.01 if row < 36 else 1) * (1 + row % 5 / 10)} {int(row < 36)}\n"
            for row, (utt, label) in enumerate(labels.items())
        ]
        (folder / "exp/round1/pseudo_labels").write_text("".join(lines))
    return folder / "exp/round1"


def read(folder: Path) -> Round:
    found = read_round(folder)
    assert found is not None
    return found


def test_a_round_is_read_from_its_folder(tmp_path: Path) -> None:
    one = read(write_rounds(tmp_path))
    assert (one.number, one.before, one.truth, one.labelled) == (1, tmp_path / "exp/round0", TRUTH, {"ann"})
    head = ["round", "held-out EER (%)", "clusters", "utterances in clusters", "NMI", "B-cubed precision", "recall"]
    rows = [[str(n), f"{5 - n}.00", "4", "46 of 48", "0.500", "0.750", "0.250"] for n in range(2)]
    assert one.rows() == (head, rows)


def test_without_the_truth_the_table_has_no_agreement(tmp_path: Path) -> None:
    one = read(write_rounds(tmp_path, truth=False))
    assert one.truth == {} and one.rows()[1] == [[str(n), f"{5 - n}.00", "4", "46 of 48"] for n in range(2)]


def test_a_truth_that_lacks_labelled_utterances_by_now_is_passed_over(tmp_path: Path) -> None:
    folder = write_rounds(tmp_path)
    write_table(tmp_path / "truth", dict(list(TRUTH.items())[:30]))
    assert read(folder).truth == {}


@pytest.mark.parametrize("gone", ["round0/embeddings/calls/xvector.scp", "rounds.json", "round1/data/pseudo/utt2spk"])
def test_what_a_folder_lacks_is_left_out(tmp_path: Path, gone: str) -> None:
    folder = write_rounds(tmp_path)
    (tmp_path / "exp" / gone).unlink()
    assert read_round(folder) is None


@pytest.mark.parametrize("text", ["{", "[1]", "7", '{"best": 1}'])
@pytest.mark.parametrize("name", ["rounds.json", "round0/clusters/clusters.json", "round1/clusters/clusters.json"])
def test_a_damaged_file_is_told(tmp_path: Path, name: str, text: str) -> None:
    folder = write_rounds(tmp_path)
    (tmp_path / "exp" / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name} is damaged; remove it and run stage 3 again"):
        read_round(folder)


def test_round_0_and_other_folders_are_no_rounds(tmp_path: Path) -> None:
    folder = write_rounds(tmp_path)
    assert read_round(folder.with_name("round0")) is None
    assert read_round(folder.rename(folder.with_name("round1-LM"))) is None


@pytest.mark.parametrize("truth", [False, True])
def test_maps_keep_speakers_together_and_in_their_places(tmp_path: Path, truth: bool) -> None:
    before, after = read_maps(read(write_rounds(tmp_path, truth=truth)))
    agreed = ", NMI with the truth 0.50" if truth else ""
    assert (before.title, after.title) == (f"round 0: 4 clusters{agreed}", f"round 1: 4 clusters{agreed}")
    means = []
    for found in (before, after):
        assert found.color[2:].tolist() == SPEAKER[2:].tolist()
        assert found.color[:2].tolist() == ([0, 0] if truth else [-1, -1])  # without a cluster
        assert found.right.tolist() == [False] * 2 + [True] * 46
        means.append(np.stack([found.place[number == SPEAKER].mean(axis=0) for number in range(4)]))
        distances = np.linalg.norm(found.place[:, None] - means[-1], axis=2)
        assert (distances.argmin(axis=1) == SPEAKER).all()
    moved = np.linalg.norm(means[0][:, None] - means[1], axis=2)
    assert (moved.argmin(axis=1) == np.arange(4)).all()


def test_of_many_utterances_some_are_shown() -> None:
    speakers = {f"u{number:04}": f"s{number % 20:02}" if number < 2000 else "" for number in range(3000)}
    shown, color = choose_utterances(speakers)
    assert shown == sorted(shown) and np.bincount(color + 1).tolist() == [300, *[40] * 8]
    named = {speakers[utt] for utt, row in zip(shown, color, strict=True) if row >= 0}
    assert named == {f"s{number:02}" for number in range(0, 16, 2)}


def test_an_utterance_is_right_in_a_cluster_that_is_mostly_its_speakers() -> None:
    clusters, truth = {"a": "c1", "b": "c1", "c": "c1"}, {"a": "s1", "b": "s1", "c": "s2", "d": "s2"}
    assert in_cluster(clusters, truth, {"ann"}, ["a", "b", "c", "d"]).tolist() == [True, True, False, False]
    assert in_cluster(clusters, truth, {"c1"}, ["a", "b", "c", "d"]).tolist() == [False] * 4  # linked to another one
    assert in_cluster(clusters, {}, {"ann"}, ["a", "b", "c", "d"]).tolist() == [True, True, True, False]


def test_the_caption_says_whether_there_is_a_gate(tmp_path: Path) -> None:
    decisions = read(write_rounds(tmp_path)).decisions()
    told = losses_caption(decisions)
    assert told.endswith("; the gate trusts the labels to its left. Trusted: 36 of 46 labels")
    one_mode = {
        utt: one._replace(mean=10 ** (row / 40), posterior=1) for row, (utt, one) in enumerate(decisions.items())
    }
    told = losses_caption(one_mode)
    assert "; no gate, since the low mode holds " in told and told.endswith(". Trusted: 46 of 46 labels")


@pytest.mark.parametrize("decisions", [False, True])
def test_the_page_shows_the_round(tmp_path: Path, decisions: bool) -> None:
    folder = write_rounds(tmp_path, decisions=decisions)
    write_report([ScoredSystem("x", folder, {}, [])], folder / "report.html")
    page = (folder / "report.html").read_text()
    assert '<a href="#rounds">Recordings without labels</a>' in page
    assert "Round 1 is the best. The rounds ended: 1 round done." in page
    assert page.count("Colours: some true speakers; crosses: utterances not in a cluster of their speaker") == 4
    plots = sorted(path.name for path in (folder / "report_plots").iterdir())
    losses = ["round_losses_x.png"] if decisions else []
    assert plots == ["round_after_x.png", "round_before_x.png", *losses]
