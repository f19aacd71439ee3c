"""Text files of columns, in blocks of lines."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io.columns import byte_bar, iter_columns, parse_labels


def write(folder: Path, text: str) -> Path:
    (folder / "f").write_text(text)
    return folder / "f"


def test_blocks_hold_columns_of_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 4)
    path = write(tmp_path, "a b\nc  d\ne\tf\n")
    blocks = list(iter_columns(path, "x y", [2]))
    assert [block.words for block in blocks] == [[[b"a", b"c"], [b"b", b"d"]], [[b"e"], [b"f"]]]
    assert [block.first_line for block in blocks] == [1, 3]
    assert blocks[1].where(0) == f"{path}:3"
    assert sum(block.num_bytes for block in blocks) == path.stat().st_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nc\n", "f:2: expected 'x y', found 1 columns: 'c'"),
        ("a b c\n", "f:1: expected 'x y', found 3 columns: 'a b c'"),
        ("", "f is empty; make it again"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(iter_columns(write(tmp_path, text), "x y", [2]))


def test_a_missing_file_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="f does not exist; give a file with lines 'x y'"):
        list(iter_columns(tmp_path / "f", "x y", [2]))


def test_labels(tmp_path: Path) -> None:
    (block,) = iter_columns(write(tmp_path, "a target\nb nontarget\n"), "x y", [2])
    assert parse_labels(block, 1).tolist() == [True, False]
    with pytest.raises(UserError, match="f:1: label 'a'; write target or nontarget"):
        parse_labels(block, 0)


def test_bar_counts_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "12345")
    with byte_bar(path) as bar, byte_bar(tmp_path / "none", "other") as other:
        assert (bar.total, other.total) == (5, None)
