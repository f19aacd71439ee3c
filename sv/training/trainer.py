"""The training loop: steps, epochs, and the state from which a killed training continues with the same bits."""

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

from sv.config import Config
from sv.data import Batch, Loader
from sv.errors import UserError, log, tell
from sv.jobs.bad_utts import BadUtts
from sv.jobs.gpus import send
from sv.losses import loss_options
from sv.training.averaging import is_model_due
from sv.training.checkpoint import Checkpoints, save_tensors
from sv.training.distributed import World
from sv.training.divergence import NonFiniteGuard, Progress
from sv.training.gpu import describe_gpu
from sv.training.heldout import HeldoutTest
from sv.training.monitor import Clock, Meter, Monitor
from sv.training.network import SpeakerNet
from sv.training.optimizer import build_optimizer, match_layout, set_learning_rate
from sv.training.parameter_groups import join_processes, set_frozen
from sv.training.pseudo_labels import PseudoLabels, PseudoUtts
from sv.training.schedules import Schedules
from sv.training.split_head import own_optimizer, whole_optimizer
from sv.training.teacher import TeacherEmbeddings

_CHECK_STEPS = 20  # where a check waits for a GPU or for other processes
_SMALLEST_SCALE = 1e-6
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Place:
    """The point that a training has reached.

    Attributes:
        epoch: the current one, from 1 as in WeSpeaker; num_epochs + 1 when all is done.
        step_in_epoch: steps done in this epoch.
        step: steps done in all.
        best_eer: lowest EER of the held-out speakers in percent; infinite before the first test.
        best_epoch: the epoch of `best_eer`; 0 before the first test.
    """

    epoch: int = 1
    step_in_epoch: int = 0
    step: int = 0
    best_eer: float = float("inf")
    best_epoch: int = 0


@dataclass(frozen=True)
class Inputs:
    """The data of a trainer: batches, and what is known about their utterances.

    Attributes:
        loader: this process's batches.
        bad: utterances that the loader could not read.
        guard: stops the training at a loss that is not finite, and names the utterances.
        heldout_test: the test on held-out speakers, if there are any.
        heldout: names of the held-out speakers.
        fingerprint: tells this data from other data.
        pseudo: what is known about labels from a clustering; None if all labels count alike.
        teacher: embeddings to learn; None if there is no teacher.
    """

    loader: Loader
    bad: BadUtts
    guard: NonFiniteGuard
    heldout_test: HeldoutTest | None
    heldout: list[str]
    fingerprint: str
    pseudo: PseudoUtts | None = None
    teacher: TeacherEmbeddings | None = None


