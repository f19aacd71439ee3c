import numpy as np
import pytest
import soundfile


def write_set(folder, utts):
    """A data dir; `utts` is utterance -> (speaker, waveform, rate)."""
    folder.mkdir()
    for utt, (_, waveform, rate) in utts.items():
        soundfile.write(folder / f"{utt}.wav", waveform, rate, subtype="PCM_16")
    (folder / "wav.scp").write_text("".join(f"{utt} {folder}/{utt}.wav\n" for utt in utts))
    (folder / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, (spk, *_) in utts.items()))
    return folder


def noise(seconds, seed, rate=16000):
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))


@pytest.fixture
def train(tmp_path):
    utts = {f"a-{n}": ("a", noise(n, n), 16000) for n in (1, 2)}
    return write_set(tmp_path / "train", {**utts, "b-1": ("b", noise(3, 3), 16000)})


@pytest.fixture
def test_set(tmp_path):
    return write_set(tmp_path / "test", {"c-1": ("c", noise(2, 4), 16000)})


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
        return run("steps/check_data.sh", "--once", "true", train, test_set)

    first, second = check(), check()
    assert second.returncode == 0 and second.stdout == first.stdout and first.stdout.count("\n") == 4
    assert "have been checked already" in second.stderr and "checked already" not in first.stderr
    (train / "a-1.wav").unlink()
    assert run("steps/check_data.sh", train, test_set).returncode == 1  # without --once it is decoded again
    assert check().returncode == 1  # nor is a check with faults done
    (train / "wav.scp").write_text("a-2 a-2.wav\n")
    assert "have been checked already" not in check().stderr


def truncate(path):
    path.write_bytes(path.read_bytes()[:9000])


FAULTS = {  # utterance: (how it comes, what is said)
    "x-1": (lambda path: path.unlink(), "x-1.wav does not exist"),
    "x-2": (lambda path: path.write_text("not audio at all"), "x-2.wav: can not be read as audio"),
    "x-3": (lambda path: path.write_bytes(b""), "x-3.wav: empty file"),
    "x-4": (truncate, "x-4.wav: truncated"),
    "x-5": (lambda path: soundfile.write(path, noise(1, 1), 8000), "x-5.wav: 8000 Hz, 16000 Hz expected"),
    "x-6": (lambda path: soundfile.write(path, noise(1, 1).reshape(-1, 2), 16000), "x-6.wav: 2 channels, 1 expected"),
    "x-7": (lambda path: soundfile.write(path, noise(0.02, 1), 16000), "x-7: 0.020 s, shorter than 0.025 s"),
    "x-8": (lambda path: soundfile.write(path, np.zeros(16000), 16000), "x-8: digital silence"),
}


@pytest.mark.slow
def test_each_fault_is_named_and_the_rest_is_checked(tmp_path, test_set, run):
    train = write_set(tmp_path / "train", {utt: ("x", noise(1, n), 16000) for n, utt in enumerate(FAULTS)})
    for utt, (break_it, _) in FAULTS.items():
        break_it(train / f"{utt}.wav")
    result = run("steps/check_data.sh", "--nj", 2, train, test_set)
    assert result.returncode == 1
    faults = (train / "check_data" / "faults").read_text().splitlines()
    for fault, (_, message) in zip(faults, FAULTS.values(), strict=True):
        assert fault.startswith(f"{train}: ") and message in fault and fault in result.stderr
    assert result.stderr.splitlines()[-1].startswith(
        f"check_data.py: error: 8 faults in the data, all of them in {train}"
    )
    assert "| test | 1 | 1 |" in result.stdout


@pytest.mark.slow
def test_an_utterance_without_a_speaker(train, run):
    (train / "utt2spk").write_text("a-1 a\nb-1 b\n")
    result = run("steps/check_data.sh", train)
    assert result.returncode == 1 and "utt2spk: a-2 is missing; run tools/fix_data_dir.sh" in result.stderr


@pytest.mark.slow
def test_speakers_on_both_sides(train, tmp_path, run):
    other = write_set(tmp_path / "test", {"b-9": ("b", noise(1, 9), 16000)})
    result = run("steps/check_data.sh", train, other)
    assert result.returncode == 1
    assert f"{other}: speaker b is in {train}, too; take it out of one of them" in result.stderr


def test_an_id_that_comes_twice(train, run):
    with open(train / "wav.scp", "a") as f:
        f.write(f"a-1 {train}/a-1.wav\n")
    result = run("steps/check_data.sh", train)
    assert result.returncode == 1 and "wav.scp:4: a-1 comes twice" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_same_samples_twice(train, tmp_path, run):
    other = write_set(tmp_path / "test", {"c-1": ("c", noise(1, 1), 16000)})  # as a-1
    assert run("steps/check_data.sh", train, other).returncode == 0
    result = run("steps/check_data.sh", "--find-duplicates", "true", train, other)
    assert result.returncode == 1 and f"c-1 has the same samples as a-1 of {train}" in result.stderr


def test_usage(run, tmp_path):
    assert run("steps/check_data.sh").returncode == 2
    result = run("steps/check_data.sh", tmp_path / "nowhere")
    assert result.returncode == 1 and "nowhere is not a data directory" in result.stderr
