"""steps/cluster.py: pseudo speakers, their report, and one line for what cannot be clustered."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter, read_table, write_table

Run = Callable[..., subprocess.CompletedProcess[str]]


def write_set(folder: Path, names: str, seed: int, each: int = 6) -> None:
    """Embeddings and utt2spk of speakers of one letter, and of one speaker "z" with two utterances."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    utt2spk = {f"{name}{n}": name for name in names for n in range(each)} | {"z0": "z", "z1": "z"}
    center = {name: rng.normal(size=16) for name in [*names, "z"]}
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for utt, spk in utt2spk.items():
            writer.write(utt, (center[spk] + 0.3 * rng.normal(size=16)).astype(np.float32))
    write_table(folder / "utt2spk", utt2spk)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    write_set(tmp_path / "labelled", "abcdef", 0)
    write_set(tmp_path / "new", "ghijklmn", 1)
    return tmp_path


def test_clusters_become_speakers(step: Run, sets: Path) -> None:
    (sets / "list").write_text("a\nb\nc\nd\n")
    labelled = ["--labelled", sets / "labelled" / "xvector.scp", "--utt2spk", sets / "labelled" / "utt2spk"]
    options = [*labelled, "--spk-list", sets / "list", "--truth", sets / "new" / "utt2spk"]
    result = step("steps/cluster.py", *options, sets / "new" / "xvector.scp", sets / "out")
    assert result.returncode == 0, result.stderr
    found, truth = read_table(sets / "out" / "utt2spk"), read_table(sets / "new" / "utt2spk")
    assert found.keys() == truth.keys() - {"z0", "z1"}
    assert len({(found[utt], truth[utt]) for utt in found}) == len(set(found.values())) == 8
    report = json.loads((sets / "out" / "clusters.json").read_text())
    assert (report["clusters"], report["true_speakers"]) == (8, 9) and report["sizes"] == [6] * 5
    assert report["left_out"] == {"clusters": 1, "utterances": 2}
    assert report["shrinkage"] == 1  # few speakers, whom plain cosines tell apart
    assert [report[name] for name in ("nmi", "ari", "b_cubed_precision", "b_cubed_recall", "purity")] == [1] * 5
    assert "48 of 50 utterances in 8 clusters" in result.stderr


@pytest.mark.slow
def test_clusters_of_labelled_speakers_get_their_names(step: Run, sets: Path) -> None:
    """Speakers a to f are labelled, e and f held out; of the recordings, b's are clusters of b, g is split in two."""
    rng = np.random.default_rng(2)
    center = {name: rng.normal(size=16) for name in "abcdefgh"}
    for name, speakers, each in (("labelled", "abcdef", 12), ("new", "bgh", 6)):
        rows = {f"{name[0]}-{spk}{n:02}": center[spk] for spk in speakers for n in range(each)}
        if name == "new":
            rows |= {f"n-g{n:02}": center["g"] + 0.7 * center["a"] for n in range(3)}
        with ArkWriter(sets / name / "xvector.ark", sets / name / "xvector.scp") as writer:
            for utt, mean in rows.items():
                writer.write(utt, (mean + 0.2 * rng.normal(size=16)).astype(np.float32))
        write_table(sets / name / "utt2spk", {utt: utt[2] for utt in rows})
    (sets / "list").write_text("e\nf\n")
    labelled = ["--labelled", sets / "labelled" / "xvector.scp", "--utt2spk", sets / "labelled" / "utt2spk"]
    options = [*labelled, "--spk-list", sets / "list", "--false-links", 0.01, "--truth", sets / "new" / "utt2spk"]
    words = ["--min-utts", 2, sets / "new" / "xvector.scp", sets / "out"]
    result = step("steps/cluster.py", *options, *words)
    assert result.returncode == 0, result.stderr
    found, report = read_table(sets / "out" / "utt2spk"), json.loads((sets / "out" / "clusters.json").read_text())
    assert [found[f"n-b{n:02}"] for n in range(6)] == ["b"] * 6
    assert {spk for utt, spk in found.items() if utt[2] != "b"} <= {"cluster000001", "cluster000002", "cluster000003"}
    assert report["linked"] == {"clusters": 1, "utterances": 6} and report["true_links"] == 1
    assert report["thresholds"]["false_links"] <= 0.01 and report["thresholds"]["found_links"] == 1
    pairs = [line.split() for line in (sets / "out" / "maybe_same_spk").read_text().splitlines()]
    assert len(pairs) == report["maybe_same"]
    again = step("steps/cluster.py", *options, "--before", sets / "out" / "utt2spk", *words)
    assert again.returncode == 0
    assert json.loads((sets / "out" / "clusters.json").read_text())["nmi_with_before"] == pytest.approx(1)
    (sets / "list").write_text("a\nb\nc\nd\ne\nf\n")
    refused = step("steps/cluster.py", *options, *words)
    assert refused.returncode == 1 and "nobody can be linked to" in refused.stderr
    (sets / "list").write_text("")
    refused = step("steps/cluster.py", *options, *words)
    assert refused.returncode == 1 and "list lists no speaker of" in refused.stderr
    assert step("steps/cluster.py", "--threshold", 0.5, *words).returncode == 0
    assert not (sets / "out" / "maybe_same_spk").exists()  # those pairs were of other clusters


