"""Words of a block of text as arrays of numbers: no Python object is made for each word of a large list.

A word is where it begins and how long it is. It is looked up by a 64-bit hash of its bytes; among a million different
words, two have the same one with a probability of 3e-8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDING = bytes(8)  # behind the text of words, which are read eight bytes at a time
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)  # of the lower `count` bytes
_MOST_DIGITS = 15  # of a number that float64 holds exactly

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Words:
    """Some words of a text, as those of one column.

    Attributes:
        text: what they stand in, with PADDING behind it.
        start: (words,) where each begins.
        length: (words,) bytes.
    """

    text: bytes
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def part(self, first: int, step: int) -> "Words":
        """Return every `step`-th of these words, from the first one on."""
        rows = slice(first, None, step)
        return Words(self.text, np.ascontiguousarray(self.start[rows]), np.ascontiguousarray(self.length[rows]))

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> bytes:
        start = int(self.start[row])
        return self.text[start : start + int(self.length[row])]

    def __iter__(self) -> Any:
        ends = (self.start + self.length).tolist()
        return (self.text[start:end] for start, end in zip(self.start.tolist(), ends, strict=True))

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """Hash of each word, (words,)."""
        eights = np.ndarray((len(self.text) - 7,), "<u8", self.text, 0, (1,))  # the eight bytes from each one on
        found = self.length.astype(np.uint64) * _FACTOR
        shortest = int(self.length.min()) if len(self) else 0
        for done in range(0, int(self.length.max(initial=0)), 8):
            rows = slice(None) if done < shortest else np.flatnonzero(self.length > done)
            eight = eights[self.start[rows] + done]
            if done + 8 > shortest:
                eight &= _MASKS[np.minimum(self.length[rows] - done, 8)]
            eight ^= found[rows]
            eight *= _FACTOR
            eight ^= eight >> np.uint64(32)
            found[rows] = eight
        return found

    def numbers(self) -> NDArray[np.float64]:
        """Return each word as a number, as `float` reads it; NaN for what is none.

        It is quick for numbers with as many decimals as the first one.
        """
        width = int(self.length.max(initial=0))
        if not 0 < width <= _MOST_DIGITS or b"." not in self[0]:
            return _floats(self)
        decimals = len(self[0]) - 1 - self[0].index(b".")
        data, column = np.frombuffer(self.text, dtype=np.uint8), np.arange(width)[:, None]
        byte = data[np.maximum(self.start + self.length - width + column, 0)]  # (width, words), the ends in line
        inside, digit = column >= width - self.length, byte - np.uint8(ord("0"))
        is_digit, negative = inside & (digit < 10), data[self.start] == ord("-")
        is_point = (inside & (byte == ord(".")))[width - 1 - decimals]
        count = np.count_nonzero(is_digit, axis=0)
        plain = is_point & (count > 0) & (count + negative + 1 == self.length)
        if np.count_nonzero(plain) < 0.9 * len(self):
            return _floats(self)
        tens = np.array([10.0**power for power in range(width - 1, -1, -1)])
        tens[: width - 1 - decimals] /= 10  # the point has no digit
        values = (tens @ np.where(is_digit, digit, 0)) / 10.0**decimals  # correctly rounded
        values[negative] *= -1
        for row in np.flatnonzero(~plain).tolist():
            values[row] = _float(self[row])
        return values


def words_of(words: Iterable[bytes]) -> Words:
    """Return words that stand in no text."""
    words = list(words)
    length = np.array([len(word) for word in words], dtype=np.int64)
    return Words(b"".join(words) + PADDING, np.cumsum(length) - length, length)


class WordTable:
    """Numbers of words: 0, 1, ... in the order in which they were added."""

    def __init__(self, words: Iterable[bytes] = ()) -> None:
        self._hashes = np.empty(0, dtype=np.uint64)
        self._slots = np.full(16, -1, dtype=np.int32)  # by the upper bits of the hash; else in one of the next slots
        self.add(words_of(words))

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, words: Words) -> Rows:
        """Return the number of each word, (words,); -1 for one that was not added."""
        return self._find(words.hashes)

    def _find(self, hashes: NDArray[np.uint64]) -> Rows:
        slot = self._slot(hashes)
        rows = self._slots[slot]
        left = np.flatnonzero((rows >= 0) & (self._hashes[rows] != hashes)) if len(self) else rows[:0]
        while len(left):
            slot[left] = (slot[left] + 1) % len(self._slots)
            rows[left] = self._slots[slot[left]]
            left = left[(rows[left] >= 0) & (self._hashes[rows[left]] != hashes[left])]
        return rows

    def add(self, words: Words) -> tuple[Rows, list[int]]:
        """Add those words that are unknown, each once.

        Returns:
            number of each word, (words,), and the positions at which the added ones first appear, ascending.
        """
        rows = self.find(words)
        unknown = np.flatnonzero(rows < 0)
        if not len(unknown):
            return rows, []
        _, first = np.unique(words.hashes[unknown], return_index=True)
        at = unknown[np.sort(first)]
        before = len(self._hashes)
        self._hashes = np.concatenate([self._hashes, words.hashes[at]])
        if 2 * len(self._hashes) > len(self._slots):
            before = 0
            self._slots = np.full(4 << len(self._hashes).bit_length(), -1, dtype=np.int32)
        self._place(np.arange(before, len(self._hashes), dtype=np.int32))
        rows[unknown] = self._find(words.hashes[unknown])
        return rows, at.tolist()

    def _place(self, rows: Rows) -> None:
        slot = self._slot(self._hashes[rows])
        while len(rows):
            free = self._slots[slot] < 0
            self._slots[slot[free]] = rows[free]  # of several rows, the last stays
            left = self._slots[slot] != rows
            rows, slot = rows[left], (slot[left] + 1) % len(self._slots)

    def _slot(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (hashes >> np.uint64(65 - len(self._slots).bit_length())).astype(np.int64)


def _floats(words: Words) -> NDArray[np.float64]:
    try:
        return np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        return np.array([_float(word) for word in words])


def _float(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
