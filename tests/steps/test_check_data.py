"""steps/check_data.sh: the table, --once, faults in one line."""

import pytest

from tests.sv.audio.check_sets import make_sets


@pytest.fixture
def train(tmp_path):
    return make_sets(tmp_path)[0]


@pytest.fixture
def test_set(train):
    return train.parent / "test"


@pytest.mark.slow
def test_a_table_of_hours_speakers_and_utterances(train, test_set, run):
    result = run("steps/check_data.sh", "--nj", 2, train, test_set)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()]
    assert rows[0] == ["set", "speakers", "utterances", "hours", "shortest (s)", "longest (s)"]
    assert rows[2:] == [["train", "2", "3", "0.00", "1.00", "3.00"], ["test", "1", "1", "0.00", "2.00", "2.00"]]


@pytest.mark.slow
def test_once_checks_again_only_what_has_changed(train, test_set, run):
    def check():
        return run("steps/check_data.sh", "--nj", 1, "--once", "true", train, test_set)

    first, second = check(), check()
    assert second.returncode == 0 and second.stdout == first.stdout and first.stdout.count("\n") == 4
    assert "table is there already" in second.stderr and "there already" not in first.stderr
    (train / "a-1.wav").unlink()
    again = run("steps/check_data.sh", "--nj", 1, train, test_set)  # without --once it is decoded again
    assert again.returncode == 1 and "| train | 2 | 3 |" in again.stdout
    assert "a-1.wav does not exist" in again.stderr and "check_data.py: error: 1 faults in the data" in again.stderr
    assert check().returncode == 1  # nor is a check with faults done
    (train / "wav.scp").write_text("a-2 a-2.wav\n")
    assert "there already" not in check().stderr


@pytest.mark.slow
def test_an_id_that_comes_twice(train, run):
    with open(train / "wav.scp", "a") as f:
        f.write(f"a-1 {train}/a-1.wav\n")
    result = run("steps/check_data.sh", train)
    assert result.returncode == 1 and "wav.scp:4: a-1 comes twice" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_usage(run, tmp_path):
    assert run("steps/check_data.sh").returncode == 2
    result = run("steps/check_data.sh", tmp_path / "nowhere")
    assert result.returncode == 1 and "nowhere is not a data directory" in result.stderr
