"""tools/subset_data_dir.sh: which utterances each option takes, and what comes with them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

MakeDataDir = Callable[..., Path]
Read = Callable[[Path], dict[str, str]]
Snapshot = Callable[[Path], dict[str, bytes]]
Say = Callable[..., str]
Check = Callable[..., None]
Add = Callable[[Path], None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "utts"),
    [
        (["data", "3"], "s1-u2 s2-u2 s3-u2"),
        (["data", "1"], "s2-u2"),
        (["data", "9"], "s1-u1 s1-u2 s1-u3 s2-u1 s2-u2 s2-u3 s3-u1 s3-u2 s3-u3"),
        (["--first", "data", "4"], "s1-u1 s1-u2 s1-u3 s2-u1"),
        (["--last", "data", "2"], "s3-u2 s3-u3"),
        (["--shortest", "data", "2"], "s1-u1 s1-u2"),
        (["--per-spk", "data", "1"], "s1-u2 s2-u2 s3-u2"),
        (["--per-spk", "data", "5"], "s1-u1 s1-u2 s1-u3 s2-u1 s2-u2 s2-u3 s3-u1 s3-u2 s3-u3"),
        (["--per-spk", "true", "data", "1"], "s1-u2 s2-u2 s3-u2"),
        (["--spk-list", "list", "data"], "s2-u1 s2-u2 s2-u3"),
        (["--utt-list=list", "data"], "s1-u3 s2-u1"),
    ],
)
def test_subset(
    data_dir: Path, words: list[str], utts: str, ok: Say, valid: Check, read: Read, snapshot: Snapshot
) -> None:
    (data_dir.parent / "list").write_text("s2-u1 x\ns1-u3\ns2\nunknown\n")
    message = ok("subset_data_dir.sh", *words, "new")
    new = data_dir.parent / "new"
    valid(new)
    assert list(read(new / "utt2spk")) == utts.split()
    assert message.endswith(f"subset_data_dir.sh: new has {len(utts.split())} of the 9 utterances of data\n")
    assert sorted(snapshot(new)) == sorted(snapshot(data_dir))
    for name in ("wav.scp", "feats.scp", "utt2num_frames", "utt2dur"):
        source = read(data_dir / name)
        assert read(new / name) == {utt: source[utt] for utt in utts.split()}
    assert (new / "fbank.yaml").read_bytes() == (data_dir / "fbank.yaml").read_bytes()


@pytest.mark.slow
def test_subset_of_whole_speakers(data_dir: Path, ok: Say, error: Say, read: Read, snapshot: Snapshot) -> None:
    ok("subset_data_dir.sh", "--speakers", "data", 4, "new")
    assert len(read(data_dir.parent / "new/spk2utt")) == 2
    assert len(read(data_dir.parent / "new/utt2spk")) == 6
    ok("subset_data_dir.sh", "--speakers", "data", 4, "again")
    assert snapshot(data_dir.parent / "again") == snapshot(data_dir.parent / "new")
    chosen = set()
    for seed in range(4):
        ok("subset_data_dir.sh", "--speakers", "--seed", seed, "data", 1, "other")
        chosen |= set(read(data_dir.parent / "other/spk2utt"))
    assert len(chosen) > 1
    message = error("subset_data_dir.sh", "--speakers", "--seed", "-1", "data", 4, "bad", status=2)
    assert message == "subset_data_dir.sh: error: --seed is at least 0, not -1 (--help lists the options)"


@pytest.mark.parametrize("option", ["--utt-list", "--spk-list"])
def test_subset_by_a_list_from_a_pipe(data_dir: Path, option: str, read: Read) -> None:
    command = f"{TOOLS}/subset_data_dir.sh {option} <(printf '%s\\n' s1-u1 s1-u2 s1-u3 s1) data new"
    done = subprocess.run(["bash", "-c", command], cwd=data_dir.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(read(data_dir.parent / "new/utt2spk")) == ["s1-u1", "s1-u2", "s1-u3"]


def test_subset_by_duration(make_data_dir: MakeDataDir, ok: Say, error: Say, read: Read) -> None:
    data = make_data_dir(utt2num_frames=None)
    ok("subset_data_dir.sh", "--shortest", "data", 2, "new")
    assert list(read(data.parent / "new/utt2spk")) == ["s3-u2", "s3-u3"]
    (data / "utt2dur").unlink()
    message = error("subset_data_dir.sh", "--shortest", "data", 2, "other")
    assert message == (
        "subset_data_dir.sh: error: data has neither utt2num_frames nor utt2dur; run tools/get_utt2dur.sh data\n"
    )
    assert not (data.parent / "other").exists()


@pytest.mark.slow
def test_subset_with_segments_and_trials(
    data_dir: Path, ok: Say, valid: Check, add_segments: Add, add_trials: Add
) -> None:
    add_segments(data_dir)
    add_trials(data_dir)
    new = data_dir.parent / "new"
    (new / "trials").mkdir(parents=True)
    (new / "trials/far.kaldi").write_text("s1-u1 s3-u3 nontarget\n")  # of an earlier run
    message = ok("subset_data_dir.sh", "--first", "data", 4, "new")
    valid(new)
    assert (new / "wav.scp").read_text() == "r1 /audio/r1.wav\n"
    assert (new / "reco2dur").read_text() == "r1 9\n"
    assert [path.name for path in (new / "trials").iterdir()] == ["near.kaldi"]
    assert (new / "trials/near.kaldi").read_bytes() == (data_dir / "trials/near.kaldi").read_bytes()
    assert "data/trials/far.kaldi left out: it has utterances that are not in new\n" in message


@pytest.mark.slow
@pytest.mark.parametrize(("option", "known"), [("--utt-list", "s1-u1"), ("--spk-list", "s1")])
def test_subset_tells_ids_that_are_not_there(data_dir: Path, option: str, known: str, ok: Say) -> None:
    (data_dir.parent / "list").write_text(f"{known}\ns9-u1\ns8\n")
    message = ok("subset_data_dir.sh", option, "list", "data", "new")
    assert "subset_data_dir.sh: list names 2 (s9-u1 s8) that are not in data\n" in message
    (data_dir.parent / "list").write_text(f"{known}\n")
    assert "not in" not in ok("subset_data_dir.sh", option, "list", "data", "new")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["data", "10", "new"], 1, "data has 9 utterances, not 10; ask for fewer"),
        (["data", "0", "new"], 2, "<num-utt> is a whole number from 1, not '0'"),
        (["data", "two", "new"], 2, "<num-utt> is a whole number from 1, not 'two'"),
        (["--first", "--last", "data", "2", "new"], 2, "only one of --first --last at a time"),
        (["--spk-list", "list", "data", "2", "new"], 2, "with --spk-list, the arguments are <src-dir> <dest-dir>"),
        (["data", "new"], 2, "expected <src-dir> <num-utt> <dest-dir>"),
        (["--utt-list", "none", "data", "new"], 1, "none cannot be read; name a file with an id in each line"),
        (["--utt-list", "data", "data", "new"], 1, "data cannot be read; name a file with an id in each line"),
        (["--utt-list", "list", "data", "new"], 1, "data has none of the ids in list; are they from another data dir?"),
    ],
)
def test_subset_refuses(data_dir: Path, words: list[str], status: int, message: str, error: Say) -> None:
    (data_dir.parent / "list").write_text("unknown\n")
    found = error("subset_data_dir.sh", *words, status=status)
    assert found.rstrip("\n") == f"subset_data_dir.sh: error: {message}"
    assert not (data_dir.parent / "new").exists()


@pytest.mark.slow
def test_an_older_destination_keeps_nothing_that_is_no_longer_right(
    data_dir: Path, ok: Say, valid: Check, snapshot: Snapshot
) -> None:
    folder = data_dir.parent
    ok("subset_data_dir.sh", "--first", "data", 4, "new")
    (folder / "new/vad.scp").write_text("s1-u1 x.ark:3\n")
    (folder / "new/text").write_text("s1-u1 hello\n")
    (folder / "new/notes.txt").write_text("mine\n")
    (data_dir / "feats.scp").unlink()
    ok("subset_data_dir.sh", "--last", "data", 2, "new")
    names = sorted(snapshot(folder / "new"))
    assert names == sorted([*(set(snapshot(data_dir)) - {"feats.scp"}), "notes.txt"])
    valid(folder / "new", "--no-feats")
