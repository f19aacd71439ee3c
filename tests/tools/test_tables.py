"""tools/{utt2spk_to_spk2utt,spk2utt_to_utt2spk,filter_scp}.pl."""

import random
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def run(name: str, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOLS / name, *map(str, words)], input=stdin, capture_output=True, text=True)


def test_spk2utt_and_back(tmp_path: Path) -> None:
    utt2spk = "a-1 a\na-2 a\nb-1 b\na-3 a\n"
    (tmp_path / "utt2spk").write_text(utt2spk)
    for done in (run("utt2spk_to_spk2utt.pl", tmp_path / "utt2spk"), run("utt2spk_to_spk2utt.pl", stdin=utt2spk)):
        assert (done.returncode, done.stdout) == (0, "a a-1 a-2 a-3\nb b-1\n")
    back = run("spk2utt_to_utt2spk.pl", stdin=done.stdout)
    assert (back.returncode, back.stdout) == (0, "a-1 a\na-2 a\na-3 a\nb-1 b\n")


@pytest.mark.parametrize(
    ("name", "stdin", "message"),
    [
        ("utt2spk_to_spk2utt.pl", "a-1 a\na-2\n", "stdin:2: expected 2 columns, utt and spk, found 1"),
        ("utt2spk_to_spk2utt.pl", "a-1 a b\n", "stdin:1: expected 2 columns, utt and spk, found 3"),
        ("spk2utt_to_utt2spk.pl", "a a-1\nb\n", "stdin:2: expected 'spk utt1 utt2 ...', found no utterance"),
        ("spk2utt_to_utt2spk.pl", "\n", "stdin:1: expected 'spk utt1 utt2 ...', found nothing"),
    ],
)
def test_bad_lines(name: str, stdin: str, message: str) -> None:
    done = run(name, stdin=stdin)
    assert (done.returncode, done.stderr) == (1, f"{name}: error: {message}\n")


@pytest.mark.parametrize("name", ["utt2spk_to_spk2utt.pl", "spk2utt_to_utt2spk.pl", "filter_scp.pl"])
def test_wrong_calls_show_usage(name: str) -> None:
    for words in (["a", "b", "c"], ["--unknown", "a"]):
        done = run(name, *words)
        assert done.returncode == 2
        assert f"Usage: {name}" in done.stderr and "e.g.: " in done.stderr
    done = run(name, "/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: error: /nowhere: cannot be read")
    assert done.stderr.count("\n") == 1
    for words in (["/"], [__file__, "/"] if name == "filter_scp.pl" else ["/"]):
        done = run(name, *words)
        assert done.returncode == 1 and done.stderr.startswith(f"{name}: error: /: cannot be read")


SCP = "a 1 x\nb 2 y\nc 3 x\n"


@pytest.mark.parametrize(
    ("words", "ids", "kept"),
    [
        ([], "b\n", "b 2 y\n"),
        ([], "a first\nc third\n", "a 1 x\nc 3 x\n"),
        ([], "c\na\n", "a 1 x\nc 3 x\n"),  # not sorted: held in memory
        ([], "", ""),
        ([], "zzz\n", ""),
        ([], "a", "a 1 x\n"),
        (["--exclude"], "b\n", "a 1 x\nc 3 x\n"),
        (["--exclude"], "c\nb\n", "a 1 x\n"),
        (["--exclude"], "", SCP),
        (["-f", "3"], "x\n", "a 1 x\nc 3 x\n"),
        (["-f", "2", "--exclude"], "2\n", "a 1 x\nc 3 x\n"),
    ],
)
def test_filter(tmp_path: Path, words: list[str], ids: str, kept: str) -> None:
    (tmp_path / "ids").write_text(ids)
    (tmp_path / "scp").write_text(SCP)
    from_file = run("filter_scp.pl", *words, tmp_path / "ids", tmp_path / "scp")
    from_stdin = run("filter_scp.pl", *words, tmp_path / "ids", stdin=SCP)
    assert (from_file.returncode, from_file.stdout) == (0, kept)
    assert (from_stdin.returncode, from_stdin.stdout) == (0, kept)


def test_filter_merges_and_looks_up_alike(tmp_path: Path) -> None:
    rng = random.Random(1)
    keys = sorted({f"{rng.choice('ab-/.0')}{rng.choice('ab-/.0')}{rng.randrange(50)}" for _ in range(500)})
    ids = sorted(rng.sample(keys, 200) + ["ab", "zz"])
    (tmp_path / "ids").write_text("".join(f"{name} x\n" for name in ids))
    (tmp_path / "scp").write_text("".join(f"{key} value {key}\n" for key in keys))
    expected = "".join(f"{key} value {key}\n" for key in keys if key in set(ids))
    assert run("filter_scp.pl", tmp_path / "ids", tmp_path / "scp").stdout == expected
    rng.shuffle(ids)
    (tmp_path / "ids").write_text("".join(f"{name} x\n" for name in ids))
    assert run("filter_scp.pl", tmp_path / "ids", tmp_path / "scp").stdout == expected


def test_filter_names_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("x\n")
    done = run("filter_scp.pl", "-f", "3", tmp_path / "ids", stdin="a 1 x\nb 2\n")
    assert (done.returncode, done.stderr) == (1, "filter_scp.pl: error: stdin:2: has no column 3\n")


def test_full_disk(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("".join(f"{i:05d}\n" for i in range(20000)))
    with open("/dev/full", "w") as full:
        done = subprocess.run([TOOLS / "filter_scp.pl", tmp_path / "ids", tmp_path / "ids"], stdout=full)
    assert done.returncode == 1
