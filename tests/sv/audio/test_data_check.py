"""Check of audio in parts: each fault, any number of jobs, killed and continued."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sv.audio.data_check import DataCheck
from sv.errors import UserError
from tests.sv.audio.check_sets import make_sets, noise, write_set


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return make_sets(tmp_path)


def check(*data_dirs: Path, num_jobs: int = 2, **options: Any) -> str:
    """Do what the step does; return the table."""
    work = DataCheck(data_dirs=data_dirs, num_jobs=num_jobs, **options)
    for job in range(1, work.begin() + 1):
        work.run(job)
    work.finish()
    return work.result.read_text()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def write(*samples_and_rate: Any) -> Callable[[Path], None]:
    return lambda path: soundfile.write(path, *samples_and_rate)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {  # utterance: (how it comes, what is said)
    "x-1": (lambda path: path.unlink(), "x-1.wav does not exist"),
    "x-2": (lambda path: path.write_text("not audio at all"), "x-2.wav: cannot be read as audio"),
    "x-3": (lambda path: path.write_bytes(b""), "x-3.wav: empty file"),
    "x-4": (truncate, "x-4.wav: truncated"),
    "x-5": (write(noise(1, 1), 8000), "x-5.wav: 8000 Hz, 16000 Hz expected"),
    "x-6": (write(noise(1, 1).reshape(-1, 2), 16000), "x-6.wav: 2 channels, 1 expected"),
    "x-7": (write(noise(0.02, 1), 16000), "0.020 s, shorter than 0.025 s"),
    "x-8": (write(np.zeros(16000), 16000), "digital silence"),
}


def test_each_fault_is_named_and_the_rest_is_checked(
    tmp_path: Path, sets: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    train = write_set(tmp_path / "bad", {utt: ("x", noise(1, n), 16000) for n, utt in enumerate(FAULTS)})
    for utt, (break_it, _) in FAULTS.items():
        break_it(train / f"{utt}.wav")
    listed = train / "check_data" / "faults"
    with pytest.raises(UserError, match=f"^8 faults in .*: tools/fix_data_dir.sh --leave-out {listed} {train}$"):
        check(train, sets[1])
    faults = listed.read_text().splitlines()
    for line, (utt, (_, message)) in zip(faults, FAULTS.items(), strict=True):
        fault = line.removeprefix(f"{utt} ")
        assert fault != line and message in fault and f"{train}: {utt}: {fault}" in caplog.text
    assert not (sets[1] / "check_data" / "faults").exists()
    assert "| test | 1 | 1 |" in (train / "check_data" / "table").read_text()
    assert sorted(path.name for path in (train / "check_data").iterdir()) == ["faults", "table"]


def test_faults_of_the_tables_and_of_both_sides(sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, _ = sets
    other = write_set(tmp_path / "other", {"b-9": ("b", noise(1, 9), 16000)})
    with pytest.raises(
        UserError, match=rf"{other}: speaker b is in {train}, too; take it out of one of them\. Mend them$"
    ):
        check(train, other)
    (train / "utt2spk").write_text("a-1 a\nb-1 b\n")
    with pytest.raises(UserError, match=r"a-2: missing in .*utt2spk; run tools/fix_data_dir\.sh"):
        check(train)


def test_each_data_dir_has_its_own_faults(sets: tuple[Path, Path]) -> None:
    train, test = sets
    truncate(test / "c-1.wav")
    with pytest.raises(UserError, match=f"--leave-out {test}/check_data/faults {test}$"):
        check(train, test)
    assert (
        (test / "check_data" / "faults").read_text().startswith(f"c-1 {test}/c-1.wav: truncated: the header promises")
    )
    soundfile.write(test / "c-1.wav", noise(1, 7), 16000)
    check(train, test)
    assert not (test / "check_data" / "faults").exists()


def test_a_recording_of_two_speakers(sets: tuple[Path, Path]) -> None:
    train, _ = sets
    tables = {name: (train / name).read_text() for name in ("wav.scp", "utt2spk")}
    (train / "wav.scp").write_text(tables["wav.scp"] + f"b-2 {train}/a-1.wav\n")
    (train / "utt2spk").write_text(tables["utt2spk"] + "b-2 b\n")
    with pytest.raises(
        UserError, match=r"2 faults in the data, the first: .*a-1: the same audio as b-2 of b, but of a"
    ):
        check(train)
    (train / "utt2spk").write_text(tables["utt2spk"] + "b-2 a\n")
    check(train)
    (train / "segments").write_text("a-1 a-1 0 0.5\na-2 a-2 0 1\nb-1 b-1 0 0.5\nb-2 a-1 0.5 1\n")
    (train / "wav.scp").write_text(tables["wav.scp"])
    (train / "utt2spk").write_text(tables["utt2spk"] + "b-2 b\n")
    check(train)  # each has a part of it


def test_a_speaker_who_would_be_taken_for_a_speed_copy(tmp_path: Path) -> None:
    utts = {"a-1": ("a", noise(1, 1), 16000), "sp1-a-1": ("sp1-a", noise(1, 2), 16000)}
    train = write_set(tmp_path / "named", {**utts, "sp2-b-1": ("sp2-b", noise(1, 3), 16000)})
    with pytest.raises(
        UserError, match=r"1 faults in .* speaker sp1-a would be taken for a speed copy of a; rename it"
    ):
        check(train)
    (train / "utt2uniq").write_text("a-1 a-1\nsp1-a-1 a-1\nsp2-b-1 sp2-b-1\n")
    check(train)


def test_the_same_samples_twice(sets: tuple[Path, Path], tmp_path: Path) -> None:
    train, _ = sets
    other = write_set(tmp_path / "other", {"c-1": ("c", noise(1, 1), 16000)})  # as a-1
    check(train, other)
    with pytest.raises(UserError, match=f"c-1: the same samples as a-1 of {train}; leave one out"):
        check(train, other, find_duplicates=True)


@pytest.mark.parametrize("num_jobs", [1, 3, 9])
def test_any_number_of_jobs_gives_the_same_table(sets: tuple[Path, Path], num_jobs: int) -> None:
    assert check(*sets, num_jobs=num_jobs, once=True) == check(*sets)
    assert DataCheck(data_dirs=sets, num_jobs=5, once=True).begin() == 0
    assert DataCheck(data_dirs=sets, num_jobs=5, once=True, min_duration_s=0.1).begin() == 3
    assert DataCheck(data_dirs=sets, num_jobs=5).begin() == 3


def test_after_a_kill_whole_parts_are_kept(sets: tuple[Path, Path]) -> None:
    whole = check(*sets)
    work = DataCheck(data_dirs=sets, num_jobs=2)
    work.begin()
    work.run(1)
    part = work.folder / "part.1"
    before = part.stat().st_mtime_ns
    (work.folder / ".part.2.77.tmp").write_text("half")
    work.begin()
    assert part.stat().st_mtime_ns == before and not list(work.folder.glob("*.tmp"))
    assert check(*sets) == whole
