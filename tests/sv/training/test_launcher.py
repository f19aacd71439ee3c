"""How nodes meet; what they then do is in tests/cluster/test_nodes.py."""

import multiprocessing
from datetime import timedelta

import pytest

from sv.errors import UserError
from sv.training import launcher
from sv.training.launcher import Nodes, launch


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """`launch` sets it; undone afterwards."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "message"), [(1, "not all of 2 nodes have come in 0:00:02"), (2, "the first of 2 nodes left no address")]
)
def test_a_node_that_nobody_joins_says_so(tmp_path, monkeypatch, number, message):
    monkeypatch.setattr(launcher, "_PATIENCE", timedelta(seconds=2))
    with pytest.raises(UserError, match=message):
        launch(["-c", "pass"], 1, Nodes(2, number, tmp_path / "rendezvous", tmp_path / "final"))
    assert not list(tmp_path.iterdir())


def test_an_old_address_is_not_believed(tmp_path, monkeypatch):
    """As a first node that was killed leaves it; nothing listens there."""
    monkeypatch.setattr(launcher, "_PATIENCE", timedelta(seconds=1.5))
    (tmp_path / "rendezvous").write_text("localhost 1 abc\n")
    with pytest.raises(UserError, match="the first of 2 nodes left no address"):
        launch(["-c", "pass"], 1, Nodes(2, 2, tmp_path / "rendezvous", tmp_path / "final"))


def test_a_node_that_comes_when_all_is_done_does_not_wait(tmp_path):
    (tmp_path / "final").touch()
    launch(["-c", "raise SystemExit(3)"], 1, Nodes(2, 2, tmp_path / "rendezvous", tmp_path / "final"))


@pytest.mark.slow
@pytest.mark.parametrize("aborting", [1, 2])
def test_a_process_that_aborts_when_all_is_done_is_not_waited_for(tmp_path, aborting):
    """The other node ends well, and does not come back."""
    ends = {
        aborting: f"import os, pathlib; pathlib.Path({str(tmp_path / 'final')!r}).touch(); os.abort()",
        3 - aborting: "pass",
    }
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=launch, args=(["-c", ends[n]], 1, Nodes(2, n, tmp_path / "rendezvous", tmp_path / "final"))
        )
        for n in (1, 2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
