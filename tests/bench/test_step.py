"""bench/step.py with small steps: shares of a step with every kind of work, and all modes."""

import json
from collections.abc import Callable

import pytest

from bench import common, step


def at_once(*functions: Callable[[], object], budget: float, clock: Callable[[], float]) -> list[float]:
    return common.best_seconds(*functions, budget=0.0, least=1, clock=clock)


@pytest.mark.slow
def test_shares_of_a_step_make_one_and_modes_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["step.py", "--quick"])
    monkeypatch.setattr(step, "BATCH", {"resnet_small": 2})
    monkeypatch.setattr(step, "FRAMES", 40)
    monkeypatch.setattr(step, "best_seconds", at_once)
    step.main()
    plain, *others = map(json.loads, capsys.readouterr().out.splitlines())
    modes = ["channels_last", "bf16", "bf16, channels_last"]
    assert [row["case"] for row in (plain, *others)] == [f"resnet_small, {mode}" for mode in ("fp32", *modes)]
    shares = {name.removeprefix("share: "): share for name, share in plain.items() if name.startswith("share: ")}
    assert shares.keys() == {*step.KINDS, "rest"} and all(share > 0 for share in shares.values())  # names as torch's
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert plain["operators"] > 100 and plain["seconds"] > 0 and all(row["ratio"] > 0 for row in others)
