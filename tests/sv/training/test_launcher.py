"""How nodes meet; what they then do is in tests/cluster/test_nodes.py."""

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
