"""Heads, training steps, an overflow of fp16 and extraction on a GPU against the CPU; skipped where there is no GPU."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sv.config import Config
from sv.embeddings.encoder import SpeakerEncoder
from sv.losses import build_head
from sv.models import build_model
from sv.system import resolve
from sv.training.network import SpeakerNet, build_network
from sv.training.optimizer import build_optimizer, set_learning_rate

CPU, GPU = torch.device("cpu"), torch.device("cuda")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute convolutions in float32, as the CPU does."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("loss", ["sphereface2", "softmax", "aam", "aam_subcenter", "aam_intertopk", "sphere"])
def test_loss_and_gradients_of_a_head_are_those_of_the_cpu(loss: str) -> None:
    found = []
    for device in (CPU, GPU):
        torch.manual_seed(0)
        head = build_head(loss, 64, 30_000, {})
        embedding, speaker = torch.randn(32, 64, requires_grad=True), torch.randint(30_000, (32,))
        result = head.to(device)(embedding.to(device), speaker.to(device), head.margins.default).loss
        result.backward()
        assert embedding.grad is not None
        found.append([result.detach(), embedding.grad, *(p.grad for p in head.parameters())])
    for one, other in zip(*found, strict=True):
        assert isinstance(one, Tensor) and isinstance(other, Tensor)
        torch.testing.assert_close(other.cpu(), one, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def network(optimizer: str, precision: str, device: torch.device) -> tuple[SpeakerNet, torch.optim.Optimizer]:
    torch.manual_seed(0)
    keys = {"model": "resnet_small", "num_speakers": 50, "optimizer": optimizer, "precision": precision}
    config = resolve(Config(**keys), "test")
    net = build_network(config).to(device).train()
    return net, build_optimizer(net, config)


def step(net: SpeakerNet, optimizer: torch.optim.Optimizer, scaler: torch.GradScaler) -> float:
    """Take a training step on one batch; return its loss."""
    device = next(net.parameters()).device
    torch.manual_seed(1)
    features, speaker = torch.randn(8, 100, 80).to(device), torch.arange(8).to(device)
    set_learning_rate(optimizer, 0.01)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.float16, enabled=scaler.is_enabled()):
        loss = net(features, speaker, net.head.margins.default).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    return float(loss.detach())


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_losses_of_three_steps_are_those_of_the_cpu(optimizer: str) -> None:
    one, other = (network(optimizer, "fp32", device) for device in (CPU, GPU))
    for _ in range(3):
        losses = [step(*trained, torch.GradScaler(enabled=False)) for trained in (one, other)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_first_step_of_fp16_that_overflows_changes_nothing(optimizer: str) -> None:
    """The fused kernel skips it; later steps are those of a training that had no such step."""
    found = []
    for scale in (2.0**60, 1.0):
        net, optimizer_ = network(optimizer, "fp16", GPU)
        scaler = torch.GradScaler("cuda", init_scale=scale, backoff_factor=min(0.5, 1 / scale))
        if scale > 1:
            before = [p.detach().clone() for p in net.parameters()]
            step(net, optimizer_, scaler)
            assert all(p.equal(q) for p, q in zip(net.parameters(), before, strict=True))
            assert scaler.get_scale() == 1
        found.append([step(net, optimizer_, scaler) for _ in range(3)])
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_embeddings_are_those_of_the_cpu(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, feats = build_model("ECAPA_TDNN_c512", {}).eval(), torch.randn(3, 250, 80)
    on_cpu = SpeakerEncoder(model, Config(), CPU, "").embed(feats, max_frames=200)
    on_gpu = SpeakerEncoder(model.to(GPU), Config(), GPU, "").embed(feats, max_frames=200)
    assert on_gpu.device == CPU
    assert (torch.cosine_similarity(on_cpu, on_gpu, dim=1) > 1 - 1e-5).all()
