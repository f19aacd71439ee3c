"""Starts the processes of a training on one machine or on several, by torch's elastic agent (what torchrun is).

Each node, a machine or a task of a scheduler, runs the same command with a number of its own. The first one holds the
store at which all meet, and leaves its address in a file on the filesystem that they share: nobody writes one by hand.
When a process or a node is lost, the agents that are left start their processes again, as soon as the lost node is back
(the scheduler's retries bring it), and training goes on from its last checkpoint.
"""

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousTimeoutError
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from sv.errors import UserError, log
from sv.io import atomic_write
from sv.training.distributed import PeersLost

_PATIENCE = timedelta(hours=12)  # of a node that has begun, for those that wait in the queue
_RESTARTS = 3  # of a node's processes; then its task ends, and the scheduler's retries begin
_STORE_TIMEOUT = timedelta(seconds=60)
_PROBE_S = 5.0
_POLL_S = 1.0


@dataclass(frozen=True)
class Nodes:
    """The nodes of one training.

    Attributes:
        count: how many there are.
        number: which one this is, from 1.
        meeting: the file in which the first one leaves its address; not used by a single node.
        final: the file with which the training is complete; a process lost after that is not started again.
    """

    count: int
    number: int
    meeting: Path
    final: Path


def launch(command: Sequence[str], num_procs: int, nodes: Nodes) -> None:
    """Run a Python command in several processes, here and on the other nodes, until all of them have ended well.

    Raises:
        UserError: a signal ended this process or one of those; other nodes gave up, or never came.

    Ends this process with status 1 if one of its processes has a mistake to tell; it has told it.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    if nodes.count > 1:  # else torch's agents use the address of the first round for ever, which a new node never gets
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    past = ""
    while nodes.count == 1 or not nodes.final.is_file():  # a single node's process says itself that all is done
        with _meet(nodes, past) as (store, run_id), TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            agent = _Agent.make(command, num_procs, nodes, store, run_id, folder)
            try:
                result = agent.run()
            except SignalException as error:
                raise UserError(f"ended by {error.sigval.name}; the same command continues") from None
            except RendezvousTimeoutError:
                raise UserError(f"not all of {nodes.count} nodes have come in {_PATIENCE}; look at the queue") from None
            except (RendezvousError, DistError):
                if agent.has_begun and not nodes.final.is_file():
                    raise UserError("another node of this training has ended; the end of its log says why") from None
                past = run_id  # that of a training which is just ending
            else:
                return _tell_failure(result)
            finally:
                agent.leave()


class _Agent(LocalElasticAgent):
    """Starts the processes of this node, and starts them again when some are lost, here or elsewhere."""

    has_begun = False
    final: Path

    @classmethod
    def make(
        cls, command: Sequence[str], num_procs: int, nodes: Nodes, store: TCPStore, run_id: str, folder: str
    ) -> "_Agent":
        meeting = DynamicRendezvousHandler.from_backend(
            run_id,
            store,
            C10dRendezvousBackend(store, run_id),
            min_nodes=nodes.count,
            max_nodes=nodes.count,
            timeout=RendezvousTimeout(join=_PATIENCE),
        )
        spec = WorkerSpec(
            role="default",
            local_world_size=num_procs,
            rdzv_handler=meeting,
            entrypoint=sys.executable,
            args=("-u", *command),
            max_restarts=_RESTARTS if nodes.count > 1 else 0,
            monitor_interval=0.1,
        )
        agent = cls(spec, logs_specs=DefaultLogsSpecs(log_dir=folder))
        agent.final = nodes.final
        return agent

    def leave(self) -> None:
        """Tell the other nodes that this one does not come back."""
        self._worker_group.spec.rdzv_handler.shutdown()

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self.has_begun = True
        return super()._start_workers(worker_group)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if any(0 < failure.exitcode != PeersLost.exit_status for failure in result.failures.values()):
            self._remaining_restarts = 0  # a mistake, which a restart would meet again
        elif result.is_failed() and self.final.is_file():
            ranks = (worker.global_rank for worker in worker_group.workers)
            return RunResult(WorkerState.SUCCEEDED, dict.fromkeys(ranks))  # whatever became of a process after its work
        return result

    def _restart_workers(self, worker_group: WorkerGroup) -> None:
        log.warning("training processes were lost; going on from the last checkpoint when all nodes are here")
        super()._restart_workers(worker_group)


@contextmanager
def _meet(nodes: Nodes, past: str) -> Iterator[tuple[TCPStore, str]]:
    """The store of all nodes, and the id of this meeting, which is not `past`."""
    if nodes.number > 1:
        yield _find_store(nodes, past)
        return
    host, run_id = socket.getfqdn() if nodes.count > 1 else "localhost", uuid.uuid4().hex
    store = TCPStore(host, 0, is_master=True, timeout=_STORE_TIMEOUT, wait_for_workers=False)
    if nodes.count == 1:
        yield store, run_id
        return
    with atomic_write(nodes.meeting) as f:
        f.write(f"{host} {store.port} {run_id}\n")
    try:
        yield store, run_id
    finally:
        nodes.meeting.unlink(missing_ok=True)


def _find_store(nodes: Nodes, past: str) -> tuple[TCPStore, str]:
    """Wait for the first node's address, and for an answer there: a killed one leaves an old address behind."""
    give_up = time.monotonic() + _PATIENCE.total_seconds()
    while time.monotonic() < give_up:
        words = nodes.meeting.read_text().split() if nodes.meeting.is_file() else []
        if len(words) == 3 and words[2] != past and _answers(words[0], int(words[1])):
            return TCPStore(words[0], int(words[1]), is_master=False, timeout=_STORE_TIMEOUT), words[2]
        time.sleep(_POLL_S)
    raise UserError(f"the first of {nodes.count} nodes left no address in {nodes.meeting} in {_PATIENCE}")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_PROBE_S).close()
    except OSError:
        return False
    return True


def _tell_failure(result: RunResult) -> None:
    if not result.is_failed():
        return
    rank, failure = min(result.failures.items(), key=lambda item: item[1].timestamp)
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        raise UserError(f"training process {rank} was ended by {name}; the same command continues")
    sys.exit(1)
