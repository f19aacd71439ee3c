"""Properties of every encoder: shapes, autocast, short and wrong input."""

import pytest
import torch

from sv.errors import UserError
from sv.models import build_model
from sv.models.encoder import Encoder

_WAVLM = {"feat_dim": 80, "layers": 2, "width": 32, "heads": 2, "feed_forward": 24, "conv_channels": 8, "embed_dim": 16}
SMALL: dict[str, dict[str, object]] = {
    "resnet_small": {},
    "ResNet50": {"m_channels": 4, "embed_dim": 16},
    "SimAM_ResNet34_ASP": {"in_planes": 4, "embed_dim": 16},
    "ECAPA_TDNN_GLOB_c512": {"embed_dim": 16},
    "ECAPA_TDNN_SpeechBrain": {"channels": 16, "embed_dim": 16},
    "GE2E_LSTM": {"feat_dim": 80, "hidden_dim": 16, "embed_dim": 16, "window_frames": 20, "step_frames": 9},
    "XVEC": {"hid_dim": 16, "stats_dim": 24, "embed_dim": 16},
    "ReDimNet": {
        "channels": 4,
        "block_2d_type": "basic_resnet_fwse",
        "group_divisor": 1,
        "stages_setup": [[1, 1, 2, None], [2, 1, 1, 20]],
        "embed_dim": 16,
        "feat_dim": 80,
    },
    "ReDimNet2": {
        "channels": 4,
        "stages_setup": [[[1, 1], 1, 2, 20], [[2, 2], 1, 1, 20]],
        "embed_dim": 16,
        "feat_dim": 80,
        "agg_gnorm": True,
    },
    "XI_VEC_XVEC": {"hid_dim": 16, "stats_dim": 24, "embed_dim": 16},
    "CAMPPlus": {"embed_dim": 16},
    "Gemini_DF_ResNet60": {"embed_dim": 16},
    "REPVGG_TINY_RSBB_A0": {"embed_dim": 16},
    "Res2Net34_Base": {"m_channels": 8, "embed_dim": 16},
    "ERes2Net34_aug": {"m_channels": 8, "embed_dim": 16},
    "ERes2NetV2": {"m_channels": 8, "embed_dim": 16},
    "WavLM_Base_ECAPA": {**_WAVLM, "channels": 16},
    "WavLM_Large_MFA": {**_WAVLM, "lora_rank": 2},
}


@pytest.fixture(params=SMALL)
def model(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(1)
    return build_model(request.param, SMALL[request.param])


def test_one_embedding_an_utterance(model: Encoder) -> None:
    assert model(torch.randn(3, 41, 80)).shape == (3, model.embedding_dim)


def test_gradients_reach_every_parameter(model: Encoder) -> None:
    model(torch.randn(3, 41, 80)).square().sum().backward()
    learnt = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in learnt.items() if grad is None or not grad.isfinite().all()] == []


def test_input_is_left_as_it_was(model: Encoder) -> None:
    features = torch.randn(2, 41, 80)
    before = features.clone()
    model(features)
    assert torch.equal(features, before)


def test_shortest_input_gives_a_finite_embedding(model: Encoder) -> None:
    assert model.eval()(torch.randn(2, model.min_frames, 80)).isfinite().all()


def test_shorter_input_is_refused(model: Encoder) -> None:
    with pytest.raises(UserError, match="is too short"):
        model(torch.randn(2, model.min_frames - 1, 80))


def test_other_mels_are_refused(model: Encoder) -> None:
    with pytest.raises(UserError, match="features have 64 mels, the model takes 80; make feat_dim of the model equal"):
        model(torch.randn(2, 41, 64))


def test_other_axes_are_refused(model: Encoder) -> None:
    with pytest.raises(UserError, match=r"features have shape \(41, 80\); the model takes \(batch, frames, mels\)"):
        model(torch.randn(41, 80))


@pytest.mark.slow
def test_bf16_autocast_is_near_float32(model: Encoder) -> None:
    features = torch.randn(8, 60, 80)
    model(features)
    model.eval()
    plain = model(features)
    with torch.autocast("cpu", torch.bfloat16):
        cast = model(features)
    assert cast.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(plain, cast.float()).min() > 0.99


@pytest.mark.slow
def test_gradients_under_bf16_autocast_reach_every_parameter(model: Encoder) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(torch.randn(3, 41, 80))
    embeddings.float().square().sum().backward()
    learnt = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in learnt.items() if grad is None or not grad.isfinite().all()] == []


@pytest.mark.slow
def test_utterances_do_not_see_one_another_when_evaluated(model: Encoder) -> None:
    model.eval()
    features = torch.randn(3, 41, 80)
    alone = torch.cat([model(row[None]) for row in features])
    torch.testing.assert_close(model(features), alone, rtol=1e-4, atol=1e-5)
