"""The LSTM of GE2E: size and names as Resemblyzer's, arithmetic of a cell and of windows written out."""

import pytest
import torch
from torch import Tensor

from sv.models import build_model

SMALL = {"feat_dim": 5, "hidden_dim": 6, "num_layers": 2, "embed_dim": 4, "window_frames": 8, "step_frames": 3}


def test_size_and_names_are_resemblyzers() -> None:
    model = build_model("GE2E_LSTM", {})
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(shapes) == 14
    assert sum(p.numel() for p in model.parameters()) == 1_423_616
    assert shapes["lstm.weight_ih_l0"] == (1024, 40)
    assert shapes["lstm.weight_hh_l2"] == (1024, 256)
    assert shapes["lstm.bias_ih_l1"] == (1024,)
    assert shapes["linear.weight"] == (256, 256)


def slow_window(state: dict[str, Tensor], frames: Tensor) -> Tensor:
    """The embedding (dim,) of one window (frames, mels), a frame and a gate at a time."""
    sequence = list(frames)
    for layer in range(2):
        inputs, recurrent = state[f"lstm.weight_ih_l{layer}"], state[f"lstm.weight_hh_l{layer}"]
        bias = state[f"lstm.bias_ih_l{layer}"] + state[f"lstm.bias_hh_l{layer}"]
        hidden = cell = torch.zeros(6, dtype=torch.float64)
        outputs = []
        for x in sequence:
            keep_new, keep_old, new, out = (inputs @ x + recurrent @ hidden + bias).split(6)
            cell = keep_old.sigmoid() * cell + keep_new.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            outputs.append(hidden)
        sequence = outputs
    raw = (state["linear.weight"] @ sequence[-1] + state["linear.bias"]).relu()
    return raw / raw.norm()


@pytest.mark.parametrize(
    ("frames", "starts"),
    [
        (3, [0]),
        (8, [0]),
        (9, [0]),
        (10, [0, 3]),  # 7 of 8 frames in the last window: samples for 6
        (12, [0, 3]),
        (13, [0, 3, 6]),
        (15, [0, 3, 6]),
    ],
)
def test_arithmetic_is_resemblyzers(frames: int, starts: list[int]) -> None:
    torch.manual_seed(2)
    model = build_model("GE2E_LSTM", SMALL).double().eval()
    features = torch.rand(2, frames, 5, dtype=torch.float64)
    for row, embedding in zip(features, model(features), strict=True):
        filled = torch.cat([row, torch.zeros(8, 5, dtype=torch.float64)])
        windows = [filled[start : start + 8] for start in starts]
        mean = torch.stack([slow_window(model.state_dict(), window) for window in windows]).mean(dim=0)
        torch.testing.assert_close(embedding, mean / mean.norm(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", [77, 25])
def test_number_of_windows_is_resemblyzers_for_any_length(step: int) -> None:
    """There a window follows each that ends within the frames; the last needs samples for 3 / 4 of its frames."""
    model = build_model("GE2E_LSTM", {"step_frames": step})
    for samples in range(16000, 80000, 80):
        frames, starts = 1 + samples // 160, [0]
        while starts[-1] + 160 <= frames:
            starts.append(starts[-1] + step)
        if len(starts) > 1 and samples - 160 * starts[-1] < 0.75 * 160 * 160:
            starts.pop()
        assert model._windows(torch.zeros(1, frames, 1)).shape[1] == len(starts), samples
