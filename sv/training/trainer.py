"""The training loop: steps, epochs, and the state that lets a killed training go on as if nothing had happened."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sv.config import Config
from sv.data import Batch, Loader
from sv.errors import UserError, log
from sv.jobs.bad_utts import BadUtts
from sv.training import rng
from sv.training.checkpoint import Checkpoints, save_tensors
from sv.training.distributed import World
from sv.training.divergence import NonFiniteGuard
from sv.training.heldout import HeldoutTest
from sv.training.monitor import Clock, Meter, Monitor
from sv.training.network import SpeakerNet
from sv.training.optimizer import build_optimizer, match_layout
from sv.training.schedules import LearningRate, Margin
from sv.training.split_head import own_optimizer, whole_optimizer

_CHECK_STEPS = 20  # where a check waits for a GPU or for other processes
_SMALLEST_SCALE = 1e-6
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Place:
    """How far a training is.

    Attributes:
        epoch: the current one, from 1 as in WeSpeaker; num_epochs + 1 when all is done.
        step_in_epoch: steps done in it.
        step: steps done in all.
        best_eer, best_epoch: of the held-out speakers; infinite and 0 before the first.
    """

    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    best_eer: float = float("inf")
    best_epoch: int = 0


class Trainer:
    """Trains a network; every process of a training has one.

    Args:
        config: resolved.
        net: on the world's device.
        loader: its batches.
        world: the processes.
        learning_rate, margin: of each step.
        heldout: the test on held-out speakers, if there are any.
        guard: against a loss that is not finite.
        bad: what the loader's threads could not read.
        exp_dir: gets models/ and checkpoints/.
        facts: what a checkpoint holds beside the state: configuration, fingerprint of the data, threads, ...
    """

    def __init__(
        self,
        config: Config,
        net: SpeakerNet,
        loader: Loader,
        world: World,
        *,
        learning_rate: LearningRate,
        margin: Margin,
        heldout: HeldoutTest | None,
        guard: NonFiniteGuard,
        bad: BadUtts,
        exp_dir: Path,
        facts: dict[str, Any],
    ) -> None:
        self.config, self.net, self.loader, self.world = config, net, loader, world
        self.learning_rate, self.margin, self.heldout, self.guard = learning_rate, margin, heldout, guard
        self.bad, self.bad_list = bad, exp_dir / "bad_utts"
        self.models, self.facts = exp_dir / "models", facts
        self.checkpoints = Checkpoints(exp_dir / "checkpoints", config.keep_checkpoints)
        self.place = Place()
        self.meter, self.clock = Meter(world), Clock()
        self.optimizer = build_optimizer(net, config)
        self.scaler = _make_scaler(world, net.head.part is not None, enabled=config.precision == "fp16")
        self.steps_per_epoch = loader.sampler.steps
        self._parallel: nn.Module = net
        if net.head.part is not None:  # its rows are of this process alone, and its other gradients are summed already
            net.wrap_backbone(lambda encoder: DistributedDataParallel(encoder, broadcast_buffers=False))
        elif world.size > 1:
            self._parallel = DistributedDataParallel(net, broadcast_buffers=False)
        self._check_every = 1 if world.size == 1 and world.device.type == "cpu" else _CHECK_STEPS
        self._saved_at, self._stop = time.monotonic(), threading.Event()

    def fit(self, monitor: Monitor | None) -> None:
        """Train from `place` to the end.

        Args:
            monitor: of the main process.

        Raises:
            UserError: a loss is not finite; or SIGTERM came, after which the state is saved.
        """
        self.monitor = monitor
        with _on_sigterm(self._stop):
            if self.place.step == 0:
                self._save_model("model_0.pt")  # what training is compared with
            while self.place.epoch <= self.config.num_epochs:
                self.net.train()
                self._run_epoch()
                self._end_epoch()

    def _run_epoch(self) -> None:
        self.clock.start("epoch", "interval")
        batches = self.loader.epoch(self.place.epoch, self.place.step_in_epoch)
        for batch in self.clock.waiting(batches):
            self._step(batch)
            if self.place.step_in_epoch == self.steps_per_epoch:
                continue
            if self.place.step_in_epoch % self.config.log_batch_interval == 0:
                self._record("step", {**self.meter.read_interval(), **self.clock.rates("interval")})
                self.clock.start("interval")
            if self.place.step % self._check_every == 0:
                self._check()

    def _step(self, batch: Batch) -> None:
        place = self.place
        lr, margin = self.learning_rate(place.step), self.margin(place.step)
        batch = batch.to(self.world.device)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss, losses, correct = self._parallel(batch.features, batch.speaker, margin)
        self.scaler.scale(loss).backward()
        norm = self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        place.step += 1
        place.step_in_epoch += 1
        self.guard.note(place.epoch, place.step, batch.utts, losses, None if self.scaler.is_enabled() else norm)
        self.meter.add(losses, correct)
        self.clock.count(len(batch.utts) * self.world.size)
        if self.monitor is not None and self.monitor.advance(place.epoch, place.step_in_epoch) and self.world.size == 1:
            self.monitor.show({**self.meter.read(), **self.clock.rates("epoch"), "lr": lr, "margin": margin})

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        return torch.autocast(self.world.device.type, _DTYPES.get(precision), enabled=precision in _DTYPES)

    def _clip(self) -> Tensor:
        """Norm of the whole gradient, which is clipped if the configuration says so; 0-d."""
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.net.parameters() if p.grad is not None]
        rows = self.net.split_parameters()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None and id(p) not in rows])
        if rows:  # those of the other processes count as well
            own = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None and id(p) in rows])
            norm = (norm.square() + self.world.sum(own.square())).sqrt()
        if self.config.clip_grad_norm > 0:
            nn.utils.clip_grads_with_norm_(parameters, self.config.clip_grad_norm, norm)
        return norm

    def _check(self) -> None:
        """Stop on a bad loss; save when it is time, or when asked to stop."""
        problem = self._problem()
        due = self.world.is_main and time.monotonic() - self._saved_at >= 60 * self.config.save_minutes
        bad, due, stop = self.world.any_of(problem is not None, due, self._stop.is_set())
        if bad:
            raise UserError(min(found for found in self.world.gather(problem) if found)[1])
        if self.place.step_in_epoch == self.steps_per_epoch:  # the epoch's end saves when all of it is done
            return
        if due or stop:
            self._save()
        if stop:
            raise UserError(f"ended by SIGTERM at step {self.place.step}, which is saved; the same command continues")

    def _problem(self) -> tuple[int, str] | None:
        """What makes going on useless: how exact the description is (0 most), and the description."""
        if self.scaler.is_enabled() and self.scaler.get_scale() < _SMALLEST_SCALE:
            return 1, f"fp16 gradients overflow at any scale (step {self.place.step}); use precision bf16 or fp32"
        return self.guard.find()

    def _end_epoch(self) -> None:
        place = self.place
        self._check()
        rates = self.clock.rates("epoch")
        heldout_eer = self._measure()
        if is_model_due(self.config, place.epoch):
            self._save_model(f"model_{place.epoch}.pt")
        if heldout_eer is not None and heldout_eer < place.best_eer:
            place.best_eer, place.best_epoch = heldout_eer, place.epoch
            self._save_model("best.pt")
        extra = {} if heldout_eer is None else {"heldout_eer": heldout_eer, "best_epoch": place.best_epoch}
        drawn = self.loader.statistics(place.epoch)
        if drawn:
            log.info("drawn: %s", ", ".join(f"{name} {value:.4g}" for name, value in drawn.items()))
        self._record("epoch", {**self.meter.read(), **rates, **extra, **drawn})
        self.meter.reset()
        place.epoch, place.step_in_epoch = place.epoch + 1, 0
        self._save()
        if place.epoch <= self.config.num_epochs and self.world.any_of(self._stop.is_set())[0]:
            raise UserError(
                f"ended by SIGTERM after epoch {place.epoch - 1}, which is saved; the same command continues"
            )

    def _measure(self) -> float | None:
        """EER of the held-out speakers in percent, in the epochs in which it is due."""
        epoch = self.place.epoch
        if self.heldout is None or (epoch % self.config.eval_epoch_interval and epoch < self.config.num_epochs):
            return None
        self.world.broadcast_buffers(self.net)
        self.net.eval()
        return self.heldout.eer(self.net.backbone, self.world)

    def _save_model(self, name: str) -> None:
        if self.world.is_main or self.net.head.part is not None:
            state = self.net.flat_state()
        if self.world.is_main:
            save_tensors(state, self.models / name)

    def _record(self, kind: str, values: dict[str, float]) -> None:
        place, last = self.place, self.place.step - 1
        if self.monitor is not None:
            now = {"epoch": place.epoch, "batch": place.step_in_epoch, "step": place.step}
            self.monitor.record(kind, {**now, "lr": self.learning_rate(last), "margin": self.margin(last), **values})

    def _save(self) -> None:
        """Write the whole state; all processes take part."""
        state = self.state()
        if self.world.is_main:
            if self.monitor is not None:
                self.monitor.flush()
            self.checkpoints.save(self.place.step, state)
        self._saved_at = time.monotonic()
        self.bad.add(state["bad_utts"])
        if self.world.is_main:
            self.bad.write(self.bad_list)

    def state(self) -> dict[str, Any]:
        """All that decides the rest of the training, as tensors and plain values."""
        return {
            "model": self.net.flat_state(),
            "optimizer": whole_optimizer(self.optimizer, self.net.head),
            "scaler": self.scaler.state_dict(),
            "rng": self.world.gather(rng.get_state()),
            "place": asdict(self.place),
            "meter": self.meter.state(),
            "bad_utts": {utt: why for found in self.world.gather(dict(self.bad.why)) for utt, why in found.items()},
            "schedules": {"lr": self.learning_rate(self.place.step), "margin": self.margin(self.place.step)},
            **self.facts,
        }

    def load_state(self, state: dict[str, Any], where: str) -> None:
        """Go on from what `state` gave; the number of processes may be another."""
        self.net.load_flat(state["model"], where)
        self.optimizer.load_state_dict(own_optimizer(self.optimizer, self.net.head, state["optimizer"]))
        match_layout(self.optimizer)
        self.scaler.load_state_dict(state["scaler"])
        if self.world.rank < len(state["rng"]):
            rng.set_state(state["rng"][self.world.rank])
        self.place = Place(**state["place"])
        self.bad.why |= state["bad_utts"]
        if self.world.is_main:  # it holds the sums of all processes
            self.meter.load_state(state["meter"])
        log.info("continuing at epoch %d, step %d (%s)", self.place.epoch, self.place.step, where)


def is_model_due(config: Config, epoch: int) -> bool:
    """Whether an epoch's model is kept, as WeSpeaker does: every few epochs, and the last ones, which are averaged."""
    return epoch % config.save_epoch_interval == 0 or epoch > config.num_epochs - config.num_avg


def _make_scaler(world: World, split_head: bool, *, enabled: bool) -> torch.GradScaler:
    """With a split head, one that asks all processes for infinities: only one may have them among its rows."""
    if not (split_head and enabled):
        return torch.GradScaler(world.device.type, enabled=enabled)
    from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler  # takes a second to import

    return ShardedGradScaler(world.device.type)


@contextmanager
def _on_sigterm(stop: threading.Event) -> Iterator[None]:
    """Set `stop` when SIGTERM comes, as schedulers send it before they kill."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
