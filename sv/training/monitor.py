"""Show and record a training: progress bar, train.log, metrics.jsonl and TensorBoard, all with the same values."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from sv.errors import log, tell
from sv.io import atomic_write
from sv.io.progress import BAR
from sv.training.distributed import World

Item = TypeVar("Item")

_SHOW_STEPS = 10  # between updates of the values beside the bar, each of which waits for the device
_TOLD_PARTS = 10  # of a training, with a line each on the terminal of a recipe
_BESIDE_BAR = {"loss": "loss", "accuracy": "acc"}
_BAR_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
_COLUMNS = ("epoch", "batch", "lr", "margin", "loss", "acc", "utt/s", "wait")  # the first six are WeSpeaker's


class Meter:
    """Loss and accuracy of an epoch, and of the steps since they were last shown.

    Sums are kept on the device, so that no step waits for it. All processes must read together.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._sums = torch.zeros(2, dtype=torch.float64, device=world.device)  # loss, right answers
        self._samples = 0
        self._shown = torch.zeros(3, dtype=torch.float64)  # loss, right answers, samples when last shown

    def add(self, losses: Tensor, correct: Tensor) -> None:
        """Add a batch: (batch,) losses, (batch,) bool."""
        self._sums += torch.stack([losses.detach().sum(dtype=torch.float64), correct.sum(dtype=torch.float64)])
        self._samples += len(losses)

    def read(self) -> dict[str, float]:
        """Return the mean loss and the accuracy in percent of the epoch so far."""
        return _means(self._totals())

    def read_interval(self) -> dict[str, float]:
        """Return the mean loss and the accuracy in percent of the steps since the last call in this epoch."""
        totals = self._totals()
        shown, self._shown = self._shown, totals
        return _means(totals - shown)

    def reset(self) -> None:
        """Begin an epoch."""
        self._sums.zero_()
        self._shown.zero_()
        self._samples = 0

    def state(self) -> list[list[float]]:
        """Return the sums over all processes, as plain values."""
        return [self._totals().tolist(), self._shown.tolist()]

    def load_state(self, state: list[list[float]]) -> None:
        """Go on from a result of `state`; only one process calls this."""
        loss, correct, samples = state[0]
        self._sums.copy_(torch.tensor([loss, correct], dtype=torch.float64))
        self._samples = int(samples)
        self._shown = torch.tensor(state[1], dtype=torch.float64)

    def _totals(self) -> Tensor:
        """Return the sums of loss, right answers and samples over all processes, (3,) on the CPU."""
        samples = torch.tensor([float(self._samples)], dtype=torch.float64, device=self._sums.device)
        return self.world.sum(torch.cat([self._sums, samples])).cpu()


def _means(sums: Tensor) -> dict[str, float]:
    loss, correct, samples = sums.tolist()
    return {"loss": loss / max(samples, 1.0), "accuracy": 100 * correct / max(samples, 1.0)}


