#!/usr/bin/env python3
"""Write docs/api.md: the public names of the package `sv`, from their signatures and docstrings.

e.g.: . ./path.sh; docs/make_api.py
"""

import argparse
import inspect
import re
from pathlib import Path
from typing import Any

import sv
from sv.errors import run_step
from sv.io import atomic_write

PAGE = Path(__file__).parent / "api.md"
HEAD = """# Python interface

Made from the docstrings by `docs/make_api.py`; change those. Decisions and refused recordings:
[verification.md](verification.md).
"""
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):$")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with atomic_write(PAGE) as f:
        f.write(make_page())


def make_page() -> str:
    """Return the page: classes in the order of `sv.__all__`, the verifier first."""
    classes = [getattr(sv, name) for name in sv.__all__ if not name.startswith("_")]
    classes.sort(key=lambda cls: cls is not sv.Verifier)
    return HEAD + "".join(describe_class(cls) for cls in classes) + "\n`sv.__version__`: the version, a string.\n"


def describe_class(cls: type[Any]) -> str:
    """Return the section of a class: its own docstring, and those of its public methods and properties."""
    parts = [f"\n## sv.{cls.__name__}\n\n"]
    if cls.__init__ is not Exception.__init__:
        parts.append(f"```python\n{cls.__name__}{signature(cls)}\n```\n\n")
    parts.append(describe(cls))
    parents = [parent for parent in cls.__mro__[1:] if parent.__module__.startswith("sv.")]
    parts += [f"\nIt also has the members of {parent.__name__}.\n" for parent in parents]
    for name, member in vars(cls).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, (property, classmethod))):
            continue
        parts.append(f"\n### {cls.__name__}.{name}\n\n")
        if not isinstance(member, property):
            parts.append(f"```python\n{name}{signature(getattr(cls, name))}\n```\n\n")
        parts.append(describe(member))
    return "".join(parts)


def signature(function: Any) -> str:
    """Return names and defaults of the arguments, without `self` and types, which the docstring tells."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    ]
    text = str(inspect.Signature(parameters))
    return re.sub(r"\d\.\d{6,}", lambda number: f"{float(number[0]):.4g}", text)


def describe(member: Any) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    lines, in_list = [], False
    for line in (inspect.getdoc(member) or "").splitlines():
        if title := _SECTION.match(line):
            lines += [f"{title[1]}:", ""]
            in_list = True
        elif in_list and (entry := re.match(r"^    ([\w, ]+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif in_list and line:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_step(main)
