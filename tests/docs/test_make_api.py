"""docs/api.md is what the docstrings say now, and names everything public."""

import inspect
from pathlib import Path

import sv
from docs.make_api import PAGE, make_page
from tests.sv.noise_verifier import make_exp


def test_page_is_current() -> None:
    assert PAGE.read_text() == make_page(), "docstrings have changed; type: docs/make_api.py"


def test_page_names_every_public_class_and_method() -> None:
    page = make_page()
    for name in sv.__all__:
        assert f"sv.{name}" in page
    for cls in (sv.Verifier, sv.Embedder, sv.Enrolled):
        for name, _ in inspect.getmembers(cls, inspect.isfunction):
            assert name.startswith("_") or f"### {cls.__name__}.{name}\n" in page or "### Embedder." + name in page


def test_page_names_every_public_attribute(tmp_path: Path) -> None:
    verifier = sv.Verifier(make_exp(tmp_path), gpus="none")
    names = {name for item in (verifier, sv.Enrolled(verifier, tmp_path)) for name in vars(item)}
    page = make_page()
    assert [name for name in sorted(names) if name[0] != "_" and f"- `{name}`: " not in page] == []
