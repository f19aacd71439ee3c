"""Other Pythons that the project is for, if they are installed, have all that its files take from the standard library.

Not seen: methods of objects, and parameters that a later Python added.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bench", "docs", "local", "steps", "sv", "tests", "tools")
OTHERS = [f"3.{minor}" for minor in range(10, 15) if minor != sys.version_info.minor]
RESOLVE = """
import pkgutil, sys
for line in sys.stdin.read().split():
    name, brackets, _ = line.partition("[")
    try:
        found = pkgutil.resolve_name(name)
        if brackets and isinstance(found, type) and not hasattr(type(found), "__getitem__"):  # an Enum has it
            found.__class_getitem__
    except (AttributeError, ImportError):
        print(line)
"""


def names_of(source: str) -> Iterator[str]:
    """Yield the names of the standard library in a file: os, os.path, logging.Logger; list[] if brackets follow.

    Names that only a checker of types reads are left out.
    """
    nodes = list(_walk(ast.parse(source)))
    outside: dict[str, str] = {}  # name in the file -> where it is from
    for node in nodes:
        if isinstance(node, ast.Import):
            outside |= {name.asname or name.name: name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            outside |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    outside = {name: path for name, path in outside.items() if path.partition(".")[0] in sys.stdlib_module_names}
    yield from outside.values()
    for node in nodes:
        inner = node.value if isinstance(node, ast.Subscript) else node
        if isinstance(inner, ast.Attribute) and (module := outside.get(ast.unparse(inner.value))):
            yield f"{module}.{inner.attr}" + "[]" * (inner is not node)
        elif inner is not node and isinstance(inner, ast.Name) and inner.id in outside:
            yield f"{outside[inner.id]}[]"


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        parts: list[ast.AST] = list(node.orelse)
    else:
        yield node
        parts = list(ast.iter_child_nodes(node))
    for part in parts:
        yield from _walk(part)


def missing(python: str, names: set[str]) -> list[str]:
    """Return the names that a Python does not have."""
    command = [python, "-I", "-S", "-c", RESOLVE]
    found = subprocess.run(command, input="\n".join(sorted(names)), check=True, capture_output=True, text=True)
    return found.stdout.split()


@pytest.fixture(scope="module")
def used() -> set[str]:
    """Names of the standard library in all files of the repository."""
    return {name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") for name in names_of(path.read_text())}


def test_names_that_a_python_lacks_are_found() -> None:
    source = """
import os.path, shutil as files
from logging import NullHandler, Logger
if TYPE_CHECKING:
    import none
else:
    import wave
class A(NullHandler[int]): ...
files.no(os.path.join("a"), wave.no, files.which, list[int])
"""
    names = set(names_of(source))
    assert {"os.path", "os.path.join", "wave", "logging.Logger", "shutil.which"} < names
    assert "none" not in names
    assert set(missing(sys.executable, names)) == {"shutil.no", "wave.no", "logging.NullHandler[]"}


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_another_python_has_every_name(version: str, used: set[str]) -> None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    pythons = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python3"))]
    there = [name for name in pythons if name and subprocess.run([name, "-c", ""], capture_output=True).returncode == 0]
    if not there:
        pytest.skip(f"no Python {version} here")
    assert set(missing(there[0], used)) <= set(missing(sys.executable, used))  # names of variables, in both
