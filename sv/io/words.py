"""Words of a block of text as arrays of numbers: no Python object is made for each word of a large list.

A word is stored as its start and its length. It is looked up by a 64-bit hash of its bytes; among a million different
words, two have the same one with a probability of 3e-8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDING = bytes(8)  # after the text of words, which are read eight bytes at a time
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)  # of the lower `count` bytes
_MOST_DIGITS = 15  # of a number that float64 holds exactly
_ZEROS = np.uint64(0x3030303030303030)  # eight digits "0"
_TO_TEN = np.uint64(0x7676767676767676)  # brings bytes from 10 on to the top bit
_TOP_BITS = np.uint64(0x8080808080808080)
_PAIRS = np.uint64(0x000000FF000000FF)

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Words:
    """Some words of a text, as those of one column.

    Attributes:
        text: the text that holds them, with PADDING after it.
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

    @property
    def _eights(self) -> NDArray[np.uint64]:
        """The eight bytes from each one on, the first one lowest."""
        return np.ndarray((len(self.text) - 7,), "<u8", self.text, 0, (1,))

    def are(self, word: bytes) -> NDArray[np.bool_]:
        """Return for each word whether it is this one, (words,); at most 16 bytes."""
        found = self.length == len(word)
        for done in range(0, len(word), 8):
            part = word[done : done + 8]
            eight = self._eights[np.minimum(self.start + done, len(self.text) - 8)]
            found &= eight & _MASKS[len(part)] == np.uint64(int.from_bytes(part, "little"))
        return found

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """Hash of each word, (words,)."""
        found = self.length.astype(np.uint64) * _FACTOR
        shortest = int(self.length.min()) if len(self) else 0
        for done in range(0, int(self.length.max(initial=0)), 8):
            rows = slice(None) if done < shortest else np.flatnonzero(self.length > done)
            eight = self._eights[self.start[rows] + done]
            if done + 8 > shortest:
                eight &= _MASKS[np.minimum(self.length[rows] - done, 8)]
            eight ^= found[rows]
            eight *= _FACTOR
            eight ^= eight >> np.uint64(32)
            found[rows] = eight
        return found

    def numbers(self) -> NDArray[np.float64]:
        """Return each word as a number, as `float` reads it; NaN for other words.

        It is quick for numbers with as many decimals as the first one.
        """
        first = self[0] if len(self) else b""
        decimals = len(first) - 1 - first.find(b".")
        if b"." not in first or decimals > 8:
            return _floats(self)
        data, point = np.frombuffer(self.text, dtype=np.uint8), self.start + self.length - decimals - 1
        negative = data[self.start] == ord("-")
        digits = point - self.start - negative  # before the point
        head = (self._eights[self.start + negative] ^ _ZEROS) << (64 - 8 * digits).astype(np.uint64)
        tail = (self._eights[point + 1] ^ _ZEROS) << np.uint64(64 - 8 * decimals)
        plain = ((head + _TO_TEN | head | tail + _TO_TEN | tail) & _TOP_BITS == 0) & (data[point] == ord("."))
        plain &= (digits >= 0) & (digits <= min(8, _MOST_DIGITS - decimals)) & (digits + decimals > 0)
        if np.count_nonzero(plain) < 0.9 * len(self):
            return _floats(self)
        values = (_integers(head) * np.uint64(10**decimals) + _integers(tail)) / 10.0**decimals  # correctly rounded
        values[negative] *= -1
        for row in np.flatnonzero(~plain).tolist():
            values[row] = _float(self[row])
        return values


def _integers(digits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the integers of eight digits each, of one byte 0 to 9 a digit, the first one lowest."""
    twos = digits * np.uint64(10) + (digits >> np.uint64(8))
    fours = (twos & _PAIRS) * np.uint64(100 + (10**6 << 32))
    return (fours + (twos >> np.uint64(16) & _PAIRS) * np.uint64(1 + (10**4 << 32))) >> np.uint64(32)


def words_of(words: Iterable[bytes]) -> Words:
    """Return words that are in no text."""
    words = list(words)
    length = np.array([len(word) for word in words], dtype=np.int64)
    return Words(b"".join(words) + PADDING, np.cumsum(length) - length, length)


class WordTable:
    """Numbers of words: 0, 1, ... in the order in which they were added."""

    def __init__(self, words: Iterable[bytes] = ()) -> None:
        self._hashes: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._slots = np.full(16, -1, dtype=np.int32)  # by the upper bits of the hash; else in one of the next slots
        self.add(words_of(words))

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, words: Words) -> Rows:
        """Return the number of each word, (words,); -1 for one that was not added."""
        return self._find(words.hashes)

    def _find(self, hashes: NDArray[np.uint64]) -> Rows:
        slot = self._slot(hashes)
        rows = self._slots.take(slot)
        left = np.flatnonzero((rows >= 0) & (self._hashes.take(rows) != hashes)) if len(self) else rows[:0]
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