class Trainer:
    """The loop that trains a network; every process of a training has one.

    Attributes:
        trouble: why the network did not seem to learn in the last epoch, or "".

    Args:
        config: resolved.
        net: the network, on the world's device.
        inputs: what to train on.
        schedules: learning rate and margin of each step.
        world: the processes.
        exp_dir: gets models/, checkpoints/, bad_utts and, with pseudo labels, pseudo_labels.
    """

    def __init__(
        self, config: Config, net: SpeakerNet, inputs: Inputs, schedules: Schedules, world: World, exp_dir: Path
    ) -> None:
        self.config, self.net, self.inputs, self.world = config, net, inputs, world
        self.loader, self.bad = inputs.loader, inputs.bad
        self.learning_rate, self.margin = schedules.learning_rate, schedules.margin
        self.bad_list, self.models, self.labels = (exp_dir / name for name in ("bad_utts", "models", "pseudo_labels"))
        self.pseudo = PseudoLabels(inputs.pseudo, net, config, world) if inputs.pseudo else None
        self.checkpoints = Checkpoints(exp_dir / "checkpoints", config.keep_checkpoints)
        self.place, self.trouble = Place(), ""
        self.progress = Progress(_num_answers(config))
        self.meter, self.clock = Meter(world), Clock()
        self.optimizer = build_optimizer(net, config)
        self.scaler = _make_scaler(world, net.head.part is not None, enabled=config.precision == "fp16")
        self.steps_per_epoch = self.loader.sampler.steps
        set_frozen(net, config.fine_tuning, self.place.epoch)
        self._parallel = join_processes(net, world)
        self._check_every = 1 if world.size == 1 and world.device.type == "cpu" else _CHECK_STEPS
        self._saved_at, self._stop = time.monotonic(), threading.Event()
        self._loss_told = False

    def fit(self, monitor: Monitor | None) -> None:
        """Train from `place` to the end.

        Args:
            monitor: records the training; None in other processes than the main one.

        Raises:
            UserError: a loss is not finite; or SIGTERM came, after which the state is saved.
        """
        self.monitor = monitor
        with _on_sigterm(self._stop):
            if self.place.step == 0:
                self._save_model("model_0.pt")  # what training is compared with
            while self.place.epoch <= self.config.num_epochs:
                if set_frozen(self.net, self.config.fine_tuning, self.place.epoch):
                    self._parallel = join_processes(self.net, self.world)
                    log.info("epoch %d: the pretrained part trains from now on", self.place.epoch)
                self.net.train()
                self._run_epoch()
                self._end_epoch()

    def _run_epoch(self) -> None:
        self.clock.start("epoch", "interval")
        batches = self.loader.epoch(self.place.epoch, self.place.step_in_epoch)
        for batch in self.clock.waiting(batches):
            self._step(batch)
            if not self._loss_told:
                self._tell_loss()
            if self.place.step_in_epoch == self.steps_per_epoch:
                continue
            if self.place.step_in_epoch % self.config.log_batch_interval == 0:
                self._record("step", {**self.meter.read_interval(), **self.clock.rates("interval")})
                self.clock.start("interval")
            if self.place.step % self._check_every == 0:
                self._check()

    def _tell_loss(self) -> None:
        """Log the loss after the first step, so that nobody waits for an epoch to see one; all processes call this."""
        self._loss_told, loss = True, self.meter.read()["loss"]
        if self.place.step == 1:
            self.progress.first_loss = loss
        if self.monitor is not None:
            tell("step %d: loss %.4g", self.place.step, loss)

    def _step(self, batch: Batch) -> None:
        place = self.place
        lr, margin = self.learning_rate(place.step), self.margin(place.step)
        batch, confidence = (batch, None) if self.pseudo is None else self.pseudo.relabel(batch)
        batch, confidence = batch.to(self.world.device), confidence and confidence.to(self.world.device)
        set_learning_rate(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            output = self._parallel(batch.features, batch.speaker, margin, confidence, self._target(batch))
        loss, losses, correct, label_losses = output
        self.scaler.scale(loss).backward()
        norm = self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        place.step += 1
        place.step_in_epoch += 1
        self.inputs.guard.note(place.epoch, place.step, batch.utts, losses, None if self.scaler.is_enabled() else norm)
        self.meter.add(losses, correct)
        if self.pseudo is not None:
            self.pseudo.note(batch, label_losses, self.net)
        self.clock.count(len(batch.utts) * self.world.size)
        if self.monitor is not None and self.monitor.advance(place.epoch, place.step_in_epoch) and self.world.size == 1:
            self.monitor.show({**self.meter.read(), **self.clock.rates("epoch"), "lr": lr, "margin": margin})

    def _target(self, batch: Batch) -> Tensor | None:
        """Return the teacher's embeddings (batch, dim) of a batch; None without a teacher."""
        teacher = self.inputs.teacher
        return None if teacher is None else send(teacher.of(batch.utts), self.world.device)

    def _autocast(self) -> torch.autocast:
        precision = self.config.precision
        return torch.autocast(self.world.device.type, _DTYPES.get(precision), enabled=precision in _DTYPES)

    def _clip(self) -> Tensor:
        """Return the norm of the whole gradient, 0-d, and clip the gradient if the configuration says so."""
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.net.parameters() if p.grad is not None]
        rows = self.net.split_parameters()
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None and id(p) not in rows])
        if rows:  # the rows of the other processes count as well
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
        """Return why the training must stop, with how exact the reason is (0 is the most exact); None to go on."""
        if self.scaler.is_enabled() and self.scaler.get_scale() < _SMALLEST_SCALE:
            return 1, f"fp16 gradients overflow at any scale (step {self.place.step}); use precision bf16 or fp32"
        return self.inputs.guard.find()

    def _end_epoch(self) -> None:
        place = self.place
        self._check()
        rates = self.clock.rates("epoch")
        of_labels = self._end_pseudo_epoch()
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
        figures = self.meter.read()
        self._record("epoch", {**figures, **rates, **extra, **of_labels, **drawn})
        if self.world.device.type == "cuda" and self.world.is_main:
            log.info("%s", describe_gpu(self.world.device, rates["samples_per_second"]))
        self.trouble = self.progress.end_epoch(figures["loss"], figures["accuracy"], heldout_eer)
        if self.trouble and self.world.is_main:
            log.warning("epoch %d: the network does not seem to learn: %s", place.epoch, self.trouble)
        self.meter.reset()
        place.epoch, place.step_in_epoch = place.epoch + 1, 0
        self._save()
        if place.epoch <= self.config.num_epochs and self.world.any_of(self._stop.is_set())[0]:
            raise UserError(
                f"ended by SIGTERM after epoch {place.epoch - 1}, which is saved; the same command continues"
            )

    def _end_pseudo_epoch(self) -> dict[str, float]:
        """Decide which pseudo labels count in the next epoch, and write them; return figures for the record."""
        if self.pseudo is None:
            return {}
        figures = self.pseudo.end_epoch(self.place.epoch)
        if self.world.is_main:
            self.pseudo.write(self.labels)
        return figures

    def _measure(self) -> float | None:
        """Return the EER of the held-out speakers in percent; None in an epoch without a test."""
        epoch, test = self.place.epoch, self.inputs.heldout_test
        if test is None or (epoch % self.config.eval_epoch_interval and epoch < self.config.num_epochs):
            return None
        self.world.broadcast_buffers(self.net)
        self.net.eval()
        return test.eer(self.net.backbone, self.world)

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
        """Write the whole state; all processes call this."""
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
        """Return all that decides the rest of the training, as tensors and plain values; all processes call this."""
        return {
            "model": self.net.flat_state(),
            "optimizer": whole_optimizer(self.optimizer, self.net.head),
            "scaler": self.scaler.state_dict(),
            "rng": self.world.gather(_random_state()),
            "place": asdict(self.place),
            "progress": asdict(self.progress),
            "meter": self.meter.state(),
            "pseudo": self.pseudo and self.pseudo.state(),
            "bad_utts": {utt: why for found in self.world.gather(dict(self.bad.why)) for utt, why in found.items()},
            "schedules": {"lr": self.learning_rate(self.place.step), "margin": self.margin(self.place.step)},
            "config": self.config.model_dump(),
            "fingerprint": self.inputs.fingerprint,
            "heldout": self.inputs.heldout,
            "global_batch": self.learning_rate.global_batch,
            "processes": self.world.size,
            "threads": torch.get_num_threads(),
            "device": self.world.device.type,
            "torch": str(torch.__version__),
        }

    def load_state(self, state: dict[str, Any], where: str) -> None:
        """Go on from a result of `state`; the number of processes may differ.

        Args:
            state: what `state` returned.
            where: its origin, for errors and the log.
        """
        self.net.load_flat(state["model"], where)
        self.optimizer.load_state_dict(own_optimizer(self.optimizer, self.net.head, state["optimizer"]))
        match_layout(self.optimizer)
        self.scaler.load_state_dict(state["scaler"])
        if self.world.rank < len(state["rng"]):
            _set_random_state(state["rng"][self.world.rank])
        self.place = Place(**state["place"])
        self.progress = Progress(**state.get("progress", asdict(self.progress)))
        self.bad.why |= state["bad_utts"]
        if self.world.is_main:  # it holds the sums of all processes
            self.meter.load_state(state["meter"])
        if self.pseudo is not None:
            self.pseudo.load_state(state["pseudo"], where)
        tell("continuing at epoch %d, step %d (%s)", self.place.epoch, self.place.step, where)


def _num_answers(config: Config) -> int:
    """Return how many answers the accuracy chooses from: all speakers, or those of a batch, or its utterances."""
    args, options = config.dataloader_args, loss_options(config.loss, config.loss_args)
    if options.needs_teacher:
        return args.batch_size
    return args.batch_size // args.utts_per_speaker if options.compares_utterances else config.num_speakers or 1


def _make_scaler(world: World, split_head: bool, *, enabled: bool) -> torch.GradScaler:
    """Build the scaler of fp16 losses; with a split head one that looks for infinities in all processes' rows."""
    if not (split_head and enabled):
        return torch.GradScaler(world.device.type, enabled=enabled)
    from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler  # takes a second to import

    return ShardedGradScaler(world.device.type)


def _random_state() -> dict[str, Any]:
    """Return the random state of torch, from which dropout draws; nothing draws from those of numpy and Python."""
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return {"torch": torch.get_rng_state(), "cuda": gpu}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


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
