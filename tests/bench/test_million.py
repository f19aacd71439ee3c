"""bench/million.py with a few speakers, in this process."""

import argparse
import json
from pathlib import Path

import pytest

from bench.million import DIM, MIB, work


@pytest.mark.slow
def test_memory_is_predicted_from_the_weight_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work(0, argparse.Namespace(speakers=5000, procs=1, steps=2, batch=2), tmp_path / "meeting")
    figure = json.loads(capsys.readouterr().out)
    assert figure["case"] == "5000 speakers, 1 processes, batch 2 each, 2 steps"
    assert figure["predicted_mib"] - figure["built_mib"] == pytest.approx(2 * 5000 * DIM * 4 / MIB, abs=1)
    assert figure["peak_mib"] >= figure["built_mib"] and figure["floor_ratio"] > 0