@pytest.mark.parametrize(
    ("status", "options", "told"),
    [
        (1, ["--threshold", "-1"], "one cluster of all utterances at threshold -1.000; give another --threshold"),
        (1, ["--threshold", "1"], "0 of 50 clusters have 4 utterances or more, and two must, at threshold 1.000; give"),
        (1, ["--threshold", "0.5", "--truth", "short"], "short lacks 49 utterances, first"),
        (2, [], "give either --threshold, or --labelled and --utt2spk"),
        (2, ["--threshold", "0.5", "--labelled", "x", "--utt2spk", "y"], "give either --threshold, or"),
        (
            2,
            ["--threshold", "0.5", "--false-links", "0.1"],
            "--false-links must be at least 0 and below 1, and needs --labelled",
        ),
        (2, ["--threshold", "0.5", "--spk-list", "short"], "--spk-list needs --labelled and --utt2spk, in place of"),
        (2, ["--threshold", "0.5", "--min-utts", "0"], "--min-utts 0: expected a whole number of at least 1"),
    ],
)
def test_what_cannot_be_clustered_is_told_and_nothing_written(
    step: Run, sets: Path, status: int, options: list[str], told: str
) -> None:
    (sets / "short").write_text("g0 g\n")
    options = [str(sets / word) if word == "short" else word for word in options]
    result = step(
        "steps/cluster.py",
        "--min-utts",
        "2" if "short" in told else "4",
        *options,
        sets / "new" / "xvector.scp",
        sets / "out",
    )
    assert result.returncode == status and told in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (sets / "out").exists()


def test_one_embedding_and_equal_embeddings(step: Run, tmp_path: Path) -> None:
    for count, told in ((1, "x.scp has 1 embedding; at least two"), (3, "x.scp: all 3 embeddings are equal")):
        with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
            for number in range(count):
                writer.write(f"u{number}", np.ones(4, np.float32))
        result = step("steps/cluster.py", "--threshold", "0.5", tmp_path / "x.scp", tmp_path / "out")
        assert result.returncode == 1 and told in result.stderr


def test_embeddings_of_two_models(step: Run, sets: Path) -> None:
    with ArkWriter(sets / "x.ark", sets / "x.scp") as writer:
        for number in range(8):
            writer.write(f"u{number}", np.arange(number, number + 4, dtype=np.float32) ** 2)
    labelled = ["--labelled", sets / "labelled" / "xvector.scp", "--utt2spk", sets / "labelled" / "utt2spk"]
    result = step("steps/cluster.py", *labelled, sets / "x.scp", sets / "out")
    told = "labelled/xvector.scp has embeddings of 16 dimensions, the recordings of 4; extract both with one model"
    assert result.returncode == 1 and told in result.stderr and len(result.stderr.splitlines()) == 1
