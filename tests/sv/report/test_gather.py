"""Contents of a report: hardest errors, training records, and statistics of a data dir."""

from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import DataDir, iter_scored_trials, write_table
from sv.metrics.comparison import ScoredSystem, ScoreSet
from sv.report.gather import corpus_facts, read_facts, read_system, speakers_of

SCORES = np.random.default_rng(0).permutation(40) / 8


def test_facts_of_a_score_file(tmp_path: Path) -> None:
    trials = [
        (f"e{n}", f"t{n}", score, "target" if n % 4 == 0 else "nontarget") for n, score in enumerate(SCORES.tolist())
    ]
    path = tmp_path / "O.score"
    path.write_text("".join(f"{enroll} {test} {score} {label}\n" for enroll, test, score, label in trials))
    facts = read_facts(ScoreSet("x", "O", "cos", path, {}))
    targets = sorted((t for t in trials if t[3] == "target"), key=lambda trial: trial[2])
    nontargets = sorted((t for t in trials if t[3] == "nontarget"), key=lambda trial: -trial[2])
    hardest = [(label, enroll, test, score) for enroll, test, score, label in targets[:5] + nontargets[:5]]
    assert facts.hardest == hardest
    assert facts.scores.target.values.tolist() == [trial[2] for trial in targets]
    assert (facts.scores.target.total, facts.scores.nontarget.total) == (10, 30)


def test_speakers_of_enroll_models_follow_from_their_utterances(tmp_path: Path) -> None:
    write_table(tmp_path / "utt2spk", {"a-1": "a", "b-1": "b"})
    (tmp_path / "map").write_text("m a-1\n")
    scores = ScoreSet("x", "O", "cos", tmp_path / "O.score", {"enroll_map": str(tmp_path / "map")})
    scores.path.write_text("m a-1 0.5 target\nm b-1 0.1 nontarget\n")
    (block,) = iter_scored_trials(scores.path)
    speakers = speakers_of(scores, DataDir(tmp_path))
    assert speakers is not None and speakers.names == ["a", "b"]
    assert dict(zip(block.ids, speakers.rows(block).tolist(), strict=True)) == {"m": 0, "a-1": 0, "b-1": 1}
    (tmp_path / "map").write_text("m c-1\n")  # of another test set
    assert speakers_of(scores, DataDir(tmp_path)) is None


def test_a_folder_without_training_has_no_records_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    scored = ScoredSystem("x", tmp_path, {}, [])
    empty = read_system(scored, "test")
    assert (empty.records, empty.config, empty.embeddings) == ({}, "", None)
    (tmp_path / "metrics.jsonl").write_text('{"kind": "epoch", "epoch": 1}\n{"kind": "step"}\n{"kind": "epoch"}\n')
    assert read_system(scored).records == {
        "epoch": [{"kind": "epoch", "epoch": 1}, {"kind": "epoch"}],
        "step": [{"kind": "step"}],
    }
    (tmp_path / "metrics.jsonl").write_text('{"kind": "epoch"}\nhalf a li')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not a training record; train again, or remove the line"):
        read_system(scored)


def test_statistics_of_a_data_dir(tmp_path: Path) -> None:
    utts = {"a-1": "a", "a-2": "a", "b-1": "b"}
    write_table(tmp_path / "wav.scp", {utt: f"{utt}.wav" for utt in utts})
    write_table(tmp_path / "utt2spk", utts)
    write_table(tmp_path / "spk2utt", {"a": "a-1 a-2", "b": "b-1"})
    assert corpus_facts(DataDir(tmp_path)) == [("speakers", "2"), ("utterances", "3")]
    write_table(tmp_path / "utt2dur", {"a-1": "1.5", "a-2": "2", "b-1": "3600.5"})
    write_table(tmp_path / "spk2gender", {"a": "f", "b": "m"})
    assert corpus_facts(DataDir(tmp_path))[2:] == [
        ("hours", "1.00"),
        ("seconds an utterance", "1.5 to 3600.5, median 2.0"),
        ("speakers by sex", "1 f, 1 m"),
    ]
