"""Kaldi's text tables."""

import os

import pytest

from sv.errors import UserError
from sv.io import base_speaker, check_id, original_speakers, read_table, write_table


def test_table_is_sorted_by_bytes_and_read_back(tmp_path):
    write_table(tmp_path / "t", {"b": 1, "B": "two words", "é": 3, "a-1": 4, "a1": 5})
    assert list(read_table(tmp_path / "t")) == ["B", "a-1", "a1", "b", "é"]
    assert read_table(tmp_path / "t")["B"] == "two words"


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path):
    (tmp_path / "utt2spk").write_text("\ufeffa s1\nb s1\n", encoding="utf-8")
    assert read_table(tmp_path / "utt2spk") == {"a": "s1", "b": "s1"}


def test_a_table_that_has_not_changed_keeps_its_time(tmp_path):
    write_table(tmp_path / "t", {"a": 1})
    os.utime(tmp_path / "t", (1, 1))
    write_table(tmp_path / "t", {"a": 1})
    assert (tmp_path / "t").stat().st_mtime == 1
    write_table(tmp_path / "t", {"a": 2})
    assert (tmp_path / "t").stat().st_mtime != 1
    assert os.listdir(tmp_path) == ["t"]


def test_tabs_separate_as_blanks_do(tmp_path):
    (tmp_path / "t").write_text("u1\tone\nu2  two \n")
    assert read_table(tmp_path / "t") == {"u1": "one", "u2": "two"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"u1 a\nu1 b\n", "t:2: u1 comes twice; keep one of the two lines"),
        (b"u1 a\nu2\n", "t:2: expected 'key value', found 'u2'"),
        (b"u1 a\n\nu2 b\n", "t:2: expected 'key value'"),
        (b"", "t is empty"),
        (b"u1 \xff\xfe\n", "not UTF-8"),
        (b"u;1 a\n", "t:1: id 'u;1' holds ';'"),
        (b"../u1 a\n", "t:1: id '../u1' holds '..'"),
        (b"u1/. a\n", "t:1: id 'u1/.' holds '.'"),
        (b"/etc/passwd a\n", "t:1: id '/etc/passwd' begins with '/'"),
        (b"x" * 1001 + b" a\n", "an id of 1001 characters"),
    ],
)
def test_a_bad_table_names_file_and_line(tmp_path, content, message):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_table(tmp_path / "t")
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["a b", "a\nb", "a'b", 'a"b', "a;b", "$(x)", "a/../b", "..", "", "a\0b"])
def test_unsafe_ids_are_refused(name):
    with pytest.raises(UserError):
        check_id(name, "t:1")


@pytest.mark.parametrize("name", ["id10001/1zcIwhmdeo4/00001.wav", "sp0.9-id1", "a..b", "说话人", "-x_y"])
def test_usual_ids_pass(name):
    assert check_id(name, "t:1") == name


def test_a_missing_table_says_what_is_wanted(tmp_path):
    with pytest.raises(UserError, match="t does not exist; give a file with lines 'key value'"):
        read_table(tmp_path / "t")


def test_speed_copies_are_known_by_their_prefix():
    names = ["id1", "sp0.9-id1", "sp1.1-id1", "sp-x", "spk3", "sp2-id1"]
    assert [base_speaker(name) for name in names] == ["id1", "id1", "id1", "sp-x", "spk3", "id1"]


def test_a_speed_copy_stands_beside_its_original():
    names = ["id1", "sp0.9-id1", "sp2-ann", "sp1.1-sp2-ann"]
    assert original_speakers(names) == {
        "id1": "id1",
        "sp0.9-id1": "id1",
        "sp2-ann": "sp2-ann",
        "sp1.1-sp2-ann": "sp2-ann",
    }
