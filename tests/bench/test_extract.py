"""bench/extract.py on noise: what it compares gives the same embeddings."""

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import bench.extract
from bench.extract import ceiling, make_data, measure, share
from sv.io import read_table


def test_each_file_stands_as_often_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SV_CORPORA", "")
    frames = read_table(make_data(tmp_path, 2, copies=3) / "utt2num_frames")
    assert len(frames) == 6 and len(set(frames.values())) == 2


def test_the_ceiling_is_convolutions_and_products_alone() -> None:
    class Counted(nn.ReLU):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Counted.calls += 1
            return super().forward(x)

    conv, linear = nn.Conv1d(8, 4, 3), nn.Linear(5, 2)
    inputs: list[tuple[int, ...]] = []
    run = ceiling(nn.Sequential(conv, Counted(), linear), torch.zeros(1, 8, 7))
    for layer in (conv, linear):
        layer.register_forward_pre_hook(lambda _, x: inputs.append(tuple(x[0].shape)))
    run()
    assert inputs == [(1, 8, 7), (1, 4, 5)] and Counted.calls == 1


def test_processes_share_the_utterances_in_successive_parts(tmp_path: Path) -> None:
    def embed(rows: range) -> None:
        assert rows.step == 1
        for row in rows:
            (tmp_path / f"{row} of {len(rows)}").touch()

    share(embed, range(5), 2)()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0 of 2", "1 of 2", "2 of 3", "3 of 3", "4 of 3"]


@pytest.mark.parametrize(("words", "expected"), [(["--quick"], [(1, 1)]), ([], [(2, 1), (4, 1), (1, 3)])])
def test_quick_is_one_thread(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[tuple[int, int]]
) -> None:
    modes: list[tuple[int, int]] = []
    monkeypatch.setattr("sys.argv", ["extract.py", "--models", "XVEC", "--threads", "2,4", "--processes", "3", *words])
    monkeypatch.setattr(bench.extract, "log", logging.getLogger("unused"))
    monkeypatch.setattr(bench.extract, "make_data", lambda folder, utts: folder)
    monkeypatch.setattr(
        bench.extract, "measure", lambda name, data, threads, budget, processes: modes.append((threads, processes))
    )
    bench.extract.main()
    assert modes == expected


@pytest.mark.slow
def test_both_back_ends_give_the_same_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setenv("SV_CORPORA", "")
    measure("XVEC", make_data(tmp_path, 3), threads=1, budget=0.0)
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [figure["case"].split(", ")[2] for figure in figures] == ["torch", "onnxruntime", "onnxruntime"]
    assert float(figures[1]["cosine"].removeprefix("1 - ")) < 1e-4
    assert all(figure["ratio"] > 0 for figure in figures[:2]) and figures[2]["floor_ratio"] > 0
