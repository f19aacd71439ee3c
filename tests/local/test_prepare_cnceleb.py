"""local/prepare_cnceleb.py on a small tree of the corpus's layout."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.prepare_cnceleb import group_short
from sv.io import read_enroll_map, read_table
from tests.local.cnceleb_tree import make_tree, write_sound

Run = Callable[..., subprocess.CompletedProcess[str]]

TRAIN = {
    "CN-Celeb_flac/data/id00000": {"drama-01-001": 2, "drama-01-002": 2, "drama-02-001": 3, "drama-02-002": 1},
    "CN-Celeb_flac/data/id00001": {"singing-01-001": 6, "singing-01-002": 4, "vlog-01-001": 1},
    "CN-Celeb2_flac/data/id10000": {"live_broadcast-01-001": 7},
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Utterances of some seconds, and two speakers to test on."""
    files = {f"{folder}/{name}.flac": seconds for folder, names in TRAIN.items() for name, seconds in names.items()}
    for spk, genre in (("id00800", "drama"), ("id00801", "vlog")):
        for number in (1, 2):
            files[f"CN-Celeb_flac/data/{spk}/{genre}-01-00{number}.flac"] = 1
        files[f"CN-Celeb_flac/eval/enroll/{spk}-enroll.flac"] = 2
        files[f"CN-Celeb_flac/eval/test/{spk}-drama-02-001.flac"] = 1
    for value, (file, seconds) in enumerate(files.items(), start=1):
        write_sound(tmp_path / file, np.full(seconds * 1000, value))
    make_tree(tmp_path / "CN-Celeb_flac", ["id00000", "id00001"])
    for hidden in ("CN-Celeb2_flac/data/.x", "CN-Celeb_flac/data/id00000", "CN-Celeb_flac/eval/test"):
        (tmp_path / hidden).mkdir(exist_ok=True)
        (tmp_path / hidden / "._drama-01-001.flac").write_text("what macOS leaves")
    return tmp_path


