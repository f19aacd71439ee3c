"""Every configuration of every recipe: it loads, and its encoder and head can be built."""

import pytest
import torch

from sv.losses import build_head
from sv.models import build_model
from sv.system import make_system
from tests.conftest import ROOT

FILES = sorted(ROOT.glob("egs/*/conf/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parts[-3]}-{path.stem}" for path in FILES])
def test_encoder_and_head_are_built(path):
    config = make_system(path)
    with torch.device("meta"):
        model = build_model(config.model, config.model_args)
        head = build_head(config.loss, model.embedding_dim, 10, config.loss_args)
    assert model.feat_dim == config.dataset_args.fbank_args.num_mel_bins
    assert head.embedding_dim == model.embedding_dim
