"""JSON and YAML files: plain values, or one line that says what is wrong."""

import pytest

from sv.errors import UserError
from sv.io import parse_yaml, read_json, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [1, 2.5]\nb: {c: null}", {"a": [1, 2.5], "b": {"c": None}}),
        ("\ufeffa: 1", {"a": 1}),
        ("", {}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
    ],
)
def test_yaml_is_read(tmp_path, text, value):
    (tmp_path / "c.yaml").write_text(text)
    assert read_yaml(tmp_path / "c.yaml") == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not YAML: while parsing a flow sequence"),
        (b"a: \xff", "not YAML: 'utf-8' codec"),
        (b"- 1", "expected 'key: value' lines, found list"),
        (b"text", "expected 'key: value' lines, found str"),
        (b"a: !!python/object:os.system", "could not determine a constructor"),
        (b"a: " + b"[" * 100_000, "too many brackets in brackets"),
        (b"a: &a [*a]", "are there aliases"),
        (
            b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d, " % (n - 1) * 10 if n else b"1") for n in range(9)),
            "are there aliases",
        ),
    ],
)
def test_bad_yaml_gets_one_line_with_its_path(tmp_path, content, message):
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_yaml(tmp_path / "c.yaml")
    assert str(error.value).startswith(f"{tmp_path}/c.yaml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_of_yaml_is_parsed():
    assert parse_yaml("[0.9, 1.1]") == [0.9, 1.1]
    with pytest.raises(ValueError, match="expected ',' or"):
        parse_yaml("[1")


def test_json_is_read(tmp_path):
    (tmp_path / "r.json").write_text('\ufeff{"a": [1, null]}')
    assert read_json(tmp_path / "r.json") == {"a": [1, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "Expecting property name"), (b"\xff", "codec"), (b"[" * 100_000, "too many brackets")],
)
def test_bad_json_is_a_value_error(tmp_path, content, message):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "r.json")
