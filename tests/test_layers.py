"""Imports and calls go one way: egs -> local, steps, tools -> sv, and within sv from the top row to the bottom one."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["bench", "egs", "local", "steps", "sv", "tests", "tools"]

# Rows of sv, the bottom one first; may_use says what they mean.
BOTTOM = ["errors", "registry", "io", "jobs", "config", "audio"]  # each may use those to its left
MIDDLE = {"data", "losses", "models"}
# Each may use those to its left.
TOP = [
    "embeddings",
    "system",
    "metrics",
    "scoring",
    "clustering",
    "export",
    "verifier",
    "enrolled",
    "training",
    "report",
]


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def read_imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write it in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def used_modules() -> dict[str, set[str]]:
    """Module of sv -> other modules of sv that it imports; a folder counts as one module."""
    used: dict[str, set[str]] = {}
    for path in python_files("sv"):
        module = path.relative_to(ROOT / "sv").parts[0].removesuffix(".py")
        names = {name.split(".")[1] for name in read_imports(path) if name.startswith("sv.")}
        used.setdefault(module, set()).update(names - {module})
    return used


def may_use(module: str) -> set[str]:
    if module in BOTTOM:
        return set(BOTTOM[: BOTTOM.index(module)])
    if module in MIDDLE:
        return set(BOTTOM)  # modules of the middle row know nothing of one another
    return set(BOTTOM) | MIDDLE | set(TOP[: TOP.index(module)])


@pytest.mark.parametrize("folder", ["bench", "local", "steps", "sv", "tools"])
def test_folder_imports_only_itself_and_sv(folder: str) -> None:
    for path in python_files(folder):
        others = {name.split(".")[0] for name in read_imports(path)} & set(FOLDERS) - {folder, "sv"}
        assert not others, f"{path.relative_to(ROOT)} imports {sorted(others)}"


def test_recipes_hold_no_python() -> None:
    files = [*(ROOT / "egs").glob("*/*.py"), *(ROOT / "egs").glob("*/conf/**/*.py")]
    assert not files, f"{files}: what knows one corpus goes to local/"


@pytest.mark.parametrize("folder", ["local", "steps", "tools"])
def test_no_script_calls_a_recipe(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.sh")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            code = re.sub(r"(^|\s)#.*", "", line)
            assert not re.search(r"\begs/\w+/run\.sh", code), f"{path.relative_to(ROOT)}:{number} calls a recipe"


def test_every_module_of_sv_has_a_row() -> None:
    unknown = set(used_modules()) - set(BOTTOM) - MIDDLE - set(TOP) - {"__init__", "__main__"}
    assert not unknown, f"sv: {sorted(unknown)} stand in no row; give them one here and in CONTRIBUTING.md"


def test_modules_of_sv_use_only_rows_below() -> None:
    for module, used in used_modules().items():
        if module not in ("__init__", "__main__"):
            assert used <= may_use(module), f"sv.{module} may not use {sorted(used - may_use(module))}"


def test_modules_of_sv_use_one_another_without_circles() -> None:
    TopologicalSorter(used_modules()).prepare()  # raises CycleError, which names them


def imports_at_the_top(path: Path) -> set[str]:
    """Dotted names that a file imports outside of functions, also for types alone; functions may close a circle."""
    tree = parse(path)
    blocks = [tree, *(node for node in tree.body if isinstance(node, ast.If))]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {name for node in imports for name in (node.module or "", *(f"{node.module}.{a.name}" for a in node.names))}


def test_files_of_sv_import_one_another_without_circles() -> None:
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in python_files("sv")}
    used = {name: imports_at_the_top(path) & files.keys() - {name} for name, path in files.items()}
    assert used["sv.models.pooling"] >= {"sv.errors", "sv.models.pooling_options"}
    TopologicalSorter(used).prepare()  # raises CycleError, which names them


@pytest.mark.slow
def test_light_modules_load_no_torch() -> None:
    light = "sv, sv.errors, sv.io, sv.losses, sv.models, sv.system"
    plans = "sv.audio.data_check, sv.audio.shard_parts, sv.audio.vad_parts, sv.data.fbank_parts, sv.embeddings.parts"
    code = f"import sys, {light}, {plans}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == 0
