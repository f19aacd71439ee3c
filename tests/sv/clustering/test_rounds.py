"""When rounds end, and the EER on held-out speakers that decides it."""

import json
from pathlib import Path

import numpy as np
import pytest

from sv.clustering.rounds import Round, heldout_eer, judge, judge_rounds, read_rounds
from sv.errors import UserError
from sv.io import ArkWriter, write_table


def rounds(*eers: float, nmi: float = 0.9) -> list[Round]:
    return [Round(number, eer, {"nmi_with_before": nmi if number else 0.0}, {}) for number, eer in enumerate(eers)]


@pytest.mark.parametrize(
    ("found", "best", "why"),
    [
        (rounds(5.0), 0, ""),
        (rounds(5.0, 4.0), 1, ""),
        (rounds(5.0, 4.0, 4.0), 1, "the EER on held-out speakers has stopped falling"),
        (rounds(5.0, 4.0, 3.0, 2.0), 3, "3 rounds done"),
        (rounds(5.0, 4.0, nmi=0.99), 1, "the clusters stay the same (NMI above 0.98)"),
        (rounds(5.0, 6.0), 1, "the EER on held-out speakers has stopped falling"),  # the best that saw all data
        (rounds(5.0, 4.5, 4.8), 1, "the EER on held-out speakers has stopped falling"),
    ],
)
def test_rounds_end_by_heldout_speakers_or_equal_clusters(found: list[Round], best: int, why: str) -> None:
    assert judge(found, 3) == (best, why)


def test_no_round_after_the_labelled_speakers_alone() -> None:
    assert judge(rounds(5.0), 0) == (0, "0 rounds done")


def write_labelled(folder: Path) -> None:
    rng = np.random.default_rng(0)
    utt2spk = {f"{spk}{n}": spk for spk in "abcd" for n in range(5)}
    center = {spk: rng.normal(size=8) for spk in "abcd"}
    (folder / "labelled").mkdir(parents=True)
    with ArkWriter(folder / "labelled" / "xvector.ark", folder / "labelled" / "xvector.scp") as writer:
        for utt, spk in utt2spk.items():
            writer.write(utt, (center[spk] + rng.normal(size=8)).astype(np.float32))
    write_table(folder / "labelled" / "utt2spk", utt2spk)
    (folder / "heldout_spk").write_text("a\nb\nc\n")


def test_heldout_eer_is_that_of_all_pairs_of_these_speakers(tmp_path: Path) -> None:
    write_labelled(tmp_path)
    where = tmp_path / "labelled" / "xvector.scp", tmp_path / "labelled" / "utt2spk"
    found = heldout_eer(*where, tmp_path / "heldout_spk")
    from sv.io import read_vectors
    from sv.metrics.error_rates import eer, sort_scores

    vectors = read_vectors(where[0])
    utts = [utt for utt in vectors.ids if utt[0] in "abc"]
    rows = np.array([vectors.matrix[vectors.index[utt]] for utt in utts], dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    cosine = {
        (i, j): rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
        for i in range(len(rows))
        for j in range(i)
    }
    same, different = (
        [c for (i, j), c in cosine.items() if (utts[i][0] == utts[j][0]) == kind] for kind in (True, False)
    )
    assert found == pytest.approx(eer(sort_scores(same, different)), abs=1e-4) and 0 < found < 50
    (tmp_path / "heldout_spk").write_text("a\n")
    with pytest.raises(UserError, match=r"heldout_spk has 1 speakers of .*; set heldout_speakers to 2 or more"):
        heldout_eer(*where, tmp_path / "heldout_spk")


def test_complete_rounds_of_the_same_heldout_speakers_are_judged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exp has no complete round; train first"):
        read_rounds(tmp_path / "exp", tmp_path / "labelled", last=1)
    write_labelled(tmp_path)
    for number in range(2):
        folder = tmp_path / "exp" / f"round{number}"
        (folder / "clusters").mkdir(parents=True)
        (folder / "embeddings").mkdir()
        (folder / "embeddings" / "labelled").symlink_to(tmp_path / "labelled")
        (folder / "clusters" / "clusters.json").write_text('{"clusters": 5}')
        (folder / "clusters" / ".done").touch()
        (folder / "heldout_spk").write_text("a\nb\nc\n")
    found = [read_rounds(tmp_path / "exp", tmp_path / "labelled", last=last) for last in range(3)]
    assert [[one.number for one in rounds] for rounds in found] == [[0], [0, 1], [0, 1]]
    (folder / "pseudo_labels").write_text("u0 d d 0.1 1\nu1 c1 c1 0.1 1\n")
    write_table(tmp_path / "truth", {"u0": "x", "u1": "y"})
    measured = read_rounds(tmp_path / "exp", tmp_path / "labelled", tmp_path / "truth", last=1)[1]
    assert measured.decisions["wrong"] == 0.5  # u0 was linked to the labelled speaker d
    where, verdict = (tmp_path / "exp", tmp_path / "labelled"), tmp_path / "exp" / "rounds.json"
    assert judge_rounds(*where, 3, None, last=0) == (0, "") and not verdict.exists()
    assert judge_rounds(*where, 1, None, last=1) == (1, "1 round done")
    assert judge_rounds(*where, 1, None, last=0) == (0, "")  # the same command again, which is killed here
    assert json.loads(verdict.read_text())["best"] == 1
    (folder / "heldout_spk").write_text("a\nb\nd\n")
    with pytest.raises(UserError, match=r"round1/heldout_spk and .*round0/heldout_spk differ"):
        read_rounds(tmp_path / "exp", tmp_path / "labelled", last=1)
