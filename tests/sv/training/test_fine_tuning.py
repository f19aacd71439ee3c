"""Trainings that start from another one: large-margin fine-tuning, and SphereFace2 from a network of another loss."""

import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from sv.config import Override, load_config, save_config
from sv.data import Batch
from sv.errors import UserError
from sv.io import ArkWriter, read_matrix, read_scp, read_table, write_table
from sv.system import make_fine_tuning, make_system
from sv.training.averaging import average
from sv.training.checkpoint import load_tensors, save_tensors
from sv.training.dataset import build_dataset, read_data
from sv.training.distributed import World
from sv.training.fine_tuning import ClassMeans, _set_rows, class_means, start_from, warn_of_front_end
from sv.training.run import train
from sv.training.trainer import Trainer
from tests.sv.training.recordings import write_recordings

WORLD = World(0, 1, torch.device("cpu"))
LM = "{do_lm: true, head_init: load, num_epochs: 2, margin_update: {final_margin: null, increase_type: fixed}}"


def no_means():
    raise AssertionError("class means are not wanted here")


def saved(net, folder, speakers=None):
    path = folder / "models" / "model_1.pt"
    save_tensors(net.flat_state(), path)
    if speakers:
        write_table(folder / "spk2id", {name: number for number, name in enumerate(speakers)})
    return path


@pytest.mark.parametrize("keys", [[], ["state_dict"], ["model"], ["model", "state_dict"]])
def test_training_can_start_from_a_model_under_any_keys(build, tmp_path, caplog, keys):
    caplog.set_level("INFO")
    one, other = build(0), build(1)
    content = one.flat_state()
    for key in reversed(keys):
        content = {key: content}
    torch.save(content, tmp_path / "a.pt")
    start_from(other, tmp_path / "a.pt", ["a", "b", "c", "d"], means=no_means, margin=0.2)
    assert all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())
    assert "encoder loaded; head: loaded" in caplog.text


def some_means(rows=4):
    torch.manual_seed(9)
    direction = functional.normalize(torch.randn(rows, 8))
    return ClassMeans(direction, functional.normalize(direction + 0.1 * torch.randn(rows, 8)), torch.arange(rows))


def test_head_of_other_speakers_is_matched_by_name_and_the_others_get_their_class_means(build, tmp_path, caplog):
    caplog.set_level("INFO")
    one, other, means = build(0), build(1, num_speakers=3), some_means(3)
    start_from(other, saved(one, tmp_path, ["a", "b", "c", "d"]), ["b", "d", "e"], means=lambda: means, margin=0.2)
    assert other.head.weight[:2].equal(one.head.weight[[1, 3]])
    assert other.head.bias.equal(one.head.bias)
    length = one.head.weight[[1, 3]].norm(dim=1).mean()
    assert torch.allclose(other.head.weight[2], means.direction[2] * length)
    assert "head: 1 rows set to class means (2 of 3 speakers matched by name)" in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": "aam"}, "head: {} rows set to class means (the file's is of another loss)"),
        (
            {"num_speakers": 5},
            "head: {} rows set to class means, bias {:.2f} (the file's weight is (4, 8), here (5, 8))",
        ),
        ({"head_init": "class_means"}, "head: {} rows set to class means, bias {:.2f} (head_init is class_means)"),
    ],
)
def test_a_head_that_the_file_has_not_gets_class_means(build, tmp_path, caplog, changes, told):
    caplog.set_level("INFO")
    other, policy = build(1, **changes), changes.get("head_init", "auto")
    length, means = other.head.weight.norm(dim=1).mean(), some_means(other.head.num_speakers)
    names = [f"s{n}" for n in range(other.head.num_speakers)]
    start_from(other, saved(build(0), tmp_path), names, head_init=policy, means=lambda: means, margin=0.2)
    assert torch.allclose(other.head.weight, means.direction * length)
    bias = [float(value) for name, value in other.head.state_dict().items() if name == "bias"]
    assert told.format(len(names), *bias) in caplog.text


def test_a_class_without_an_utterance_keeps_its_row(build, tmp_path, caplog):
    caplog.set_level("INFO")
    other, means = build(1, loss="aam"), some_means()
    means.direction[2] = 0
    before = other.head.weight.detach().clone()
    start_from(other, saved(build(0), tmp_path), list("abcd"), means=lambda: means, margin=0.2)
    assert other.head.weight[2].equal(before[2])
    assert not other.head.weight[3].equal(before[3])
    assert "head: 3 rows set to class means, 1 without an utterance initialized anew" in caplog.text


