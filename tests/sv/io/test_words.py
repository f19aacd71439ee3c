"""Words as numbers: hashed and looked up as by a dict, read as numbers as by `float`."""

import numpy as np
import pytest

from sv.io.words import WordTable, words_of


def text_of(number: int) -> bytes:
    """A word of 1 to 40 bytes; many have their first 24 bytes in common."""
    return (b"id10001/abcdefghijk/0000" + b"%d" % number)[-(number % 40) - 1 :]


def test_words_have_the_numbers_that_a_dict_gives_them() -> None:
    rng = np.random.default_rng(0)
    table, known = WordTable(), dict[bytes, int]()
    for size in (1, 7, 300, 300, 300, 2000, 40):
        words = [text_of(number) for number in rng.integers(0, 3000, size).tolist()]
        unknown = [position for position, word in enumerate(words) if word not in {*known, *words[:position]}]
        rows, added = table.add(words_of(words))
        assert added == unknown
        known |= {words[position]: len(known) + i for i, position in enumerate(added)}
        assert rows.tolist() == [known[word] for word in words]
        assert len(table) == len(known)
    asked = [text_of(number) for number in range(4000)]
    assert table.find(words_of(asked)).tolist() == [known.get(word, -1) for word in asked]


def test_hash_depends_on_the_word_alone() -> None:
    words = [b"", b"a", b"\0", b"a\0", b"12345678", b"123456789", b"1" * 16, b"1" * 17, b"x" * 500]
    together = words_of(words).hashes
    assert len(set(together.tolist())) == len(words)
    assert [int(words_of([word]).hashes[0]) for word in words] == together.tolist()


def test_an_empty_table_knows_no_word() -> None:
    assert WordTable().find(words_of([b"a", b""])).tolist() == [-1, -1]


ODD = [
    b"-",
    b".",
    b"-.",
    b"",
    b"1e-05",
    b"nan",
    b"-inf",
    b"1.2.345",
    b"--1.00000",
    b"+3.5",
    b"1_0",
    b"x.12345",
    b"-.5",
    b"5.",
]


@pytest.mark.parametrize("decimals", [0, 1, 5, 13])
@pytest.mark.parametrize("first", range(len(ODD) + 1))
def test_numbers_are_those_of_float_to_the_last_bit(decimals: int, first: int) -> None:
    values = np.random.default_rng(decimals).normal(0, 20, 300)
    words = [b"%.*f" % (decimals, value) for value in values] + [b"0", b"-0.00000", b"0.00000", *ODD]
    words = words[-first:] + words[:-first] + [b".5"] * 4000 * (first == 1)

    def number(word: bytes) -> float:
        try:
            return float(word)
        except ValueError:
            return float("nan")

    expected, found = np.array([number(word) for word in words]), words_of(words).numbers()
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("asked", [b"target", b"nontarget", b"1", b"12345678", b"0123456789abcdef"])
def test_words_are_compared_whole(asked: bytes) -> None:
    near = [asked, asked[:-1], asked + b"x", asked[:-1] + b"x", b"x" + asked[1:], asked.upper() + b"0", b""]
    for last in near:  # it ends the text
        words = [*near, last]
        assert words_of(words).are(asked).tolist() == [word == asked for word in words]