class Clock:
    """Stopwatch: samples per second, and the share of time spent waiting for data, each since a named start."""

    def __init__(self) -> None:
        self._waited, self._samples = 0.0, 0
        self._moments: dict[str, tuple[float, float, int]] = {}

    def start(self, *names: str) -> None:
        """Start counting under these names."""
        for name in names:
            self._moments[name] = (time.perf_counter(), self._waited, self._samples)

    def waiting(self, batches: Iterator[Item]) -> Iterator[Item]:
        """Yield the batches; the time until each arrives counts as waiting."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def count(self, samples: int) -> None:
        """Count samples of a step."""
        self._samples += samples

    def rates(self, since: str) -> dict[str, float]:
        """Return samples per second, and the share of time spent waiting, since the start of a name."""
        start, waited, samples = self._moments[since]
        passed = max(time.perf_counter() - start, 1e-9)
        return {
            "samples_per_second": round((self._samples - samples) / passed, 2),
            "data_wait": round((self._waited - waited) / passed, 4),
        }


class Monitor(AbstractContextManager["Monitor"]):
    """Records of a training, made by its main process only.

    Args:
        exp_dir: gets metrics.jsonl and tensorboard/.
        step: where training begins or continues; records of later steps are cut.
        num_epochs: number of epochs of the training.
        steps_per_epoch: batches.
        tensorboard: write TensorBoard's files, if it is installed.
    """

    def __init__(self, exp_dir: Path, *, step: int, num_epochs: int, steps_per_epoch: int, tensorboard: bool) -> None:
        self.num_epochs, self.steps_per_epoch = num_epochs, steps_per_epoch
        self._metrics_path = exp_dir / "metrics.jsonl"
        cut_metrics(self._metrics_path, step)
        self._metrics = open(self._metrics_path, "a", encoding="utf-8")  # noqa: SIM115  closed by __exit__
        self._writer = _open_tensorboard(exp_dir / "tensorboard", step) if tensorboard else None
        self._bar: tqdm[Any] | None = None
        self._on_terminal = sys.stderr.isatty()
        self._told = False
        self._told_part = -1

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        self._metrics.close()
        if self._writer is not None:
            self._writer.close()

    def advance(self, epoch: int, step_in_epoch: int) -> bool:
        """Count one step on the bar; return whether it is time to `show` values."""
        if not self._on_terminal:
            return False
        if self._bar is None:
            total, done = self.num_epochs * self.steps_per_epoch, (epoch - 1) * self.steps_per_epoch + step_in_epoch - 1
            self._bar = tqdm(total=total, initial=done, bar_format=_BAR_FORMAT, **BAR)
        self._bar.set_description(f"epoch {epoch} of {self.num_epochs}", refresh=False)
        self._bar.update()
        return step_in_epoch % _SHOW_STEPS == 0

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Record the values of a "step" (a log interval) or an "epoch"; `step`, `epoch` and `batch` are among them."""
        self._metrics.write(json.dumps({"kind": kind, **values}) + "\n")
        self._metrics.flush()
        if self._writer is not None:
            for name, value in values.items():
                if name not in ("step", "epoch", "batch") and value is not None:
                    self._writer.add_scalar(f"{kind}/{name}", value, values["step"])
        self.show(values)
        self._log(values)

    def show(self, values: Mapping[str, Any]) -> None:
        """Put values beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix({word: f"{values[name]:.4g}" for name, word in _BESIDE_BAR.items()})

    def _log(self, values: Mapping[str, Any]) -> None:
        if not self._told:
            log.info("| %s |", " | ".join(f"{name:>8}" for name in _COLUMNS))
            self._told = True
        names = ("epoch", "batch", "lr", "margin", "loss", "accuracy", "samples_per_second", "data_wait")
        row = " | ".join(f"{values[name]:>8.4g}" for name in names)
        log.info("| %s |", row)
        if values.get("heldout_eer") is not None:
            told = values["epoch"], self.num_epochs, values["heldout_eer"], values["loss"]
            part = _TOLD_PARTS * values["epoch"] // self.num_epochs
            say = tell if part > self._told_part else log.info
            say("epoch %d of %d: held-out EER %.2f %%, loss %.4g", *told)
            self._told_part = part

    def flush(self) -> None:
        """Write all records to disk, so that a checkpoint never comes before them."""
        self._metrics.flush()
        if self._writer is not None:
            self._writer.flush()


def cut_metrics(path: Path, step: int) -> None:
    """Cut records of steps after `step` from metrics.jsonl, and a line that a killed process left half-written."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if 0 <= _step_of(line) <= step]
    if kept != lines:
        with atomic_write(path) as f:
            f.writelines(kept)


def _step_of(line: str) -> int:
    """Return the step of a record; -1 for a line that is not whole."""
    try:
        return int(json.loads(line)["step"]) if line.endswith("\n") else -1
    except (ValueError, KeyError, TypeError):
        return -1


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Append everything that is logged to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _open_tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("TensorBoard is not installed (pip install tensorboard); metrics.jsonl holds the same")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
