"""Work shared by several jobs: a list of what to do, the parts of each job, and one result at the end.

    begin     one process: check all that would fail in every part, clear away what is out of date
    run       one process per job: make its missing parts; the mark of each part is written last
    finish    one process: make one result from all parts

A part counts as done while its mark fits: the same options and inputs, and files of the right size. After a kill, only
the other parts are made. Several works may share jobs (`act`), to start fewer processes.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sv.errors import UserError, WrongCall, log
from sv.io.progress import Tally
from sv.jobs.disk import check_free
from sv.jobs.done import NOT_MADE, DoneMark

T = TypeVar("T")
Outputs = dict[Path, str]  # files that were written, and their SHA-256; "" if nobody has worked it out yet

_MAX_FAILURES = 1000  # with more, the corpus is at fault, not some of its files


@dataclass(frozen=True, kw_only=True)
class Parts(ABC):
    """Work in parts, numbered from 1.

    Attributes:
        num_jobs: processes that share the work; job k makes the parts k, k + num_jobs, ...
    """

    num_jobs: int = 1

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of the parts and their marks."""

    @property
    @abstractmethod
    def num_parts(self) -> int:
        """The number of parts; it may depend on the number of jobs."""

    @property
    @abstractmethod
    def file_names(self) -> str:
        """A pattern of the names in the folder of parts' files, of their marks and of half-written ones."""

    @property
    @abstractmethod
    def result(self) -> Path:
        """The file that tells that all is done, for messages."""

    @abstractmethod
    def num_items(self, part: int) -> int:
        """Return how many items (utterances, files) a part counts in the log as it makes them."""

    @abstractmethod
    def part_mark(self, part: int) -> DoneMark:
        """Return the mark of a part, which names all that decides it."""

    @abstractmethod
    def stale(self, *, verify: bool = False) -> str:
        """Return why there is work to do, or "" if the result is there.

        Args:
            verify: compare the content of files with their checksums, not only their sizes.
        """

    @abstractmethod
    def make(self, part: int) -> Outputs:
        """Write the files of one part, each whole or not at all."""

    @abstractmethod
    def join(self) -> None:
        """Write the result; all parts are whole."""

    @abstractmethod
    def check(self) -> None:
        """Raise UserError for what would fail in every part alike."""

    @abstractmethod
    def withdraw(self) -> None:
        """Remove an earlier result, so that nobody reads it together with new parts."""

    def total_bytes(self) -> float:
        """Return the size of all parts, about; 0 if it is too small to matter."""
        return 0.0

    def begin(self, *, verify: bool = False) -> int:
        """Prepare this work alone as `begin_all` does."""
        return begin_all([self], verify=verify)

    def report_done(self) -> None:
        """Log that there is nothing to do."""
        log.info("%s is there already", self.result)

    def run(self, job: int) -> None:
        """Make the parts of one job, 1 to `num_jobs`, that are not whole yet."""
        run_all([self], job)

    def finish(self) -> None:
        """Join the parts.

        Raises:
            UserError: a part is not whole, or is of other options.
        """
        for part in range(1, self.num_parts + 1):
            if why := self.part_mark(part).stale():
                raise UserError(f"part {part} of {self.num_parts} of {self.folder}: {why}; run the same command again")
        self.join()

    def sort(self, *, verify: bool = False) -> tuple[list[int], set[Path]]:
        """Return the parts that are to be made, and the files of the others."""
        missing, kept = [], set[Path]()
        for part in range(1, self.num_parts + 1):
            mark = self.part_mark(part)
            if mark.stale(verify=verify):
                missing.append(part)
            else:
                kept |= {mark.path, *mark.outputs()}
        return missing, kept

    def growth(self, missing: Collection[int], kept: Collection[Path]) -> float:
        """Return by how many bytes the folder will grow, about."""
        freed = sum(path.stat().st_size for path in self.obsolete(kept))
        return self.total_bytes() * len(missing) / self.num_parts - freed

    def obsolete(self, kept: Collection[Path]) -> list[Path]:
        """Return the files of parts that are out of date or no longer wanted, or that a killed job left."""
        ours = (path for path in self.folder.glob("*") if re.fullmatch(self.file_names, path.name))
        return [path for path in ours if path not in kept and path.is_file()]


def act(action: str, works: Sequence[Parts], job: int, *, verify: bool = False) -> None:
    """Do one action of a step for tools/run_parts.sh: begin, which prints the number of jobs, part, or join."""
    if action == "begin":
        print(begin_all(works, verify=verify))  # noqa: T201  the step's output, which the shell reads
        return
    stale = works if len(works) == 1 else [work for work in works if work.stale()]
    if action == "part":
        run_all(stale, job)
    else:
        for work in stale:
            work.finish()


def run_all(works: Sequence[Parts], job: int) -> None:
    """Make the parts of one job of several works that are not whole yet; first log how many items they have."""
    to_do = []
    for work in works:
        if not 1 <= job <= work.num_jobs:
            raise WrongCall(f"--part {job} of --num-parts {work.num_jobs}; parts count from 1")
        for part in range(job, work.num_parts + 1, work.num_jobs):
            mark = work.part_mark(part)
            if mark.stale():
                to_do.append((work, part, mark))
            else:
                log.info("part %d of %d is there already", part, work.num_parts)
    log.info("%d to do", sum(work.num_items(part) for work, part, _ in to_do))
    for work, part, mark in to_do:
        outputs = work.make(part)
        mark.write(outputs, outputs)


def begin_all(works: Sequence[Parts], *, verify: bool = False) -> int:
    """Prepare works and return the number of jobs to run, which they share; 0 if all is done.

    Args:
        works: each in a folder of its own.
        verify: also make parts again whose content is damaged.

    Raises:
        UserError: see `Parts.check`; or the disk has no room for all of them. Nothing has been removed then.
    """
    to_do = []
    for work in works:
        if why := work.stale(verify=verify):
            work.check()
            to_do.append((work, why, *work.sort(verify=verify)))
        else:
            work.report_done()
    check_free({work.folder: work.growth(missing, kept) for work, _, missing, kept in to_do})
    for work, why, missing, kept in to_do:
        reason = "" if why == NOT_MADE else f"{why}; "
        log.info("%s: %s%d of %d parts to make", work.folder, reason, len(missing), work.num_parts)
        if missing or not work.stale():  # without `verify` its mark would pass for that of whole work
            work.withdraw()
        for path in work.obsolete(kept):
            path.unlink()
    return max((min(work.num_jobs, work.num_parts) for work, *_ in to_do), default=0)


def try_all(utts: Sequence[str], do: Callable[[str], T], *, remedy: str = "") -> Iterator[T]:
    """Yield the result for each utterance; go on after a bad one, so that the log names all of them.

    Args:
        utts: the utterances, in this order.
        do: gives the result.
        remedy: what to do about a bad one, for the error.

    Raises:
        UserError: after the last one, if there was a bad one; its text is that of the first.
    """
    failures, tally = list[str](), Tally(len(utts))
    for utt in utts:
        try:
            result = do(utt)
        except UserError as error:
            if failures:  # the first one ends the job, below
                log.error("%s", error)
            failures.append(str(error))
            if len(failures) == _MAX_FAILURES:
                break
        else:
            yield result
        tally.add()
    if failures:
        count = f"{len(failures)} of {len(utts)} utterances failed, the others stand above; the first: "
        raise UserError((count if len(failures) > 1 else "") + failures[0] + remedy)
