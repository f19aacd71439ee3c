"""Work in parts: who makes which, what is kept and what is made again, damage, and disk."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from sv.errors import UserError
from sv.io import atomic_write
from sv.jobs import DoneMark
from sv.jobs.parts import Outputs, Parts, act, begin_all, try_all


@dataclass(frozen=True, kw_only=True)
class Squares(Parts):
    """Squares of the numbers to `count`, each a part, and their list."""

    root: Path
    count: int = 5
    power: int = 2

    @property
    def folder(self) -> Path:
        return self.root / "parts"

    @property
    def result(self) -> Path:
        return self.root / "list"

    @property
    def file_names(self) -> str:
        return r"\.{0,2}(done\.)?\d+(\..*)?"

    @property
    def num_parts(self) -> int:
        return self.count

    def num_items(self, part: int) -> int:
        return part

    def part_mark(self, part: int) -> DoneMark:
        return DoneMark(self.folder / f".done.{part}", {"power": self.power})

    def stale(self, *, verify: bool = False) -> str:
        return DoneMark(self.root / ".done", {"power": self.power}).stale(verify=verify)

    def check(self) -> None:
        if self.power < 0:
            raise UserError("a negative power")

    def withdraw(self) -> None:
        for name in ("list", ".done"):
            (self.root / name).unlink(missing_ok=True)

    def total_bytes(self) -> float:
        return 1000.0 * self.count

    def make(self, part: int) -> Outputs:
        path = self.folder / str(part)
        with atomic_write(path) as f:
            f.write(f"{part**self.power}\n")
        return {path: ""}

    def join(self) -> None:
        with atomic_write(self.root / "list") as f:
            f.writelines((self.folder / str(part)).read_text() for part in range(1, self.count + 1))
        DoneMark(self.root / ".done", {"power": self.power}).write([self.root / "list"])


def do(work: Squares, *, verify: bool = False) -> str:
    """Do what a step does, and return the result."""
    for job in range(1, work.begin(verify=verify) + 1):
        work.run(job)
    work.finish()
    return (work.root / "list").read_text()


def times(work: Squares) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in work.folder.iterdir()}


@pytest.mark.parametrize("num_jobs", [1, 2, 5, 9])
def test_any_number_of_jobs_gives_the_same(tmp_path: Path, num_jobs: int) -> None:
    work = Squares(root=tmp_path, num_jobs=num_jobs)
    assert work.begin() == min(num_jobs, 5)
    assert do(work) == "1\n4\n9\n16\n25\n"
    assert work.begin() == 0


def test_each_job_makes_its_parts(tmp_path: Path) -> None:
    work = Squares(root=tmp_path, num_jobs=2)
    work.begin()
    work.run(2)
    assert sorted(times(work)) == [".done.2", ".done.4", "2", "4"]
    with pytest.raises(UserError, match=r"part 1 of 5 of .*parts: not made yet; run the same command again"):
        work.finish()
    for job in (0, 3):
        with pytest.raises(UserError, match=f"--part {job} of --num-parts 2; parts count from 1"):
            work.run(job)


def test_after_a_kill_only_missing_parts_are_made_and_half_written_ones_go(tmp_path: Path) -> None:
    work = Squares(root=tmp_path, num_jobs=2)
    work.begin()
    work.run(2)
    before = times(work)
    (work.folder / "1").write_text("half")
    (work.folder / ".3.77.tmp").touch()
    (work.folder / "7").touch()
    (work.folder / "mine").touch()
    other = Squares(root=tmp_path, num_jobs=3)
    assert other.begin() == 3 and times(work).keys() == {*before, "mine"}
    assert do(other) == "1\n4\n9\n16\n25\n"
    assert before.items() <= times(work).items()


def test_other_options_make_all_again_and_withdraw_the_result(tmp_path: Path) -> None:
    do(Squares(root=tmp_path))
    work = Squares(root=tmp_path, power=3)
    work.begin()
    assert not times(work) and not (tmp_path / "list").exists()
    assert do(work).endswith("125\n")


@pytest.mark.parametrize("verify", [False, True])
def test_damage_is_seen_by_size_and_on_request_by_content(tmp_path: Path, verify: bool) -> None:
    work = Squares(root=tmp_path)
    whole = do(work)
    (tmp_path / ".done").unlink()  # else only the list counts
    (work.folder / "3").write_text("7\n")
    (work.folder / "4").write_text("7\n")
    work.begin(verify=verify)
    assert (work.folder / "3").exists() != verify and not (work.folder / "4").exists()
    assert (do(work) == whole) == verify


def test_what_fails_in_every_part_leaves_all_as_it_is(tmp_path: Path) -> None:
    do(Squares(root=tmp_path))
    with pytest.raises(UserError, match="a negative power"):
        Squares(root=tmp_path, power=-1).begin()
    assert do(Squares(root=tmp_path)) == "1\n4\n9\n16\n25\n"


def test_the_disk_must_have_room_for_missing_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Squares(root=tmp_path, num_jobs=5)
    work.begin()
    work.run(1)
    (work.folder / "2").write_text("half")
    assert work.growth(*work.sort()) == 4000 - len("half")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3995))
    with pytest.raises(UserError, match=r"parts: about .* are needed"):
        work.begin()
    assert (work.folder / "2").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3996))
    assert work.begin() == 5


def test_several_works_share_jobs_and_finished_ones_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Squares(root=tmp_path / "small", count=2, num_jobs=4)
    large = Squares(root=tmp_path / "large", count=9, num_jobs=4)
    do(small)
    before = times(small)
    (small.folder / ".done.1").unlink()  # of a whole result, whose parts are not looked at
    act("begin", [small, large], 1)
    assert capsys.readouterr().out == "4\n"
    for job in range(1, 5):
        act("part", [small, large], job)
    act("join", [small, large], 1)
    assert not large.stale() and times(small).items() < before.items()
    assert begin_all([small, large]) == 0
    assert begin_all([Squares(root=tmp_path / "new", count=2, num_jobs=4), large]) == 2


def test_what_fails_in_one_of_several_works_leaves_all_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(Squares(root=tmp_path / "a"))
    changed = Squares(root=tmp_path / "a", power=3)
    with pytest.raises(UserError, match="a negative power"):
        begin_all([changed, Squares(root=tmp_path / "b", power=-1)])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=9000))
    with pytest.raises(UserError, match=r"parts and 1 more on its disk: about .* are needed"):
        begin_all([changed, Squares(root=tmp_path / "b")])
    assert not Squares(root=tmp_path / "a").stale()


@pytest.mark.parametrize("parts_are_there", [False, True])
def test_a_damaged_result_of_the_right_size_is_made_again_when_asked(tmp_path: Path, parts_are_there: bool) -> None:
    works = [Squares(root=tmp_path / name) for name in ("a", "b")]
    whole, _ = map(do, works)
    (works[0].root / "list").write_text("7\n" + whole[2:])
    if not parts_are_there:
        shutil.rmtree(works[0].folder)
    begin_all(works, verify=True)
    act("part", works, 1)
    act("join", works, 1)
    assert (works[0].root / "list").read_text() == whole


def test_a_mark_names_its_outputs(tmp_path: Path) -> None:
    work = Squares(root=tmp_path)
    do(work)
    (sha256,) = work.part_mark(2).outputs().values()
    assert work.part_mark(2).outputs() == {work.folder / "2": sha256}
    assert json.loads((work.folder / ".done.2").read_text())["outputs"]["2"]["sha256"] == sha256


def test_all_are_tried_before_the_first_bad_one_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def do(utt: str) -> str:
        if utt.isupper():
            raise UserError(f"{utt} is bad")
        return utt * 2

    assert list(try_all(["a", "b"], do)) == ["aa", "bb"]
    found: list[str] = []
    with pytest.raises(
        UserError, match=r"^2 of 4 utterances failed, the others stand above; the first: B is bad; mend$"
    ):
        found.extend(try_all(["a", "B", "c", "D"], do, remedy="; mend"))
    assert "D is bad" in caplog.text and "B is bad" not in caplog.text
    with pytest.raises(UserError, match=r"^B is bad$"):
        list(try_all(["a", "B"], do))
