"""Start the processes of a training, on one machine or several, with torch's elastic agent, as torchrun does.

Each node, a machine or a task of a scheduler, runs the same command with its own number. Node 1 hosts the store where
the nodes meet, and writes its address to a file that all nodes can read. When a process or a node is lost, all nodes
meet again, and their new processes continue from the last checkpoint; the scheduler's retries bring a lost node back.
torch's `max_restarts` is 0, since torch would also restart after a user's error.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.distributed import DistError
from torch.distributed.elastic import rendezvous
from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException

from sv.errors import UserError, log
from sv.io import atomic_write
from sv.training.distributed import PeersLost

_PATIENCE_H = 12  # hours, for nodes that wait in the queue
_RESTARTS = 3  # of a node's processes; then its task ends, and the scheduler's retries begin
_LAST_NODE_S = 30.0  # how long a node that has finished waits for the others


@dataclass(frozen=True)
class Nodes:
    """The nodes of one training.

    Attributes:
        count: number of nodes.
        number: number of this node, from 1.
        meeting: file with the address of node 1.
        final: the last model; once it exists the training is complete, whatever happens to a process.
    """

    count: int
    number: int
    meeting: Path
    final: Path


def launch(command: Sequence[str], num_procs: int, nodes: Nodes) -> None:
    """Run a Python command in several processes, here and on the other nodes, until all have succeeded.

    Raises:
        UserError: a signal ended this process or one that it started; or a node did not come.
        SystemExit: with status 1, if a process failed and has printed why.
    """
    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.addHandler(logging.NullHandler())  # its messages are for developers
    elastic.propagate = False
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # processes would get its first address, which changes
    while nodes.count == 1 or not nodes.final.is_file():  # a single node's process reports completion itself
        try:
            return _run(command, num_procs, nodes)
        except SignalException as error:
            raise UserError(f"ended by {error.sigval.name}; the same command continues") from None
        except rendezvous.RendezvousTimeoutError:
            message = f"fewer than {nodes.count} nodes came within {_PATIENCE_H:g} h; look at the queue"
            raise UserError(message) from None
        except (rendezvous.RendezvousError, DistError):
            if nodes.number == 1:
                raise
            log.warning("node 1 is gone; waiting for it")
        finally:
            if nodes.number == 1:
                nodes.meeting.unlink(missing_ok=True)


def _run(command: Sequence[str], num_procs: int, nodes: Nodes) -> None:
    """Start the processes, and start them again when some are lost, here or on another node."""
    meeting = rendezvous.RendezvousParameters(
        backend="c10d",
        endpoint=_address(nodes),
        run_id="training",
        min_nodes=nodes.count,
        max_nodes=nodes.count,
        is_host=nodes.number == 1,
        join_timeout=int(3600 * _PATIENCE_H),
    )
    spec = WorkerSpec(
        role="training",
        local_world_size=num_procs,
        rdzv_handler=rendezvous.rendezvous_handler_registry.create_handler(meeting),
        entrypoint=sys.executable,
        args=("-u", *command),
        max_restarts=0,
        monitor_interval=0.1,
    )
    for restarts_left in range(_RESTARTS if nodes.count > 1 else 0, -1, -1):
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            logs = DefaultLogsSpecs(log_dir=folder)
            result = LocalElasticAgent(spec, logs, exit_barrier_timeout=_LAST_NODE_S).run()
        if not result.is_failed() or nodes.final.is_file():
            return
        mistaken = any(0 < failure.exitcode != PeersLost.exit_status for failure in result.failures.values())
        if mistaken or not restarts_left:
            break
        log.warning("training processes were lost; going on from the last checkpoint when all nodes are here")
    rank, failure = min(result.failures.items(), key=lambda item: item[1].timestamp)
    if failure.exitcode > 0:
        sys.exit(1)
    name = signal.Signals(-failure.exitcode).name
    lack = ", with a smaller dataloader_args.batch_size if memory ran out (dmesg tells)" if name == "SIGKILL" else ""
    raise UserError(f"training process {rank} was ended by {name}; the same command continues{lack}")


def _address(nodes: Nodes) -> str:
    """Return where node 1 hosts the store; wait until it answers, since a killed node 1 leaves its old address."""
    if nodes.count == 1:
        return "localhost:0"
    if nodes.number == 1:
        with socket.create_server(("", 0)) as free, atomic_write(nodes.meeting) as f:
            address = f"{socket.getfqdn()}:{free.getsockname()[1]}"
            f.write(address)
        return address
    give_up = time.monotonic() + 3600 * _PATIENCE_H
    while time.monotonic() < give_up:
        with suppress(OSError, ValueError):
            host, port = nodes.meeting.read_text().split(":")
            socket.create_connection((host, int(port)), timeout=5).close()
            return f"{host}:{port}"
        time.sleep(1)
    raise UserError(f"node 1 wrote no address to {nodes.meeting} within {_PATIENCE_H:g} h; is it running?")
