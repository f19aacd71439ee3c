"""Poolings against loops, and finite where a variance is not defined."""

import math

import pytest
import torch
from torch import Tensor

from sv.errors import UserError
from sv.models import build_model
from sv.models.options import POOLINGS
from sv.models.pooling import deviation


def test_statistics_by_hand() -> None:
    x = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])  # one utterance, two channels, two frames
    low = math.sqrt(1e-7)
    torch.testing.assert_close(POOLINGS.build("TAP", 2)(x), torch.tensor([[2.0, 5.0]]))
    torch.testing.assert_close(POOLINGS.build("TSDP", 2)(x), torch.tensor([[math.sqrt(2), low]]))
    torch.testing.assert_close(POOLINGS.build("TSTP", 2)(x), torch.tensor([[2.0, 5.0, math.sqrt(2), low]]))


@pytest.mark.parametrize("name", ["TAP", "TSDP", "TSTP"])
def test_bins_are_flattened_within_channels(name: str) -> None:
    x = torch.randn(2, 3, 4, 6)
    pooling = POOLINGS.build(name, 12)
    assert torch.equal(pooling(x), pooling(x.reshape(2, 12, 6)))
    assert pooling(x).shape == (2, pooling.out_dim)


@pytest.mark.parametrize("context", [False, True])
def test_attention_equals_a_slow_loop(context: bool) -> None:
    torch.manual_seed(1)
    pooling = POOLINGS.build("ASTP", 6, bottleneck_dim=5, global_context_att=context).double()
    x = torch.randn(2, 3, 2, 7, dtype=torch.float64)  # (batch, channels, bins, frames)
    state = pooling.state_dict()
    for row, pooled in zip(x.reshape(2, 6, 7), pooling(x), strict=True):
        hidden = []
        for frame in row.T:
            seen = torch.cat([frame, row.mean(1), (row.var(1) + 1e-7).sqrt()]) if context else frame
            hidden.append((state["linear1.weight"][:, :, 0] @ seen + state["linear1.bias"]).tanh())
        logits = torch.stack([state["linear2.weight"][:, :, 0] @ h + state["linear2.bias"] for h in hidden], dim=1)
        for channel in range(6):
            weights = [math.exp(z) for z in logits[channel].tolist()]
            values = row[channel].tolist()
            mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            square = sum(w * v * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert math.isclose(float(pooled[channel].detach()), mean, abs_tol=1e-12)
            expected = math.sqrt(max(square - mean**2, 1e-7))
            assert math.isclose(float(pooled[6 + channel].detach()), expected, abs_tol=1e-9)


def test_attention_with_batch_norm_equals_a_slow_loop() -> None:
    torch.manual_seed(1)
    pooling = POOLINGS.build("ASP", 6, hidden_dim=5).double()
    pooling.train()(torch.randn(4, 3, 2, 9, dtype=torch.float64))  # so that batch norm has statistics
    x = torch.randn(2, 3, 2, 7, dtype=torch.float64)  # (batch, channels, bins, frames)
    state = pooling.state_dict()
    norm = {part: state[f"attention.2.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
    for row, pooled in zip(x.reshape(2, 6, 7), pooling.eval()(x), strict=True):
        logits = []
        for frame in row.T:
            hidden = (state["attention.0.weight"][:, :, 0] @ frame + state["attention.0.bias"]).clamp(min=0)
            hidden = (hidden - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
            hidden = hidden * norm["weight"] + norm["bias"]
            logits.append(state["attention.3.weight"][:, :, 0] @ hidden + state["attention.3.bias"])
        for channel in range(6):
            weights = [math.exp(logit[channel]) for logit in logits]
            values = row[channel].tolist()
            mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            square = sum(w * v * v for w, v in zip(weights, values, strict=True)) / sum(weights)
            assert math.isclose(float(pooled[channel].detach()), mean, abs_tol=1e-12)
            expected = math.sqrt(max(square - mean**2, 1e-5))
            assert math.isclose(float(pooled[6 + channel].detach()), expected, abs_tol=1e-9)


def slow_head(state: dict[str, Tensor], rows: list[list[float]], layers: int, at: str) -> list[float]:
    """Pool one head of one utterance, rows[channel][frame], with sums written out."""
    frames, channels = range(len(rows[0])), range(len(rows))
    logits = []
    for t in frames:
        values = [row[t] for row in rows]
        for layer in range(layers):
            weight, bias = (state[f"{at}.att_{layer}.{part}"].tolist() for part in ("weight", "bias"))
            seen = [math.tanh(v) for v in values] if layer > 0 else values
            values = [
                b + sum(w[0] * v for w, v in zip(line, seen, strict=True)) for line, b in zip(weight, bias, strict=True)
            ]
        logits.append(values if len(values) == len(rows) else values * len(rows))
    means, deviations = [], []
    for c in channels:
        total = sum(math.exp(logits[t][c]) for t in frames)
        weights = [math.exp(logits[t][c]) / total for t in frames]
        means.append(sum(weights[t] * rows[c][t] for t in frames))
        square = sum(weights[t] * rows[c][t] ** 2 for t in frames)
        deviations.append(math.sqrt(max(square - means[-1] ** 2, 1e-7)))
    return means + deviations


@pytest.mark.parametrize("stddev", [False, True])
def test_posterior_equals_a_slow_loop(stddev: bool) -> None:
    torch.manual_seed(4)
    pool = POOLINGS.build("XI", 3, hidden_size=4, stddev=stddev).double()
    torch.nn.init.normal_(pool.prior_mean)
    torch.nn.init.normal_(pool.prior_logprec)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    pool.train()(x)  # so that batch norm has statistics
    pool.eval().requires_grad_(False)
    with torch.no_grad():
        hidden = pool.lin1_relu_bn(x).transpose(1, 2)  # (batch, frames, hidden)
        raw = hidden @ pool.lin2.weight[:, :, 0].T + pool.lin2.bias  # (batch, frames, channels)
    for row in range(2):
        for c in range(3):
            precisions = [math.log1p(math.exp(float(value))) ** 2 for value in raw[row, :, c]]
            precisions.append(math.exp(float(pool.prior_logprec[0, c])))
            values = [*x[row, c].tolist(), float(pool.prior_mean[0, c])]
            mean = sum(p * v for p, v in zip(precisions, values, strict=True)) / sum(precisions)
            assert float(pool(x)[row, c]) == pytest.approx(mean)
            if stddev:
                variance = sum(p * (v - mean) ** 2 for p, v in zip(precisions, values, strict=True)) / sum(precisions)
                assert float(pool(x)[row, 3 + c]) == pytest.approx(math.sqrt(variance))


def test_xi_vectors_have_wespeakers_tensors_and_sizes() -> None:
    for name, tensors, size in (("XI_VEC_ECAPA_TDNN_c512", 228, 5_896_448), ("XI_VEC_XVEC", 43, 3_909_872)):
        with torch.device("meta"):
            model = build_model(name, {"embed_dim": 192})
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        channels = 1500 if name == "XI_VEC_XVEC" else 1536
        assert len(shapes) == tensors
        assert sum(p.numel() for p in model.parameters()) == size
        assert shapes["pool.prior_mean"] == shapes["pool.prior_logprec"] == (1, channels)
        assert shapes["pool.lin1_relu_bn.0.weight"] == (256, channels, 1)
        assert shapes["pool.lin1_relu_bn.2.running_var"] == (256,)
        assert shapes["pool.lin2.weight"] == (channels, 256, 1)


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("d_s", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_multi_query_multi_head_equals_a_slow_loop(layers: int, d_s: int, frames: int) -> None:
    torch.manual_seed(1)
    options = {"layer_num": layers, "d_s": d_s, "head_num": 3, "bottleneck_dim": 5}
    pooling = POOLINGS.build("MQMHASTP", 12, query_num=2, **options).double()
    x = torch.randn(2, 6, 2, frames, dtype=torch.float64)  # (batch, channels, bins, frames)
    state = pooling.state_dict()
    expected = []
    for rows in x.reshape(2, 12, frames).tolist():
        heads = [(query, head) for query in range(2) for head in range(3)]
        parts = [
            slow_head(state, rows[4 * head : 4 * head + 4], layers, f"n_query.{query}.heads_att_trans.{head}")
            for query, head in heads
        ]
        expected.append([value for part in parts for value in part])
    torch.testing.assert_close(pooling(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert pooling(x).shape == (2, pooling.out_dim) == (2, 48)
    single = POOLINGS.build("MHASTP", 12, **options).double()
    single.load_state_dict({k.removeprefix("n_query.0."): v for k, v in state.items() if k.startswith("n_query.0.")})
    torch.testing.assert_close(single(x), pooling(x)[:, :24])
    torch.testing.assert_close(torch.cat([single(row[None]) for row in x]), single(x))


def test_tensors_of_heads_are_named_as_wespeakers() -> None:
    shapes = {k: tuple(v.shape) for k, v in POOLINGS.build("MHASTP", 10).state_dict().items()}
    assert shapes == {
        f"heads_att_trans.{head}.{layer}": shape
        for head in (0, 1)
        for layer, shape in [
            ("att_0.weight", (64, 5, 1)),
            ("att_0.bias", (64,)),
            ("att_1.weight", (1, 64, 1)),
            ("att_1.bias", (1,)),
        ]
    }
    queries = {k: tuple(v.shape) for k, v in POOLINGS.build("MQMHASTP", 40).state_dict().items()}
    assert len(queries) == 2 * 8 * 4
    assert queries["n_query.1.heads_att_trans.7.att_1.weight"] == (5, 64, 1)


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(UserError, match=r"the 1500 channels to pool cannot be split into head_num = 8 equal heads"):
        build_model("XVEC", {"pooling_func": "MQMHASTP"})


@pytest.mark.parametrize("name", ["MHASTP", "MQMHASTP"])
def test_encoders_take_pooling_with_heads(name: str) -> None:
    torch.manual_seed(1)
    model = build_model("resnet_small", {"pooling_func": name})
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(torch.randn(3, 41, 80))
    embeddings.float().square().sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert model.eval()(torch.randn(1, 1, 80)).isfinite().all()


@pytest.mark.parametrize("name", ["TAP", "TSDP", "TSTP", "ASTP", "ASP", "XI", "MHASTP", "MQMHASTP"])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_constant_and_single_frames_are_finite(name: str, frames: int) -> None:
    options = {"global_context_att": True} if name == "ASTP" else {}
    pooling = POOLINGS.build(name, 8, **options)
    x = torch.ones(2, 8, frames, requires_grad=True)
    out = pooling(x)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_large_half_values_do_not_overflow() -> None:
    x = torch.tensor([[[-900.0, 900.0, -900.0, 900.0]]]).half()
    pooled = POOLINGS.build("TSTP", 1)(x)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.tensor([[0.0, 900 * math.sqrt(4 / 3)]]))


def test_deviation_is_the_unbiased_one() -> None:
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(deviation(x), x.std(dim=1), rtol=0, atol=1e-6)
