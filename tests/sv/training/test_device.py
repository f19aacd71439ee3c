"""Nothing in a step waits for the device or mixes devices, shown on torch's meta device.

Its tensors have no values. So a `.item()`, `bool()`, `.cpu()` or a size that depends on values raises an error.
`one_device` raises one for a tensor that was left on the CPU, for a copy that waits, and for what a GPU alone reads
back. So the line that would wait on a GPU fails here.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from sv.audio.augment import resampler
from sv.config import Config, DatasetArgs, FbankConfig, PseudoArgs
from sv.data import Batch, UttIndex
from sv.data.online import FrontEnd, SoundBatch, Sounds
from sv.data.utt_index import PackedStrings
from sv.jobs.bad_utts import BadUtts
from sv.losses import LOSSES, loss_options
from sv.models import MODELS, build_model
from sv.system import resolve
from sv.training.distributed import World
from sv.training.divergence import NonFiniteGuard
from sv.training.heldout import WholeUtts
from sv.training.network import build_network
from sv.training.pseudo_labels import PseudoUtts
from sv.training.schedules import build_schedules
from sv.training.teacher import TeacherEmbeddings
from sv.training.trainer import Inputs, Trainer
from tests.one_device import LARGER, one_device

META = torch.device("meta")
NEEDS_SIZES = {"ReDimNet", "ReDimNet2"}  # encoders without default sizes; the named ones are the same code


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast does not know the meta device; what it casts is tested on the CPU (losses/test_head.py)."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())


def train_one_step(tmp_path: Path, *, processes: int = 1, **changes: Any) -> Trainer:
    mels = dict(MODELS.options(changes["model"], {}))["feat_dim"]
    args = DatasetArgs(fbank_args=FbankConfig(num_mel_bins=mels))
    config = resolve(Config(num_speakers=50, dataset_args=args, **changes), "test")
    with META:  # nothing is drawn
        net = build_network(config).to(META)
    if processes > 1:
        net.head.split(processes - 1, processes)
    world = World(0, 1, META)
    guard = NonFiniteGuard(str, lambda utts, epoch: torch.empty(0), "")
    loader: Any = SimpleNamespace(sampler=SimpleNamespace(steps=10))
    index: Any = UttIndex(
        Path(), PackedStrings.pack("abcdefgh"), np.ones(8), np.arange(8) // 2, [f"{n:02d}" for n in range(50)]
    )
    pseudo = PseudoUtts(index, np.arange(8) > 3, np.array([[1], [0]] + [[-1]] * 48), WholeUtts(loader, True, ""))
    changes_loss = config.pseudo_args.changes_loss
    teacher = TeacherEmbeddings(np.zeros((8, 128), np.float32)) if config.teacher else None
    inputs = Inputs(loader, BadUtts(8, 0.0, "left out"), guard, None, [], "", pseudo if changes_loss else None, teacher)
    trainer = Trainer(config, net, inputs, build_schedules(config, 10, 8), world, tmp_path)
    trainer.monitor = None
    net.train()
    features, speaker = torch.empty(8, 200, mels), torch.arange(8) // 2
    with one_device(config.model):
        trainer._step(Batch(features, speaker, np.arange(8)))
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name in MODELS.names() if name not in NEEDS_SIZES | LARGER])
def test_no_encoder_waits_in_a_step(model: str, tmp_path: Path) -> None:
    trainer = train_one_step(tmp_path, model=model)
    gradients = [parameter.grad for parameter in trainer.net.parameters() if parameter.grad is not None]
    assert len(gradients) > 10 and all(gradient.device == META for gradient in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if not loss_options(name, {}).needs_teacher])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_no_head_and_no_optimizer_waits_in_a_step(loss: str, optimizer: str, tmp_path: Path) -> None:
    changes = {"clip_grad_norm": 1.0, "optimizer": optimizer}
    trainer = train_one_step(tmp_path, model="resnet_small", loss=loss, **changes)
    assert trainer.place.step == 1


@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if loss_options(name, {}).can_split])
def test_label_confidence_does_not_wait_in_a_step(loss: str, tmp_path: Path) -> None:
    options = {"gate": True, "mask": True, "correct_above": 0.9}
    trainer = train_one_step(tmp_path, model="resnet_small", loss=loss, pseudo_args=PseudoArgs(**options))
    assert trainer.pseudo is not None and trainer.pseudo._sums.device == META


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend to be one of two processes: what the heads exchange arrives at once, and means nothing."""
    monkeypatch.setattr("sv.training.trainer.join_processes", lambda net, world: net)  # DDP is built from values
    torch.distributed.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("two_processes")
@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if loss_options(name, {}).can_split])
def test_no_split_head_waits_in_a_step(loss: str, tmp_path: Path) -> None:
    trainer = train_one_step(tmp_path, processes=2, model="resnet_small", loss=loss)
    assert trainer.net.head.part is not None and len(trainer.net.head.get_parameter("weight")) == 25


@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if loss_options(name, {}).needs_teacher] + ["aam"])
def test_a_teacher_does_not_wait_in_a_step(loss: str, tmp_path: Path) -> None:
    changes = {"teacher": "t", "teacher_args": {"dim": 128}}  # the encoder's: a map to another one reads back
    trainer = train_one_step(tmp_path, model="resnet_small", loss=loss, **changes)
    assert trainer.net.head.distillation is not None


def test_a_wait_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(self: object, values: Tensor, correct: Tensor) -> None:
        float(values.sum())

    monkeypatch.setattr("sv.training.monitor.Meter.add", waiting)
    with pytest.raises(RuntimeError, match="meta tensors"):
        train_one_step(tmp_path, model="resnet_small")


def test_heldout_utterances_are_embedded_without_a_wait() -> None:
    reader: Any = SimpleNamespace(whole=lambda utt, center: np.zeros((150 + utt, 80), np.float32))
    with META:
        backbone = build_model("resnet_small", {}).eval()
    with one_device():
        found = list(WholeUtts(reader, center=True, kind="held-out utterance").embed(backbone, np.arange(3), META))
    assert [(vector.device, len(vector)) for vector in found if vector is not None] == 3 * [(META, 128)]


@pytest.mark.parametrize("voiced", [0, 6])
def test_features_and_augmentation_of_waveforms_do_not_wait(voiced: int) -> None:
    args = DatasetArgs(num_frms=100, spec_aug=True)
    front_end = FrontEnd(args, seed=0)
    samples = front_end.samples
    bands = torch.ones(6, 2, 1, dtype=torch.int64)
    sounds = Sounds(
        speech={
            1.0: (torch.arange(3), torch.zeros(3, samples)),
            0.9: (torch.arange(3, 6), torch.zeros(3, 2 * samples)),
        },
        rir=(torch.arange(2), torch.zeros(2, 4000), torch.zeros(2, dtype=torch.int64)),
        noise=(torch.arange(2, 4), torch.zeros(2, samples), torch.zeros(2)),
        telephone=torch.arange(4, 6),
        voiced=torch.zeros(voiced, 100, dtype=torch.int64),
        dither=torch.zeros(6, dtype=torch.int64),
        bands=(bands, bands),
    )
    batch = SoundBatch(torch.empty(0), torch.arange(6), np.arange(6), sounds=sounds, front_end=front_end)
    resampler.cache_clear()  # filters, window and triangles are copied in the first step
    with one_device():
        features = batch.to(META).features
    assert features.device == META and features.shape == (6, 100, 80)
