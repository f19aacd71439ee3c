"""Pseudo speakers of embeddings: the whitening and threshold that labelled speakers choose."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sv.clustering.pseudo_labels import Labelled, find_pseudo_labels, write_pseudo_labels
from sv.io import ArkWriter, write_table
from sv.scoring.cosine import read_embeddings

DIM, EACH = 24, 8


def write_embeddings(folder: Path, speakers: int, wide: float, seed: int) -> dict[str, str]:
    """Write embeddings whose first two directions are wider than the others; return their speakers."""
    rng = np.random.default_rng(seed)
    utt2spk = {f"{seed}-{spk:02}-{n}": f"{seed}-{spk:02}" for spk in range(speakers) for n in range(EACH)}
    centers = np.repeat(rng.normal(size=(speakers, DIM)), EACH, axis=0)
    rows = np.array([wide, wide, *[1.0] * (DIM - 2)]) * (centers + 0.5 * rng.normal(size=centers.shape))
    folder.mkdir()
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for utt, row in zip(utt2spk, rows, strict=True):
            writer.write(utt, row.astype(np.float32))
    write_table(folder / "utt2spk", utt2spk)
    return utt2spk


@pytest.mark.parametrize(("wide", "whitened"), [(3.0, True), (1.0, False)])
def test_labelled_speakers_choose_the_space(tmp_path: Path, wide: float, whitened: bool) -> None:
    write_embeddings(tmp_path / "labelled", 20, wide, 0)
    truth = write_embeddings(tmp_path / "calls", 50, wide, 1)
    source = Labelled(tmp_path / "labelled" / "xvector.scp", tmp_path / "labelled" / "utt2spk")
    found = find_pseudo_labels(tmp_path / "calls" / "xvector.scp", source)
    shrinkage = found.report["shrinkage"]
    assert isinstance(shrinkage, float) and (shrinkage < 1) == whitened
    pairs = {(found.utt2spk[utt], truth[utt]) for utt in found.utt2spk}
    assert len(pairs) == found.report["clusters"] == 50


def test_as_many_utterances_a_speaker_are_expected_as_the_labelled_ones_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_embeddings(tmp_path / "labelled", 10, 1.0, 0)
    write_embeddings(tmp_path / "calls", 50, 1.0, 1)
    (tmp_path / "list").write_text("0-00\n0-01\n0-02\n")
    asked = []

    def best_threshold(embeddings: object, speaker: NDArray[np.int64], num_speakers: float) -> tuple[float, float]:
        asked.append((len(set(speaker)), num_speakers))
        return 0.5, 0.9

    monkeypatch.setattr("sv.clustering.pseudo_labels.best_threshold", best_threshold)
    source = Labelled(tmp_path / "labelled" / "xvector.scp", tmp_path / "labelled" / "utt2spk", tmp_path / "list")
    assert source.best_whitening(read_embeddings(tmp_path / "calls" / "xvector.scp").matrix)[0].shrinkage == 1
    assert asked == [(3, 50)] * 3


def test_utterances_that_were_left_out_before_are_a_change(tmp_path: Path) -> None:
    """80 of 160 utterances were in 10 clusters; now all are in 20. The entropies are by hand."""
    truth = write_embeddings(tmp_path / "calls", 20, 1.0, 0)
    before = {utt: f"old{spk}" for utt, spk in truth.items() if spk < "0-10"}
    write_table(tmp_path / "before", before)
    report = write_pseudo_labels(tmp_path / "calls/xvector.scp", tmp_path / "out", 0.5, before=tmp_path / "before")
    assert (report["labelled"], report["clusters"]) == (160, 20)
    shared, entropy = np.log(20), (np.log(20) + np.log(160)) / 2
    assert report["nmi_with_before"] == pytest.approx(2 * shared / (shared + entropy))
    write_table(tmp_path / "before", {utt: f"old{spk}" for utt, spk in truth.items()})
    report = write_pseudo_labels(tmp_path / "calls/xvector.scp", tmp_path / "out", 0.5, before=tmp_path / "before")
    assert report["nmi_with_before"] == pytest.approx(1)
