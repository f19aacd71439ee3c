"""Text files of columns, in blocks of lines."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io.columns import WORD_LABELS, iter_columns, parse_labels


def write(folder: Path, text: str) -> Path:
    (folder / "f").write_text(text)
    return folder / "f"


def test_blocks_hold_columns_of_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", 4)
    path = write(tmp_path, "a b\nc  d\ne\tf\n")
    blocks = list(iter_columns(path, "x y", [2]))
    words = [[list(column) for column in block.words] for block in blocks]
    assert words == [[[b"a", b"c"], [b"b", b"d"]], [[b"e"], [b"f"]]]
    assert [block.first_line for block in blocks] == [1, 3]
    assert blocks[1].where(0) == f"{path}:3"
    assert sum(block.num_bytes for block in blocks) == path.stat().st_size


@pytest.mark.parametrize("block_bytes", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    "text", ["\ufeffa b\nc d\n", "a b\r\nc d\r\n", "a b\nc d\n\n", "a b\nc d\n \n\t\r\n\n", "\ufeffa b\r\nc d\r\n\r\n"]
)
def test_byte_order_mark_crlf_and_blank_lines_at_the_end_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, block_bytes: int
) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", block_bytes)
    (tmp_path / "f").write_bytes(text.encode())
    blocks = list(iter_columns(tmp_path / "f", "x y", [2]))
    rows = [row for block in blocks for row in zip(*block.words, strict=True)]
    assert rows == [(b"a", b"b"), (b"c", b"d")]
    if block_bytes > len(text.encode()):
        assert blocks[0].num_bytes == (tmp_path / "f").stat().st_size


@pytest.mark.parametrize("block_bytes", [1, 4, 1 << 20])
@pytest.mark.parametrize(("text", "line"), [("a b\n\nc d\n", 2), ("a b\nc d\n\n \n\r\ne f", 3), ("\n\na b\n", 1)])
def test_a_blank_line_before_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, block_bytes: int
) -> None:
    monkeypatch.setattr("sv.io.columns._BLOCK_BYTES", block_bytes)
    with pytest.raises(UserError, match=f"f:{line}: "):
        list(iter_columns(write(tmp_path, text), "x y", [2]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nc\n", "f:2: expected 'x y', found 1 column: 'c'"),
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
    assert parse_labels(block, 1, WORD_LABELS).tolist() == [True, False]
    with pytest.raises(UserError, match="f:1: label 'a'; write target or nontarget"):
        parse_labels(block, 0, WORD_LABELS)
