"""Utterances of the training data that cannot be read: counted and listed, up to a share of all.

bad_utts    "utt what is wrong with it"; there is no such file if all can be read
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sv.errors import UserError, log
from sv.io import read_table, write_table


@dataclass
class BadUtts:
    """Utterances that could not be read so far; threads may share it.

    Args:
        num_utts: number of all utterances.
        max_share: share of them that may be bad.
        fate: what happens to a bad one: "replaced by another".

    Attributes:
        why: utterance -> what is wrong with it.
    """

    num_utts: int
    max_share: float
    fate: str
    why: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, found: Mapping[str, str]) -> None:
        """Note bad utterances, and warn of those that are new.

        Raises:
            UserError: there are too many now.
        """
        with self._lock:
            new = {utt: why for utt, why in found.items() if utt not in self.why}
            self.why |= new
        for why in new.values():
            log.warning("cannot be read, and is %s: %s", self.fate, why)
        if len(self.why) > self.max_share * self.num_utts:
            some = next(iter(new.values()), "") or next(iter(self.why.values()))
            raise UserError(
                f"{len(self.why)} of {self.num_utts} utterances cannot be read, more than max_bad_share "
                f"{self.max_share:g} allows; one of them: {some}"
            )

    def write(self, path: Path) -> None:
        """Write the list, if there are any."""
        if self.why:
            write_table(path, {utt: " ".join(why.split()) for utt, why in dict(self.why).items()})


def read_bad_utts(path: Path) -> dict[str, str]:
    """Read a list: utterance -> what is wrong with it; empty if there is no such file."""
    return read_table(path) if path.is_file() else {}
