"""Checkpoints of other toolkits become experiment folders: written here as those toolkits write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn.functional import normalize

from sv.embeddings.encoder import load_encoder
from sv.embeddings.experiment import read_config
from sv.errors import UserError
from sv.io import read_table
from sv.losses.aam_intertopk_subcenter import AamIntertopkSubcenter
from sv.models import build_model
from sv.system import make_fine_tuning
from sv.training.fine_tuning import ClassMeans, start_from
from sv.training.import_checkpoint import SOURCES, import_model
from sv.training.network import build_network, read_model, read_speakers

WESPEAKER: dict[str, Any] = {
    "model": "ResNet18",
    "model_args": {"feat_dim": 16, "embed_dim": 8, "m_channels": 4},
    "dataset_args": {"num_frms": 200, "fbank_args": {"num_mel_bins": 16}},
    "projection_args": {"project_type": "sphereface2", "scale": 32.0, "lanbuda": 0.7, "t": 3, "margin_type": "C"},
    "optimizer": "SGD",
}
RESNET = ("ResNet18", WESPEAKER["model_args"])


def trained(name: str, args: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a network whose batch norm has statistics."""
    torch.manual_seed(5)
    model = build_model(name, args)
    model.train()(torch.randn(3, 40, model.feat_dim))
    return {key: value.clone() for key, value in model.state_dict().items()}