def prepare(step: Run, corpus: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["--cnceleb1", corpus / "CN-Celeb_flac", "--cnceleb2", corpus / "CN-Celeb2_flac", *more]
    return step("local/prepare_cnceleb.py", *words, corpus / "data")


def test_short_utterances_are_joined_within_speaker_and_genre(step: Run, corpus: Path) -> None:
    done = prepare(step, corpus)
    assert done.returncode == 0, done.stderr
    train = read_table(corpus / "data" / "train" / "wav.scp")
    assert list(train) == [
        "id00000-drama-01-001-comb4",  # 2 + 2 + 3 s, and what is left
        "id00001-singing-01-001-comb2",  # 6 s, and 4 s that are left
        "id00001-vlog-01-001",  # 1 s, alone in its genre
        "id10000-live_broadcast-01-001",
    ]
    assert train["id10000-live_broadcast-01-001"] == str(
        corpus / "CN-Celeb2_flac/data/id10000/live_broadcast-01-001.flac"
    )
    assert Path(train["id00000-drama-01-001-comb4"]) == corpus / "data/joined/id00000/id00000-drama-01-001-comb4.flac"
    sound, rate = soundfile.read(train["id00000-drama-01-001-comb4"], dtype="int16")
    assert rate == 1000 and sound.tolist() == [1] * 2000 + [2] * 2000 + [3] * 3000 + [4] * 1000
    assert read_table(corpus / "data" / "train" / "utt2spk")["id00001-singing-01-001-comb2"] == "id00001"


def test_groups_by_hand() -> None:
    utts = [f"a-x-{number}" for number in "12345"] + ["a-y-1", "b-y-1", "b-y-2"]
    seconds = dict(zip(utts, (1, 3, 2, 6, 4.9, 1, 5, 1), strict=True))
    groups = [[utt[-1] for utt in group] for group in group_short(utts, seconds, 5)]
    assert groups == [["1", "2", "3"], ["4", "5"], ["1"], ["1", "2"]]
    assert group_short(utts, seconds, 0) == [[utt] for utt in utts]


def test_test_set_has_models_of_several_utterances_and_genres(step: Run, run: Run, corpus: Path) -> None:
    assert prepare(step, corpus).returncode == 0
    test = corpus / "data" / "test"
    assert read_enroll_map(test / "enroll.map") == {
        "id00800": ["id00800-drama-01-001", "id00800-drama-01-002"],
        "id00800-enroll": ["id00800-enroll"],
        "id00801": ["id00801-vlog-01-001", "id00801-vlog-01-002"],
        "id00801-enroll": ["id00801-enroll"],
    }
    genres = read_table(test / "utt2genre")
    assert (genres["id00801-enroll"], genres["id00801-drama-02-001"]) == ("vlog", "drama")
    assert read_table(test / "wav.scp").keys() == genres.keys() and len(genres) == 8
    lists = {path.name: path.read_text().splitlines() for path in (test / "trials").iterdir()}
    assert lists["CNC-Eval-Avg.kaldi"][:2] == [
        "id00800 id00800-drama-02-001 target", "id00800 id00801-drama-02-001 nontarget"
    ]  # fmt: skip
    assert lists["CNC-Eval-Concat.kaldi"][3] == "id00801-enroll id00801-drama-02-001 target"
    for name in ("train", "test"):
        assert run("tools/validate_data_dir.sh", "--no-feats", corpus / "data" / name).returncode == 0


def test_second_run_makes_only_changed_files_again_and_one_corpus_will_do(step: Run, corpus: Path) -> None:
    assert prepare(step, corpus).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (corpus / "data").rglob("*") if path.is_file()}
    assert prepare(step, corpus).returncode == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if before[path] != after[path] and path.name != ".lock"} == set()
    write_sound(corpus / "CN-Celeb_flac/data/id00000/drama-01-002.flac", np.full(3000, 9))
    assert prepare(step, corpus).returncode == 0  # joins it again
    sound, _ = soundfile.read(corpus / "data/joined/id00000/id00000-drama-01-001-comb4.flac", dtype="int16")
    assert sound.tolist() == [1] * 2000 + [9] * 3000 + [3] * 3000 + [4] * 1000
    words = ["--cnceleb1", corpus / "CN-Celeb_flac", "--min-duration", 0]
    assert step("local/prepare_cnceleb.py", *words, corpus / "one").returncode == 0
    assert len(read_table(corpus / "one" / "train" / "wav.scp")) == 7 and not (corpus / "one" / "joined").exists()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("CN-Celeb_flac/dev/dev.lst", None, "dev.lst does not exist; give the folder CN-Celeb_flac as it is unpacked"),
        ("CN-Celeb_flac/dev/dev.lst", "", "dev.lst is empty; unpack the corpus again"),
        ("CN-Celeb_flac/dev/dev.lst", "id00007\n", "data/id00007 does not exist; unpack the corpus again"),
        ("CN-Celeb_flac/dev/dev.lst", "id00800\n", "1 speakers are in training and test, the first id00800"),
        ("CN-Celeb_flac/data/id00000/x.wav", "", "x.wav: the name is not GENRE-SESSION-NUMBER"),
        ("CN-Celeb_flac/data/id00000/drama-01-001.flac", "", "drama-01-001.flac"),
        ("CN-Celeb_flac/eval/test/x.wav", "", "eval/test/x.wav: the name is not SPEAKER-GENRE-SESSION-NUMBER"),
        (
            "CN-Celeb_flac/eval/lists/enroll.map",
            "id00800-enroll id00800/drama-01-001.wav\n",
            "enroll.map has no line for id00801-enroll, which is in eval/enroll; unpack the corpus again",
        ),
        ("CN-Celeb_flac/eval/lists/enroll.map", "id00800-enroll\n", "enroll.map:1: 1 words where at least 2"),
        (
            "CN-Celeb_flac/eval/lists/enroll.map",
            "id00800-enroll id00800/a-1-1.wav\n",
            "map:1: id00800/a-1-1.wav is not",
        ),
        (
            "CN-Celeb_flac/eval/lists/trials.lst",
            "id00900-enroll test/id00800-drama-02-001.wav 0\n",
            "id00900-enroll is",
        ),
        ("CN-Celeb_flac/eval/lists/trials.lst", "id00800-enroll test/x.wav 0\n", "trials.lst:1: test/x.wav is not in"),
        (
            "CN-Celeb_flac/eval/lists/trials.lst",
            "id00800-enroll test/id00800-drama-02-001.wav 0\n",
            "trials.lst:1: label 0 for id00800-enroll and test/id00800-drama-02-001.wav; get the list again",
        ),
    ],
)
def test_what_is_missing_or_contradicts_is_one_line(
    step: Run, corpus: Path, path: str, content: str | None, message: str
) -> None:
    (corpus / path).unlink(missing_ok=True)
    if content is not None:
        (corpus / path).write_text(content)
    done = prepare(step, corpus)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.count("\n") == 1 and not (corpus / "data" / "train").exists()


def test_folder_without_speakers_is_one_line(step: Run, corpus: Path) -> None:
    done = prepare(step, corpus, "--cnceleb2", str(corpus / "CN-Celeb2"))
    assert done.returncode == 1
    assert "CN-Celeb2/data does not exist; give the folder CN-Celeb2_flac (--cnceleb2)" in done.stderr
