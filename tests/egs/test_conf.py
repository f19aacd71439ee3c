"""Every configuration of every recipe: it loads, and its encoder and head can be built."""

import re
import shlex

import pytest
import torch

from sv.config import Override
from sv.losses import build_head
from sv.models import build_model
from sv.system import make_system
from tests.conftest import ROOT

README = ROOT / "egs" / "voxceleb" / "README.md"
SYSTEMS = re.findall(r"^\| `(--(?:config|model) [^`]*)` \|.*\| ([\d.]+) M \|$", README.read_text(), re.MULTILINE)
FILES = sorted(ROOT.glob("egs/*/conf/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parts[-3]}-{path.stem}" for path in FILES])
def test_encoder_and_head_are_built(path):
    config = make_system(path)
    with torch.device("meta"):
        model = build_model(config.model, config.model_args)
        head = build_head(config.loss, model.embedding_dim, 10, config.loss_args)
    assert model.feat_dim == config.dataset_args.fbank_args.num_mel_bins
    assert head.embedding_dim == model.embedding_dim


@pytest.mark.parametrize(("options", "parameters"), SYSTEMS, ids=[options for options, _ in SYSTEMS])
def test_system_of_the_table_is_built_and_has_its_size(options: str, parameters: str) -> None:
    given = dict(zip(*[iter(shlex.split(options))] * 2, strict=True))
    words = [f"model={given['--model']}"] if "--model" in given else []
    config = make_system(
        ROOT / given.get("--config", "egs/voxceleb/conf/resnet34.yaml"),
        [Override.of(word) for word in [*words, *given.get("--set", "").split()]],
    )
    with torch.device("meta"):
        model = build_model(config.model, config.model_args)
    assert f"{sum(x.numel() for x in model.parameters()) / 1e6:.2f}" == parameters


def test_table_has_every_configuration_of_a_system() -> None:
    named = {words[1] for words in (shlex.split(options) for options, _ in SYSTEMS) if words[0] == "--config"}
    assert named == {str(path.relative_to(ROOT)) for path in FILES if path.parts[-3] == "voxceleb"} - {
        f"egs/voxceleb/conf/{name}_lm.yaml" for name in ("any", "redimnet2", "wavlm")
    }
