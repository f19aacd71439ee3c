import json
import multiprocessing
import os
import subprocess
import sys
import wave
from collections import Counter

import pytest

from tests.waiting import wait_until

SMALL = ["--num-train", 2, "--num-test", 4]


@pytest.fixture(scope="module")
def corpus(step, tmp_path_factory):
    root = tmp_path_factory.mktemp("mini") / "corpus"
    result = step("local/make_mini_corpus.py", *SMALL, "--nj", 1, root)
    assert result.returncode == 0, result.stderr
    return root


def content(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_layout_is_voxceleb_s(corpus):
    train = sorted((corpus / "voxceleb2" / "dev" / "wav").glob("id0*/*/*.wav"))
    test = sorted((corpus / "voxceleb1" / "wav").glob("id1*/*/*.wav"))
    assert (len(train), len(test)) == (2 * 12, 4 * 12)
    for path in train + test:
        with wave.open(str(path)) as f:
            assert (f.getframerate(), f.getnchannels(), f.getsampwidth()) == (16000, 1, 2)
            assert 2 <= f.getnframes() / 16000 <= 6


@pytest.mark.slow
def test_target_trials_join_sessions_and_hard_ones_keep_the_sex(corpus):
    female = {f"id{10000 + n}": (2 + n) % 2 == 0 for n in range(1, 5)}
    for name in ("veri_test2.txt", "list_test_all2.txt", "list_test_hard2.txt"):
        trials = [line.split() for line in (corpus / "voxceleb1" / name).read_text().splitlines()]
        assert Counter(label for label, *_ in trials)["1"] == 4 * 48
        assert len({(a, b) for _, a, b in trials}) == len(trials)
        for label, *pair in trials:
            (spk_a, session_a, _), (spk_b, session_b, _) = (utt.split("/") for utt in pair)
            assert (label == "1") == (spk_a == spk_b)
            assert session_a != session_b
            assert all((corpus / "voxceleb1" / "wav" / utt).is_file() for utt in pair)
            if "hard" in name:
                assert female[spk_a] == female[spk_b]


@pytest.mark.slow
def test_any_nj_gives_the_same_bytes(corpus, tmp_path, step):
    assert step("local/make_mini_corpus.py", *SMALL, "--nj", 3, tmp_path / "corpus").returncode == 0
    assert content(tmp_path / "corpus") == content(corpus)


@pytest.mark.slow
def test_it_chooses_how_processes_start(corpus, tmp_path, step):
    """The default of Python 3.14 would end them at once: their parent would be a server."""
    multiprocessing.set_start_method("forkserver", force=True)
    try:
        result = step("local/make_mini_corpus.py", *SMALL, "--nj", 1, tmp_path / "corpus")
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "corpus") == content(corpus)


@pytest.mark.slow
def test_a_second_run_writes_nothing_and_a_damaged_file_is_made_again(corpus, step):
    before = content(corpus)
    times = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert "is there already" in step("local/make_mini_corpus.py", *SMALL, corpus).stderr
    assert times == {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    damaged = next((corpus / "voxceleb1" / "wav").glob("id10002/*/00003.wav"))
    os.truncate(damaged, 5000)
    assert step("local/make_mini_corpus.py", *SMALL, corpus).returncode == 0
    assert content(corpus) == before


@pytest.mark.slow
def test_verified_it_is_mended(corpus, step):
    before = content(corpus)
    damaged = next((corpus / "voxceleb1" / "wav").glob("id10002/*/00003.wav"))
    damaged.write_bytes(before[str(damaged.relative_to(corpus))][:-1] + b"!")
    assert "is there already" in step("local/make_mini_corpus.py", *SMALL, corpus).stderr
    result = step("local/make_mini_corpus.py", *SMALL, "--verify", "true", corpus)
    assert result.returncode == 0 and f"{damaged} is damaged" in result.stderr
    assert content(corpus) == before


@pytest.mark.slow
def test_killed_and_started_again_it_ends_alike(corpus, tmp_path, root):
    """The process that was started alone: the others end with it."""
    command = ["local/make_mini_corpus.py", *map(str, SMALL), "--nj", "1", str(tmp_path / "corpus")]
    process = subprocess.Popen([sys.executable, *command], cwd=root, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_until(lambda: list((tmp_path / "corpus").glob("*/**/id*")), process)
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        wait_until(lambda: os.killpg(process.pid, 0))
    assert not (tmp_path / "corpus" / ".done").exists()
    subprocess.run([sys.executable, *command], cwd=root, check=True, capture_output=True)
    assert content(tmp_path / "corpus") == content(corpus)


@pytest.mark.slow
def test_another_seed_makes_it_again(tmp_path, step):
    tiny = ["--num-train", 1, "--num-test", 3]
    for seed in (1, 2):
        assert step("local/make_mini_corpus.py", *tiny, "--seed", seed, tmp_path / "c").returncode == 0
        assert json.loads((tmp_path / "c" / ".done").read_text())["options"]["seed"] == seed
    fresh = step("local/make_mini_corpus.py", *tiny, "--seed", 2, tmp_path / "d")
    assert fresh.returncode == 0 and content(tmp_path / "c") == content(tmp_path / "d")


@pytest.mark.slow
def test_a_disk_that_takes_no_more(tmp_path, run):
    command = 'ulimit -f 100; exec local/make_mini_corpus.py --nj 1 --num-train 1 --num-test 3 "$0"'  # 100 KiB a file
    result = run("bash", "-c", command, tmp_path / "c")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("make_mini_corpus.py: error: ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".making"]


def test_a_corpus_of_someone_else_is_left_alone(tmp_path, step):
    (tmp_path / "voxceleb1" / "wav").mkdir(parents=True)
    result = step("local/make_mini_corpus.py", tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].endswith("that this script did not make; give another folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "voxceleb1"]