def test_embeddings_that_are_apart_start_far_better_from_class_means_than_from_a_random_head(build):
    torch.manual_seed(0)
    speaker = torch.arange(20) % 4
    embedding = 4 * torch.eye(8)[speaker] + 0.5 * torch.randn(20, 8) + 0.5  # and something that all have in common
    net = build(1, loss_args={"bias_init": "balanced"})
    batch, identity = Batch(embedding, speaker, None), torch.nn.Identity()
    identity.embedding_dim = 8
    random = net.head(embedding, speaker, 0.2)
    _set_rows(net.head, [0, 1, 2, 3], lambda: class_means(identity, [batch], 4, WORLD), 0.2)
    started = net.head(embedding, speaker, 0.2)
    assert started.correct.all()
    assert started.losses.mean() < random.losses.mean() / 2


def test_a_random_head_is_left_alone(build, tmp_path, caplog):
    caplog.set_level("INFO")
    other = build(1)
    before = other.head.weight.detach().clone()
    start_from(other, saved(build(0), tmp_path), list("abcd"), head_init="random", means=no_means, margin=0.2)
    assert other.head.weight.equal(before)
    assert "head: initialized anew (head_init is random)" in caplog.text


@pytest.mark.parametrize(
    ("changes", "speakers", "why"),
    [
        ({"loss": "aam"}, "abcd", "the file's is of another loss"),
        ({}, "abce", "3 of 4 speakers matched by name"),
        ({}, "wxyz", "the file's is of other speakers"),
    ],
)
def test_a_head_that_must_be_loaded_and_does_not_fit_is_refused(build, tmp_path, changes, speakers, why):
    path = saved(build(0), tmp_path, ["a", "b", "c", "d"])
    with pytest.raises(UserError, match=f"head_init is load, but {why}; give the model of the same speakers and loss"):
        start_from(build(1, **changes), path, list(speakers), head_init="load", means=no_means, margin=0.2)


def test_class_means_need_a_vector_a_speaker(build, tmp_path):
    other = build(1)
    other.head.weight = torch.nn.Parameter(torch.zeros(4, 3, 8))
    path = saved(build(0, loss="aam"), tmp_path)
    with pytest.raises(UserError, match="SphereFace2 has no weight vector a speaker; give auto or random"):
        start_from(other, path, list("abcd"), head_init="class_means", means=no_means, margin=0.2)
    start_from(other, path, list("abcd"), means=no_means, margin=0.2)  # auto leaves it as it is


def test_class_means_are_directions_from_the_mean_of_all_classes():
    rows = torch.tensor([[3.0, 0], [0, 2], [0, -1], [1, 1], [5, 5]], dtype=torch.float64)
    batches = [
        Batch(rows[part].float(), torch.tensor(speaker), None)
        for part, speaker in ((slice(0, 2), [0, 0]), (slice(2, 5), [3, 1, 1]))
    ]
    backbone = torch.nn.Identity()
    backbone.embedding_dim = 2
    # unit means (h, h), (h, h), none, (0, -1) with h = sqrt(0.5); their mean is (2 h, 2 h - 1) / 3
    across = torch.tensor([0.5**0.5, 0.5**0.5 + 1]) / 3
    across /= across.norm()
    expected = torch.stack([across, across, torch.zeros(2), -across])
    assert torch.allclose(class_means(backbone, batches, 4, WORLD).direction, expected, atol=1e-6)
    assert not backbone.training


def test_class_means_of_waveforms_are_the_same_with_features_made_on_the_device(build, make_config, tmp_path):
    write_recordings(tmp_path, 2, 0.3, 0.4)
    args = {"num_frms": 20, "min_num_frames": 10, "aug_prob": 0.0, "fbank_args": {"num_mel_bins": 16}}
    config = make_config(train_feats="online", dataset_args=args)
    data, backbone = read_data(config, tmp_path), build(num_speakers=6).backbone
    batches = [build_dataset(config, data, on_gpu=on_gpu).batch(np.arange(12), 0) for on_gpu in (False, True)]
    assert len(batches[1].features) == 0
    one, other = (class_means(backbone, [batch], 6, WORLD).direction for batch in batches)
    assert one.any() and one.equal(other)