def save_wespeaker(folder: Path, state: dict[str, Any] | None = None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    state = trained(*RESNET) if state is None else state
    torch.save(state, folder / "avg_model.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump({**WESPEAKER, **changes}))
    return folder


def head(classes: int = 5) -> dict[str, Tensor]:
    return {"projection.weight": torch.ones(classes, 8), "projection.bias": torch.zeros(1, 1)}


def no_means() -> ClassMeans:
    raise AssertionError("class means are not wanted here")


def embedding_of(exp_dir: Path, features: Tensor) -> Tensor:
    return load_encoder(exp_dir).embed(features)


def expected(name: str, args: dict[str, Any], features: Tensor, *, cmvn: bool = True) -> Tensor:
    model = build_model(name, args).eval()
    model.load_state_dict(trained(name, args))
    with torch.no_grad():
        return model(features - features.mean(dim=1, keepdim=True) if cmvn else features)


def check_same(one: Tensor, other: Tensor) -> None:
    """Compare up to rounding, which depends on the layout of the tensors in memory."""
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_wespeakers_model_keeps_encoder_front_end_and_head(tmp_path: Path) -> None:
    fbank_args = {"num_mel_bins": 16, "frame_shift": 12.5, "dither": 1.0}
    theirs = save_wespeaker(
        tmp_path / "theirs", {**trained(*RESNET), **head()}, dataset_args={"fbank_args": fbank_args}
    )
    import_model("wespeaker", theirs, tmp_path / "exp")
    config = read_config(tmp_path / "exp")
    fbank = config.dataset_args.fbank_args
    assert (fbank.kind, fbank.window, fbank.int16_scale, fbank.frame_shift) == ("kaldi", "hamming", True, 12.5)
    assert (config.model, config.loss, config.num_speakers) == ("ResNet18", "sphereface2", 5)
    features = torch.randn(2, 40, 16)
    torch.testing.assert_close(
        embedding_of(tmp_path / "exp", features), expected(*RESNET, features), rtol=1e-4, atol=1e-5
    )
    state = read_model(tmp_path / "exp" / "models" / "avg_model.pt")
    assert torch.equal(state["projection.weight"], torch.ones(5, 8))


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.backbone."])
def test_prefix_of_a_wrapper_is_left_out_and_named(
    tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped = {prefix + key: value for key, value in {**trained(*RESNET), **head()}.items()}
    with caplog.at_level("INFO", "sv"):
        import_model("wespeaker", save_wespeaker(tmp_path / "theirs", wrapped), tmp_path / "exp")
    assert f"the prefix '{prefix}' of all tensors is left out" in caplog.text
    features = torch.randn(2, 40, 16)
    torch.testing.assert_close(
        embedding_of(tmp_path / "exp", features), expected(*RESNET, features), rtol=1e-4, atol=1e-5
    )
    assert read_config(tmp_path / "exp").num_speakers == 5


@pytest.mark.parametrize("prefix", ["", "module."])
def test_tensors_of_wespeakers_tfmel_are_not_the_encoders(tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: value for key, value in trained(*RESNET).items()}
    for name in ("1.flipped_filter", "2.real_kernel_pt", "2.image_kernel_pt", "2.melbanks_pt"):
        state[f"{prefix}frontend.spec.torchfbank.{name}"] = torch.ones(1)
    dataset_args = {"frontend": "tfmel", "tfmel_args": {"n_mels": 16}}
    import_model("wespeaker", save_wespeaker(tmp_path / "theirs", state, dataset_args=dataset_args), tmp_path / "exp")
    assert read_config(tmp_path / "exp").dataset_args.fbank_args.kind == "redimnet_tf"
    features = torch.randn(2, 40, 16)
    check_same(embedding_of(tmp_path / "exp", features), expected(*RESNET, features))


def test_wespeakers_subcenters_are_rows_of_a_speaker_one_after_another(tmp_path: Path) -> None:
    weight = torch.randn(5 * 2, 8)
    state = {**trained(*RESNET), "projection.weight": weight}
    projection = {"project_type": "arc_margin_intertopk_subcenter", "scale": 32.0, "easy_margin": False, "K": 2}
    import_model("wespeaker", save_wespeaker(tmp_path / "theirs", state, projection_args=projection), tmp_path / "exp")
    config, state = read_config(tmp_path / "exp"), read_model(tmp_path / "exp/models/avg_model.pt")
    assert config.num_speakers == 5 and torch.equal(state["projection.weight"][3], weight[[6, 7]])
    net = build_network(config)
    start_from(net, tmp_path / "theirs" / "avg_model.pt", list("abcde"), head_init="load", means=no_means, margin=0.0)
    embedding = torch.randn(4, 8)
    cosine = normalize(embedding) @ normalize(weight).T  # WeSpeaker: reshape to (batch, speakers, K), then the maximum
    assert isinstance(net.head, AamIntertopkSubcenter)
    torch.testing.assert_close(net.head.cosines(embedding), cosine.reshape(4, 5, 2).max(2).values)


def test_another_head_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {**trained(*RESNET), "projection.trans.2.weight": torch.zeros(5, 8)}
    import_model("wespeaker", save_wespeaker(tmp_path / "theirs", state), tmp_path / "exp")
    assert "the head is left out" in caplog.text and "sphereface2" in caplog.text
    assert read_config(tmp_path / "exp").num_speakers is None
    assert not [key for key in read_model(tmp_path / "exp/models/avg_model.pt") if key.startswith("projection.")]


def test_training_that_is_not_supported_leaves_encoder_and_front_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = save_wespeaker(
        tmp_path / "theirs",
        {**trained(*RESNET), **head()},
        scheduler="TriAngular2",
        projection_args={"project_type": "ham_margin"},
        model_init="x.pt",
    )
    import_model("wespeaker", theirs, tmp_path / "exp")
    assert "ham_margin" in caplog.text and "only encoder and front-end are taken" in caplog.text
    config = read_config(tmp_path / "exp")
    assert (config.model, config.model_args["m_channels"], config.num_speakers) == ("ResNet18", 4, None)
    assert config.dataset_args.fbank_args.num_mel_bins == 16


@pytest.mark.slow
def test_wespeakers_experiment_folder_and_model_file(tmp_path: Path) -> None:
    theirs = save_wespeaker(tmp_path / "theirs")
    (theirs / "models").mkdir()
    (theirs / "avg_model.pt").rename(theirs / "models" / "avg_model.pt")
    import_model("wespeaker", theirs, tmp_path / "one")
    import_model("wespeaker", theirs / "models" / "avg_model.pt", tmp_path / "other")
    assert read_config(tmp_path / "one") == read_config(tmp_path / "other")


def test_imported_model_is_fine_tuned_on_other_speakers(tmp_path: Path) -> None:
    import_model("wespeaker", save_wespeaker(tmp_path / "theirs", {**trained(*RESNET), **head()}), tmp_path / "exp")
    (tmp_path / "lm.yaml").write_text("num_epochs: 2\nmargin_update: {initial_margin: 0.3, final_margin: 0.3}\n")
    config = make_fine_tuning(tmp_path / "lm.yaml", tmp_path / "exp").model_copy(update={"num_speakers": 2})
    assert config.dataset_args == read_config(tmp_path / "exp").dataset_args
    net = build_network(config)
    sample = ClassMeans(torch.eye(2, 8), torch.eye(2, 8), torch.arange(2))
    start_from(net, Path(config.model_init), ["a", "b"], means=lambda: sample, margin=0.3)
    own = net.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in trained(*RESNET).items())
    weight = torch.nn.functional.normalize(net.head.state_dict()["weight"])
    torch.testing.assert_close(weight, torch.eye(2, 8))


CAMPPLUS = ("CAMPPlus", {"embed_dim": 24})
THREE_D_SPEAKER = [
    CAMPPLUS,
    ("ERes2Net34_Base", {"m_channels": 4, "embed_dim": 24}),
    ("ERes2Net34_aug", {"m_channels": 8, "embed_dim": 24, "two_emb_layer": True}),
    ("ERes2NetV2", {"m_channels": 8, "embed_dim": 24}),
    ("ERes2NetV2_w24s4ep4", {"m_channels": 8, "embed_dim": 24}),
    ("ECAPA_TDNN_SpeechBrain", {"channels": 16, "embed_dim": 24}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "args"), THREE_D_SPEAKER)
def test_3d_speakers_encoder_is_known_by_its_tensors(tmp_path: Path, name: str, args: dict[str, Any]) -> None:
    torch.save(trained(name, args), tmp_path / "theirs.ckpt")
    import_model("3dspeaker", tmp_path / "theirs.ckpt", tmp_path / "exp")
    config = read_config(tmp_path / "exp")
    assert config.model == name
    assert args.items() <= config.model_args.items()
    fbank = config.dataset_args.fbank_args
    assert (fbank.kind, fbank.window, fbank.int16_scale, fbank.dither) == ("kaldi", "povey", False, 0.0)
    features = torch.randn(2, 40, 80)
    torch.testing.assert_close(
        embedding_of(tmp_path / "exp", features), expected(name, args, features), rtol=1e-4, atol=1e-5
    )


def save_speechbrain(folder: Path) -> Path:
    folder.mkdir()
    torch.save(trained("ECAPA_TDNN_SpeechBrain", {"channels": 16}), folder / "embedding_model.ckpt")
    torch.save({"weight": torch.ones(3, 192)}, folder / "classifier.ckpt")
    rows = "'id2' => 1\n'id1' => 0\n'id10' => 2\n================\n'starting_index' => 0\n"
    (folder / "label_encoder.txt").write_text(rows)
    return folder


def test_speechbrains_folder_gives_head_and_speakers(tmp_path: Path) -> None:
    import_model("speechbrain", save_speechbrain(tmp_path / "theirs"), tmp_path / "exp")
    config = read_config(tmp_path / "exp")
    fbank = config.dataset_args.fbank_args
    assert (fbank.kind, fbank.low_freq, fbank.window, config.num_speakers) == ("speechbrain", 0.0, "hamming", 3)
    assert (config.loss, config.loss_args["scale"], config.margin_update.final_margin) == ("aam", 30.0, 0.2)
    assert read_speakers(tmp_path / "exp" / "spk2id") == ["id1", "id2", "id10"]
    assert read_table(tmp_path / "exp" / "spk2id")["id10"] == "2"


def test_resemblyzers_model_has_its_own_features(tmp_path: Path) -> None:
    state = {**trained("GE2E_LSTM", {}), "similarity_weight": torch.ones(1), "similarity_bias": torch.ones(1)}
    torch.save({"step": 9, "model_state": state, "optimizer_state": {}}, tmp_path / "pretrained.pt")
    import_model("resemblyzer", tmp_path / "pretrained.pt", tmp_path / "exp")
    config = read_config(tmp_path / "exp")
    assert (config.dataset_args.fbank_args.kind, config.dataset_args.cmvn) == ("ge2e", False)
    features = torch.rand(2, 170, 40)
    torch.testing.assert_close(
        embedding_of(tmp_path / "exp", features), expected("GE2E_LSTM", {}, features, cmvn=False), rtol=1e-4, atol=1e-5
    )


def test_redimnet_is_built_from_its_model_config(tmp_path: Path) -> None:
    stages = [[1, 1, 2, [[3, 3]], 10], [2, 1, 1, [[3, 3]], None]]
    config = {"F": 20, "C": 4, "block_2d_type": "basic_resnet", "group_divisor": 1, "embed_dim": 8, "hop_length": 240}
    args = {"feat_dim": 20, "channels": 4, "block_2d_type": "basic_resnet", "group_divisor": 1, "embed_dim": 8}
    args |= {"stages_setup": [[1, 1, 2, 10], [2, 1, 1, None]], "stats_bn": True}
    state = trained("ReDimNet", args)
    for stage in (0, 1):  # their names, see tests/sv/models/test_redimnet.py
        for key in [key for key in state if key.startswith(f"backbone.stage{stage}.")]:
            _, _, number, rest = key.split(".", 3)
            state[f"their backbone.stage{stage}.{int(number) + 2}.{rest}"] = state.pop(key)
        state[f"their backbone.stage{stage}.0.w"] = state.pop(f"backbone.inputs_weights.{stage}")
    state["backbone.fin_wght1d.w"] = state.pop("backbone.inputs_weights.2")
    theirs = {key.removeprefix("their ").replace("seg_1", "linear"): value for key, value in state.items()}
    content = {"model_config": {**config, "stages_setup": stages}, "state_dict": theirs}
    torch.save(content, tmp_path / "b.pt")
    import_model("redimnet", tmp_path / "b.pt", tmp_path / "exp")
    fbank = read_config(tmp_path / "exp").dataset_args.fbank_args
    assert (fbank.kind, fbank.num_mel_bins, fbank.frame_shift) == ("redimnet", 20, 15.0)
    features = torch.randn(2, 40, 20)
    torch.testing.assert_close(
        embedding_of(tmp_path / "exp", features), expected("ReDimNet", args, features), rtol=1e-4, atol=1e-5
    )


def with_nan(state: dict[str, Tensor]) -> dict[str, Tensor]:
    state["layer1.0.bn1.bias"][0] = float("nan")
    return state


def truncated(folder: Path) -> Path:
    path = save_wespeaker(folder) / "avg_model.pt"
    path.write_bytes(path.read_bytes()[:5000])
    return folder


def pickled(folder: Path) -> Path:
    return save_wespeaker(folder, {"model": Path("an object")})


def without_config(folder: Path) -> Path:
    (save_wespeaker(folder) / "config.yaml").unlink()
    return folder


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing": (lambda folder: folder, r"theirs does not exist; give a checkpoint"),
    "pickled object": (
        pickled,
        r"avg_model\.pt holds a Python object, pathlib[.\w]+, which may run code and is not read",
    ),
    "truncated": (truncated, r"avg_model\.pt is not a model file, or is truncated \(.*\); give the file as it was"),
    "NaN": (
        lambda folder: save_wespeaker(folder, with_nan(trained(*RESNET))),
        r"avg_model\.pt: layer1\.0\.bn1\.bias has NaN or infinite values; give the file as it was published",
    ),
    "another architecture": (
        lambda folder: save_wespeaker(folder, trained("resnet_small", {"feat_dim": 16})),
        r"not a checkpoint of this ResNet: its conv1\.weight is \(8, .*, and \d+ more differences",
    ),
    "unknown and missing tensors": (
        lambda folder: save_wespeaker(folder, {**trained(*RESNET), "frontend.spec.x": torch.ones(1)}),
        r"its frontend\.spec\.x is not in the model; give the model and model_args",
    ),
    "unknown model": (
        lambda folder: save_wespeaker(folder, model="ResNet35"),
        r"config\.yaml: cannot be imported: model: ResNet35 is none of",
    ),
    "another front-end": (
        lambda folder: save_wespeaker(folder, dataset_args={"frontend": "s3prl"}),
        r"frontend: s3prl is not fbank",
    ),
    "old front-end": (
        lambda folder: save_wespeaker(folder, feature_args={"fbank_args": {"num_mel_bins": 16, "frame_shift": 8}}),
        r"config\.yaml: cannot be imported: feature_args is of .*; write its front-end as dataset_args\.fbank_args",
    ),
    "no configuration": (without_config, r"config\.yaml does not exist; WeSpeaker's models come with one"),
    "no tensors": (lambda folder: save_wespeaker(folder, {"epoch": 3}), "holds no state dict"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, message = BAD[fault]
    with pytest.raises(UserError, match=message) as error:
        import_model("wespeaker", make(tmp_path / "theirs"), tmp_path / "exp" / "x")
    assert "\n" not in str(error.value) and "only encoder and front-end are taken" not in caplog.text
    assert not list((tmp_path / "exp").glob("*")) if (tmp_path / "exp").exists() else True


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_checkpoint_of_another_toolkit_is_refused_in_a_line(tmp_path: Path, source: str) -> None:
    torch.save({"conv.weight": torch.zeros(2, 2)}, tmp_path / "x.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(WESPEAKER))
    with pytest.raises(UserError, match=r"x\.pt") as error:
        import_model(source, tmp_path / "x.pt", tmp_path / "exp")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "exp").exists()


def test_a_folder_that_exists_stays(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    with pytest.raises(UserError, match="exp exists; give a folder that does not"):
        import_model("wespeaker", save_wespeaker(tmp_path / "theirs"), tmp_path / "exp")
    assert not list((tmp_path / "exp").iterdir())


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sv.training.import_checkpoint.save_config", fail)
    with pytest.raises(OSError, match="No space left"):
        import_model("wespeaker", save_wespeaker(tmp_path / "theirs"), tmp_path / "exp")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.slow
def test_several_files_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save(trained(*CAMPPLUS), tmp_path / name)
    with pytest.raises(UserError, match=r"has 2 files \*\.pt; give one of them"):
        import_model("3dspeaker", tmp_path, tmp_path / "exp")


@pytest.mark.slow
def test_encoder_may_be_named(tmp_path: Path) -> None:
    torch.save(trained(*CAMPPLUS), tmp_path / "x.pt")
    with pytest.raises(UserError, match="not a checkpoint of this ERes2Net"):
        import_model("3dspeaker", tmp_path / "x.pt", tmp_path / "exp", "ERes2Net34_Base")
    with pytest.raises(UserError, match=r"unknown model 'CAM'.*CAMPPlus"):
        import_model("3dspeaker", tmp_path / "x.pt", tmp_path / "exp", "CAM")
