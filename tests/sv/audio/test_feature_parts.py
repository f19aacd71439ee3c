"""Arrays of a data dir in parts: tables, what is removed and what is kept, damage, and bad utterances."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sv.audio.feature_parts import FeatureParts
from sv.errors import UserError
from sv.io import read_scp, read_table, read_vector, sha256_of, write_table
from sv.jobs.parts import Outputs

UTTS = [f"a-{number}" for number in range(8)]


@dataclass(frozen=True, kw_only=True)
class Lengths(FeatureParts):
    """The length of each wav.scp value, as a vector and as a table."""

    scale: float = 1.0
    name: ClassVar[str] = "length"
    scp: ClassVar[str] = "length.scp"

    @property
    def tables(self) -> tuple[str, ...]:
        return ("utt2length",)

    @property
    def settings(self) -> dict[str, Any]:
        return {"scale": self.scale}

    def make(self, part: int) -> Outputs:
        data = self.data(part)

        def compute(utt: str) -> tuple[np.ndarray, tuple[object, ...]]:
            if "bad" in data.wav_scp[utt]:
                raise UserError(f"{utt}: {data.wav_scp[utt]} is bad")
            length = self.scale * len(data.wav_scp[utt])
            return np.full(2, length, np.float32), (length,)

        return self.write(part, compute)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_table(folder / "wav.scp", {utt: "x" * number + ".wav" for number, utt in enumerate(UTTS)})
    return folder


def work_of(data: Path, num_jobs: int = 2, **options: Any) -> Lengths:
    return Lengths(data_dir=data, ark_dir=data / "arks", num_jobs=num_jobs, **options)


def make(data: Path, num_jobs: int = 2, **options: Any) -> None:
    """Do what a step does."""
    work = work_of(data, num_jobs, **options)
    for job in range(1, work.begin() + 1):
        work.run(job)
    work.finish()


def test_tables_are_in_the_order_of_the_data_dir_for_any_number_of_jobs(data: Path) -> None:
    for num_jobs in (1, 3, 20):
        make(data, num_jobs, scale=num_jobs)
        assert read_table(data / "utt2length") == {utt: str(num_jobs * (4 + n)) for n, utt in enumerate(UTTS)}
        found = {utt: read_vector(location)[1] for utt, location in read_scp(data / "length.scp").items()}
        assert found == {utt: num_jobs * (4 + n) for n, utt in enumerate(UTTS)}
        assert len(list((data / "arks").glob("length.*.ark"))) == min(num_jobs, 8)
        assert not work_of(data, 5, scale=num_jobs).stale()


def test_foreign_tables_are_kept_aside(data: Path) -> None:
    (data / "length.scp").write_text("a-0 elsewhere.ark:5\n")
    make(data)
    assert (data / ".backup" / "length.scp").read_text() == "a-0 elsewhere.ark:5\n"
    assert len(read_table(data / "length.scp")) == 8


def test_old_parts_and_what_a_killed_job_left_are_removed(data: Path) -> None:
    make(data, 5)
    (data / "arks" / ".length.1.ark.12345.tmp").write_bytes(b"half")
    (data / "arks" / "notes.txt").write_text("mine")
    (data / "length.scp").unlink()
    make(data, 2)
    names = {path.name for path in (data / "arks").iterdir()}
    parts = {f"length.{part}.{kind}" for part in (1, 2) for kind in ("ark", "scp", "utt2length")}
    assert names == parts | {".done.length.1", ".done.length.2", ".owner.length", "notes.txt"}


def test_killed_between_the_tables_and_the_mark_it_is_joined_again(data: Path) -> None:
    make(data)
    before = sha256_of(data / "length.scp")
    (data / ".done.length").unlink()
    make(data)
    assert sha256_of(data / "length.scp") == before and not (data / ".backup").exists()


@pytest.mark.parametrize("spoil", ["missing", "other utterances"])
def test_join_refuses_a_part_that_is_not_whole(data: Path, spoil: str) -> None:
    work = work_of(data)
    work.begin()
    work.run(1)
    work.run(2)
    table = data / "arks" / "length.2.utt2length"
    message = r"part 2 of 2 .*length\.2\.utt2length is missing; run the same command again"
    if spoil == "missing":
        table.unlink()
    else:
        table.write_text(table.read_text().replace("a-4", "b-4"))
        message = r"length\.2\.utt2length: 4 lines are not those of the 4 utterances of part 2 of 2; remove it"
    with pytest.raises(UserError, match=message):
        work.finish()
    assert not (data / "length.scp").exists()


def test_an_ark_folder_serves_one_data_dir(data: Path, tmp_path: Path) -> None:
    make(data)
    other = tmp_path / "other"
    other.mkdir()
    write_table(other / "wav.scp", {"b": "b.wav"})
    with pytest.raises(UserError, match=rf"arks holds the length archives of {data}; give {other} a folder of its own"):
        Lengths(data_dir=other, ark_dir=data / "arks").begin()
    assert not work_of(data).stale(verify=True)


def test_several_bad_utterances_are_all_named(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_table(data / "wav.scp", {**read_table(data / "wav.scp"), "a-2": "bad2", "a-4": "bad4"})
    with pytest.raises(UserError, match=r"2 of 8 utterances failed, .*the first: a-2: bad2 is bad"):
        make(data, 1)
    assert "a-4: bad4 is bad" in caplog.text and not list((data / "arks").glob("length.*"))


def test_an_empty_data_dir_is_refused(data: Path) -> None:
    (data / "wav.scp").write_text("")
    with pytest.raises(UserError, match=r"wav\.scp is empty"):
        work_of(data).begin()
