"""Start processes and nodes, also when some are lost; see also tests/cluster/test_nodes.py."""

from functools import partial

import pytest

from sv.errors import UserError
from sv.training import launcher
from sv.training.distributed import PeersLost
from sv.training.launcher import Nodes, launch

# Counts its calls in a file, and ends by a signal or with a status in the first one.
LOST_ONCE = """
import os, pathlib, time
calls, end = pathlib.Path({calls!r}), {end!r}
calls.open("a").write("x")
if calls.read_text() == "x":
    time.sleep(1)  # until the other node's process runs
    os.kill(os.getpid(), 9) if end == "killed" else os._exit(end)
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Undo what `launch` sets."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "0")


def nodes(folder, count, number):
    return Nodes(count, number, folder / "rendezvous", folder / "final")


def launch_impatiently(*args):
    """`launch`, for whom the other node is late after three seconds of its end, not thirty."""
    launcher._LAST_NODE_S = 3.0
    launch(*args)


@pytest.fixture
def launch_two(with_torch):
    return partial(launch_on_nodes, with_torch)


def launch_on_nodes(context, folder, *scripts):
    """Run a script on each of two nodes, and return the exit statuses of their launchers."""
    processes = [
        context.Process(target=launch_impatiently, args=(["-c", script], 1, nodes(folder, 2, number)))
        for number, script in enumerate(scripts, start=1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    return [process.exitcode for process in processes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "message"),
    [(1, "fewer than 2 nodes came within"), (2, "node 1 wrote no address to .*rendezvous")],
)
def test_a_node_that_nobody_joins_says_so(tmp_path, monkeypatch, number, message):
    monkeypatch.setattr(launcher, "_PATIENCE_H", 2 / 3600)
    with pytest.raises(UserError, match=message):
        launch(["-c", "pass"], 1, nodes(tmp_path, 2, number))
    assert not list(tmp_path.iterdir())


def test_an_old_address_is_not_believed(tmp_path, monkeypatch):
    """A killed node 1 leaves it; nothing listens there."""
    monkeypatch.setattr(launcher, "_PATIENCE_H", 1.5 / 3600)
    (tmp_path / "rendezvous").write_text("localhost:1")
    with pytest.raises(UserError, match="node 1 wrote no address"):
        launch(["-c", "pass"], 1, nodes(tmp_path, 2, 2))


def test_a_node_that_comes_when_all_is_done_does_not_wait(tmp_path):
    (tmp_path / "final").touch()
    launch(["-c", "raise SystemExit(3)"], 1, nodes(tmp_path, 2, 2))


@pytest.mark.slow
def test_a_killed_process_ends_those_of_a_single_node_and_is_named(tmp_path):
    script = "import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(600)"
    with pytest.raises(UserError, match="training process 1 was ended by SIGKILL; the same command continues"):
        launch(["-c", script], 2, nodes(tmp_path, 1, 1))


@pytest.mark.slow
def test_a_lost_process_brings_all_nodes_back_to_the_start(launch_two, tmp_path):
    ends = ["killed", PeersLost.exit_status]
    scripts = [LOST_ONCE.format(calls=str(tmp_path / f"calls{end}"), end=end) for end in ends]
    assert launch_two(tmp_path, *scripts) == [0, 0]
    assert [(tmp_path / f"calls{end}").read_text() for end in ends] == ["xx", "xx"]
    assert not (tmp_path / "rendezvous").exists()


@pytest.mark.slow
def test_a_mistake_is_not_repeated(launch_two, tmp_path):
    calls, final = tmp_path / "calls", tmp_path / "final"
    mistaken = LOST_ONCE.format(calls=str(calls), end=1)
    other = f"import os, pathlib, time; time.sleep(6); pathlib.Path({str(final)!r}).touch(); os._exit(75)"
    assert launch_two(tmp_path, other, mistaken) == [0, 1]
    assert calls.read_text() == "x"


@pytest.mark.slow
@pytest.mark.parametrize("aborting", [1, 2])
def test_a_process_that_aborts_when_all_is_done_is_not_waited_for(launch_two, tmp_path, aborting):
    """The other node ends well, and does not come back."""
    abort = f"import os, pathlib; pathlib.Path({str(tmp_path / 'final')!r}).touch(); os.abort()"
    scripts = [abort if number == aborting else "pass" for number in (1, 2)]
    assert launch_two(tmp_path, *scripts) == [0, 0]
