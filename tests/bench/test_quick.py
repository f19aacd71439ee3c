"""Each benchmark with --quick, at still smaller sizes and with one turn a case: it runs to its end and prints figures.

What --quick itself takes is in bench/README.md.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist

from bench import collectives, common
from sv.metrics import jackknife

# what is made smaller, and how many figures there are
CASES: dict[str, tuple[dict[str, object], int]] = {
    "clustering": ({"QUICK_UTTS": 2_000}, 2),
    "coverage": ({"QUICK_LISTS": 2, "POPULATION_LISTS": 2}, 38),
    "fbank": ({}, 7),
    "head": ({"QUICK_SPEAKERS": 300}, 12),
    "head_parts": ({}, 32),
    "lists": ({"QUICK_SIZES": (10_000,)}, 8),
    "plda": ({"QUICK_SCALE": 50, "NUM_ITERS": 2}, 2),
    "score": ({"QUICK_SCALE": 500}, 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_quick_runs_to_its_end(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def one_turn(*functions: Callable[[], object], **options: object) -> list[float]:
        for function in functions:
            function()
        return [1.0] * len(functions)

    changes, expected = CASES[name]
    module = importlib.import_module(f"bench.{name}")
    for constant, value in changes.items():
        monkeypatch.setattr(module, constant, value)
    if hasattr(module, "best_seconds"):
        monkeypatch.setattr(module, "best_seconds", one_turn)
    monkeypatch.setattr(jackknife, "MIN_SPEAKERS", jackknife.MIN_SPEAKERS)  # coverage.py changes it
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--quick"])
    module.main()
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(figures) == expected and all(figure["seconds"] >= 0 for figure in figures)


@pytest.mark.slow
def test_both_forms_of_a_head_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collectives, "SPEAKERS", 5_000)
    collectives.work(0, 1, tmp_path / "meeting", [(32, 256)], turns=1)
    assert not dist.is_initialized()
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(figures) == 2 * len(collectives.HEADS)
    assert [figure["rounds"] for figure in figures[::2]] == [2, 3, 3, 3, 3, 3]


def test_turns_share_the_time_and_the_first_only_warms_up() -> None:
    calls: list[str] = []
    clock = iter(range(100))
    best = common.best_seconds(
        lambda: calls.append("a"), lambda: calls.append("b"), budget=0.0, least=2, clock=lambda: float(next(clock))
    )
    assert calls == ["a", "b"] * 3 and best == [1.0, 1.0]
