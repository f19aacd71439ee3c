"""The network's file, and starting from one."""

import pytest
import torch
from torch.nn import functional

from sv.data import Batch
from sv.errors import UserError
from sv.io import write_table
from sv.training.checkpoint import save_tensors
from sv.training.distributed import World
from sv.training.network import ClassMeans, _set_rows, build_network, class_means, start_from

WORLD = World(0, 1, torch.device("cpu"))


def no_means():
    raise AssertionError("class means are not wanted here")


@pytest.fixture
def build(make_config):
    def make(seed=0, num_speakers=4, **changes):
        torch.manual_seed(seed)
        return build_network(make_config(**changes).model_copy(update={"num_speakers": num_speakers}))

    return make


def test_file_has_wespeakers_layout(build):
    state = build().flat_state()
    assert {"conv1.weight", "layer1.0.conv1.weight", "seg_1.weight", "projection.weight", "projection.bias"} <= set(
        state
    )
    assert state["projection.weight"].shape == (4, 8)
    assert not any(key.startswith(("backbone", "head")) for key in state)


class Doubled(torch.nn.Module):
    """A wrapper of an encoder."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, features):
        return 2 * self.inner(features)


def test_an_encoder_is_wrapped_once_more_and_keeps_its_names(build):
    net, features = build(loss="softmax").eval(), torch.randn(2, 30, 16)
    names, embedding, seen = list(net.state_dict()), net.backbone(features), []
    net.wrap_backbone(Doubled)
    net.wrap_backbone(Doubled)
    net.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(features, torch.tensor([0, 1]), 0.0)
    torch.testing.assert_close(seen[0], 4 * embedding)
    assert list(net.state_dict()) == names


def test_flat_state_is_read_back(build):
    one, other = build(0), build(1)
    other.load_flat(one.flat_state(), "test")
    assert all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items())


def test_frozen_batch_norm_stays_in_eval_mode(build):
    net = build(freeze_batch_norm=True).train()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(module.training for module in norms)
    assert net.backbone.conv1.training


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


def test_another_encoder_is_refused(build, tmp_path):
    path = saved(build(0, model_args={"m_channels": 4, "embed_dim": 8}), tmp_path)
    with pytest.raises(UserError, match=r"model_1.pt: not a checkpoint of this ResNet"):
        start_from(build(1), path, ["a", "b", "c", "d"], means=no_means, margin=0.2)


def test_files_that_are_no_models_are_refused(build, tmp_path):
    for content, message in ((None, "does not exist"), (b"no zip", "is not a model file, or is truncated")):
        if content is not None:
            (tmp_path / "a.pt").write_bytes(content)
        with pytest.raises(UserError, match=message):
            start_from(build(), tmp_path / "a.pt", [], means=no_means, margin=0.2)
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        start_from(build(), tmp_path / "a.pt", [], means=no_means, margin=0.2)