def test_another_encoder_is_refused(build, tmp_path):
    path = saved(build(0, model_args={"m_channels": 4, "embed_dim": 8}), tmp_path)
    with pytest.raises(UserError, match=r"model_1.pt: not a checkpoint of this ResNet"):
        start_from(build(1), path, ["a", "b", "c", "d"], means=no_means, margin=0.2)


def test_files_that_are_no_models_are_refused(build, tmp_path):
    for content, message in ((None, "does not exist"), (b"no zip", "is no checkpoint of torch.save")):
        if content is not None:
            (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(UserError, match=message):
            start_from(build(), tmp_path / "a.pt", [], means=no_means, margin=0.2)
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        start_from(build(), tmp_path / "a.pt", [], means=no_means, margin=0.2)


def epochs(exp):
    lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "epoch"]


@pytest.fixture(scope="module")
def data_sp(make_data, tmp_path_factory):
    """The tiny corpus with a speed copy of each utterance (here louder, which is another voice to this encoder)."""
    folder = tmp_path_factory.mktemp("sp")
    source = make_data(folder / "data")
    tables = {name: read_table(source / name) for name in ("utt2spk", "utt2num_frames")}
    copies = folder / "data_sp"
    copies.mkdir()
    with ArkWriter(copies / "feats.ark", copies / "feats.scp", compress=True) as writer:
        for prefix, factor in (("sp0.9-", 1.3), ("", 1.0)):
            for utt, location in read_scp(source / "feats.scp").items():
                writer.write(prefix + utt, factor * read_matrix(location))
    lines = sorted((copies / "feats.scp").read_text().splitlines(), key=lambda line: line.split()[0].encode())
    (copies / "feats.scp").write_text("".join(f"{line}\n" for line in lines))
    for name in ("utt2spk", "utt2num_frames"):
        copied = {
            f"sp0.9-{utt}": f"sp0.9-{value}" if name == "utt2spk" else value for utt, value in tables[name].items()
        }
        write_table(copies / name, tables[name] | copied)
    return copies


@pytest.fixture
def trained(data_sp, make_config, tmp_path):
    """A trained and averaged system, by any changes of the configuration."""

    def make(**changes):
        train(make_config(**{"num_epochs": 2, **changes}), data_sp, tmp_path / "exp", WORLD)
        average(tmp_path / "exp")
        return tmp_path / "exp"

    return make


@pytest.mark.slow
def test_fine_tuning_has_the_head_and_held_out_speakers_of_the_system_but_no_speed_copies(
    trained, data_sp, tmp_path, caplog
):
    exp, tuned = trained(seed=7), tmp_path / "exp-LM"
    (tmp_path / "lm.yaml").write_text(LM)
    caplog.set_level("INFO")
    caplog.clear()
    config = make_fine_tuning(tmp_path / "lm.yaml", exp)
    train(config, data_sp, tuned, WORLD)
    for name in ("heldout_spk", "spk2id"):
        assert (tuned / name).read_text() == (exp / name).read_text()
    before, start = load_tensors(exp / "models" / "avg_model.pt"), load_tensors(tuned / "models" / "model_0.pt")
    assert before.keys() == start.keys()
    assert all(start[key].equal(before[key]) for key in before)
    assert before["projection.weight"].shape[0] == 12  # 6 speakers and their copies
    assert "head: loaded" in caplog.text
    assert "12 speakers to train on, 2 held out; 48 utterances" in caplog.text
    assert "margin: first 0.3, last 0.3" in caplog.text
    assert "effective learning rate: first" in caplog.text
    assert load_config(tuned / "config.yaml").margin_update.final_margin == 0.3


@pytest.mark.slow
def test_held_out_speakers_stay_held_out_whatever_the_seed(trained, data_sp, make_config, tmp_path):
    exp = trained()
    model, other = exp / "models" / "avg_model.pt", make_config(seed=3, num_epochs=1)
    train(other, data_sp, tmp_path / "alone", WORLD)
    assert (tmp_path / "alone" / "heldout_spk").read_text() != (exp / "heldout_spk").read_text()
    train(other.model_copy(update={"model_init": str(model)}), data_sp, tmp_path / "next", WORLD)
    assert (tmp_path / "next" / "heldout_spk").read_text() == (exp / "heldout_spk").read_text()
    with pytest.raises(UserError, match=r"next was begun with another configuration: model_init was "):
        train(other, data_sp, tmp_path / "next", WORLD)


@pytest.mark.slow
def test_held_out_speakers_that_the_model_was_trained_on_are_told(trained, data_sp, make_config, tmp_path, caplog):
    exp = trained(heldout_speakers=0)
    train(make_config(num_epochs=1, model_init=str(exp / "models/avg_model.pt")), data_sp, tmp_path / "next", WORLD)
    assert "2 held-out speakers were trained on in" in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cmvn": False}, r"other features \(cmvn True, here False\)"),
        (
            {"fbank_args": {"num_mel_bins": 16, "window": "povey", "sample_rate": 8000}},
            r"\(fbank_args.sample_rate 16000, here 8000; fbank_args.window hamming, here povey\): .*; set dataset_args",
        ),
        ({"fbank_args": {"num_mel_bins": 16, "dither": 0.5}, "num_frms": 30}, None),
    ],
)
def test_a_start_from_a_model_of_other_features_warns(make_config, tmp_path, caplog, changes, told):
    save_config(make_config(), tmp_path / "config.yaml")
    args = {"num_frms": 20, "min_num_frames": 10, "fbank_args": {"num_mel_bins": 16}}
    warn_of_front_end(make_config(dataset_args=args | changes), tmp_path / "models/avg_model.pt")
    assert re.search(told, caplog.text) if told else not caplog.text


@pytest.mark.slow
def test_fine_tuning_killed_and_started_again_ends_with_the_same_weights(trained, data_sp, tmp_path, monkeypatch):
    exp = trained()
    (tmp_path / "lm.yaml").write_text(LM)
    often = [Override.of("save_minutes=1e-9")]
    config = make_fine_tuning(tmp_path / "lm.yaml", exp, often)
    train(config, data_sp, tmp_path / "whole", WORLD)

    class Killed(BaseException):
        pass

    step = Trainer._step

    def die(trainer, batch):
        if trainer.place.step == 4:
            raise Killed
        step(trainer, batch)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "_step", die)
        train(config, data_sp, tmp_path / "killed", WORLD)
    train(config, data_sp, tmp_path / "killed", WORLD)
    for name in ("model_1.pt", "model_2.pt"):
        assert (tmp_path / "killed/models" / name).read_bytes() == (tmp_path / "whole/models" / name).read_bytes()


@pytest.mark.slow
def test_sphereface2_starts_more_accurate_from_class_means_of_another_loss_than_from_a_random_head(
    trained, data_sp, make_config, tmp_path, caplog
):
    caplog.set_level("INFO")
    exp = trained(loss="aam", num_epochs=8)
    first = {}
    for head_init in ("random", "class_means", "auto"):
        start = {"model_init": str(exp / "models/avg_model.pt"), "head_init": head_init}
        still = make_config(num_epochs=1, **start, scheduler_args={"initial_lr": 1e-9, "final_lr": 1e-9})
        train(still, data_sp, tmp_path / head_init, WORLD)
        first[head_init] = epochs(tmp_path / head_init)[0]
    print({name: (line["loss"], line["accuracy"]) for name, line in first.items()})
    assert first["auto"]["loss"] == first["class_means"]["loss"]
    assert first["class_means"]["accuracy"] > 2 * first["random"]["accuracy"]
    assert re.search(r"12 rows set to class means, bias -?\d+\.\d\d \(the file's is of another loss\)", caplog.text)


def test_a_head_from_a_model_takes_a_model(data_sp, make_config, tmp_path):
    for head_init in ("load", "class_means"):
        with pytest.raises(
            UserError, match=f"head_init is {head_init}, but there is no model to start from: --checkpoint"
        ):
            train(make_config(head_init=head_init), data_sp, tmp_path / "exp", WORLD)


@pytest.mark.slow
def test_saved_fine_tuning_is_resolved_again_to_the_same(trained, tmp_path):
    exp = trained()
    (tmp_path / "lm.yaml").write_text(LM)
    config = make_fine_tuning(tmp_path / "lm.yaml", exp)
    save_config(config, tmp_path / "finetune.yaml")
    assert make_system(tmp_path / "finetune.yaml") == config
