"""Trainings that learn a teacher's embeddings."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from sv.config import load_config
from sv.data import UttIndex, read_index
from sv.data.sampling import another_visit
from sv.errors import UserError
from sv.io import ArkWriter, read_table, read_vectors
from sv.system import check_start
from sv.training.checkpoint import load_tensors, save_tensors
from sv.training.distributed import World
from sv.training.fine_tuning import start_from
from sv.training.network import build_network
from sv.training.run import train
from sv.training.teacher import read_teacher, teacher_scp
from sv.training.trainer import Trainer

WORLD = World(0, 1, torch.device("cpu"))
DIM = 5


def teach(folder, data_dir, left_out=()):
    """Write embeddings of a teacher that knows the speakers: a direction for each of them, and some noise."""
    rng = np.random.default_rng(0)
    speakers = read_table(data_dir / "utt2spk")
    directions = {name: rng.standard_normal(DIM) for name in sorted(set(speakers.values()))}
    scp = teacher_scp(folder, data_dir)
    scp.parent.mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / "avg_model.pt").touch()  # that it is there is all that training asks
    with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
        for utt in reversed(list(speakers)):  # another order than the index has
            if utt not in left_out:
                writer.write(utt, (directions[speakers[utt]] + 0.1 * rng.standard_normal(DIM)).astype(np.float32))
    return str(folder)


@pytest.fixture
def teacher(tmp_path, data_dir):
    return teach(tmp_path / "teacher", data_dir)


def test_each_utterance_gets_its_own_embedding(teacher, data_dir):
    index = read_index(data_dir)
    found = read_teacher(teacher, index, center=False)
    assert found.dim == DIM
    draws = np.array([3, 0, another_visit(3, np.array([3]))])
    vectors = read_vectors(teacher_scp(teacher, data_dir))
    expected = [vectors.matrix[vectors.ids.index(index.utts[row])] for row in (3, 0, 3)]
    assert np.array_equal(found.of(draws).numpy(), np.stack(expected))


def test_embeddings_lose_their_mean_over_what_is_trained_on(teacher, data_dir):
    index = read_index(data_dir)
    some = index.with_speakers(index.speakers[1:])
    plain, centered = read_teacher(teacher, some, center=False).matrix, read_teacher(teacher, some).matrix
    kept = some.speaker >= 0
    assert (centered[~kept] == 0).all() and 0 < kept.sum() < len(kept)
    np.testing.assert_allclose(centered[kept], plain[kept] - plain[kept].mean(axis=0), atol=1e-6)


def test_utterances_without_a_class_need_no_embedding_and_others_do(tmp_path, data_dir):
    index = read_index(data_dir)
    lacking = [index.utts[0], index.utts[9]]
    folder = teach(tmp_path / "teacher", data_dir, lacking)
    told = rf"xvector.scp: 2 of {len(index)} utterances to train on are not in it, the first is {lacking[0]}; extract"
    with pytest.raises(UserError, match=told):
        read_teacher(folder, index)
    speakers = [name for name in index.speakers if name != index.speakers[index.speaker[0]]]
    with pytest.raises(UserError, match="1 of 56 utterances to train on are not in it"):
        read_teacher(folder, index.with_speakers(speakers))
    held = {index.speakers[index.speaker[row]] for row in (0, 9)}
    assert isinstance(without := index.with_speakers([name for name in index.speakers if name not in held]), UttIndex)
    assert (read_teacher(folder, without).matrix[without.speaker < 0] == 0).all()


def test_a_teacher_without_embeddings_is_told_with_the_command(tmp_path, make_config, data_dir):
    config = make_config(teacher=str(tmp_path / "t"))
    command = rf"steps/extract_embeddings.sh --feats auto {tmp_path}/t {data_dir} {tmp_path}/t/distillation/"
    wrong = f"t/distillation{data_dir.resolve()}/xvector.scp does not exist: .*extract them: {command}"
    with pytest.raises(UserError, match=wrong):
        train(config, data_dir, tmp_path / "exp", WORLD)
    with pytest.raises(UserError, match=r"avg_model.pt does not exist"):
        check_start(config)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": "teacher"}, r"loss teacher takes a teacher; give its experiment folder \(--teacher DIR\)"),
        ({"teacher": "t", "split_head": True}, "split_head does not go with a teacher"),
        (
            {"teacher": "t", "train_feats": "online", "dataset_args": {"speeds": [0.9], "fbank_args": {}}},
            r"dataset_args.speeds makes other voices.*; set dataset_args.speeds=\[\]",
        ),
        ({"teacher": "t", "loss": "teacher", "pseudo_args": {"gate": True}}, "loss teacher reads no labels; leave"),
    ],
)
def test_what_does_not_go_together_is_refused(make_config, changes, told):
    with pytest.raises(UserError, match=told):
        make_config(**changes)


def test_another_dimension_without_a_map_is_refused(teacher, make_config, data_dir, tmp_path):
    config = make_config(teacher=teacher, teacher_args={"project": False})
    told = "has 5 dimensions and resnet_small 8; set model_args.embed_dim=5, or leave out teacher_args.project"
    with pytest.raises(UserError, match=told):
        train(config, data_dir, tmp_path / "exp", WORLD)
    assert not (tmp_path / "exp/models").exists()
    same = make_config(teacher=teacher, teacher_args={"project": False}, model_args={"m_channels": 2, "embed_dim": 5})
    train(same.model_copy(update={"num_epochs": 1}), data_dir, tmp_path / "same", WORLD)
    assert not any("distillation" in key for key in load_tensors(tmp_path / "same/models/model_1.pt"))


def records(exp):
    return [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_alone_it_learns_to_embed_as_the_teacher_does_and_reads_no_labels(teacher, make_config, data_dir, tmp_path):
    config = make_config(teacher=teacher, loss="teacher", teacher_args={"weight": 1.0}, num_epochs=8)
    train(config, data_dir, tmp_path / "exp", WORLD)
    lines = records(tmp_path / "exp")
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert len([line for line in lines if "heldout_eer" in line]) > 1  # of few trials: how sums round decides it
    assert load_config(tmp_path / "exp/config.yaml").teacher_args.dim == DIM
    state = load_tensors(tmp_path / "exp/models/model_8.pt")
    assert all(key.startswith("projection.distillation.") for key in state if key.startswith("projection."))


def test_the_first_loss_is_that_of_the_batch_beside_the_pairs(teacher, make_config, data_dir, tmp_path, monkeypatch):
    seen = []
    forward = torch.nn.Module.__call__

    def look(module, *args, **kwargs):
        output = forward(module, *args, **kwargs)
        if type(module).__name__ == "SpeakerNet" and not seen:
            seen.append((module, args, output))
        return output

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "__call__", look)
        config = make_config(teacher=teacher, teacher_args={"weight": 3.0}, num_epochs=1, freeze_batch_norm=True)
        train(config, data_dir, tmp_path / "exp", WORLD)
    (net, (features, speaker, margin, confidence, target), output) = seen[0]
    first = load_tensors(tmp_path / "exp/models/model_0.pt")
    net.load_flat(first, "test")
    embedding = net.backbone(features)
    pairs = net.head.compute(embedding, speaker, margin, confidence)
    mapped = net.head.distillation.project(embedding)
    expected = pairs.loss + 3 * (1 - cosine_similarity(mapped, target)).mean()
    assert float(output.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    classes = {int(s): normalize(target[speaker == s]).mean(dim=0) for s in speaker}
    assert all(cosine_similarity(target[i], classes[int(s)], dim=0) > 0.9 for i, s in enumerate(speaker))


@pytest.mark.slow
def test_a_training_that_was_ended_goes_on_to_the_same_and_refuses_another_teacher(
    teacher, make_config, data_dir, tmp_path, monkeypatch
):
    config = make_config(teacher=teacher, num_epochs=2, save_minutes=1e-9)
    train(config, data_dir, tmp_path / "whole", WORLD)
    step = Trainer._step

    def until_the_eighth(trainer, batch):
        if trainer.place.step == 8:
            raise KeyboardInterrupt
        step(trainer, batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_step", until_the_eighth)
        train(config, data_dir, tmp_path / "ended", WORLD)
    train(config, data_dir, tmp_path / "ended", WORLD)
    for name in ("model_1.pt", "model_2.pt"):
        assert (tmp_path / "ended/models" / name).read_bytes() == (tmp_path / "whole/models" / name).read_bytes()
    scp = teacher_scp(teacher, data_dir)
    utts, places = zip(*(line.split() for line in scp.read_text().splitlines()), strict=True)
    moved = (*places[1:], places[0])
    scp.write_text("".join(f"{utt} {place}\n" for utt, place in zip(utts, moved, strict=True)))
    with pytest.raises(UserError, match="speakers or a teacher's embeddings differ"):
        train(config, data_dir, tmp_path / "ended", WORLD)


def test_a_taught_head_is_loaded_by_a_training_without_a_teacher_and_the_other_way(make_config, data_dir, tmp_path):
    plain = make_config().model_copy(update={"num_speakers": 4})
    taught = make_config(teacher="t", teacher_args={"dim": DIM}).model_copy(update={"num_speakers": 4})
    for one, other in ((plain, taught), (taught, plain)):
        torch.manual_seed(1)
        path, net = tmp_path / f"{one is plain}.pt", build_network(one)
        save_tensors(net.flat_state(), path)
        torch.manual_seed(2)
        ours = build_network(other)
        start_from(ours, path, list("abcd"), means=lambda: pytest.fail("not wanted"), margin=0.2)
        assert ours.head.weight.equal(net.head.weight)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(teacher, make_config, start_training, worlds, data_dir, tmp_path):
    """Batch norm has running statistics throughout, so that the batch of a process does not matter."""
    changes = {"teacher": teacher, "num_epochs": 1, "freeze_batch_norm": True}
    one = make_config(**changes, dataloader_args={"batch_size": 8, "num_workers": 0})
    two = make_config(**changes, dataloader_args={"batch_size": 4, "num_workers": 0})
    processes = [start_training(one, data_dir, tmp_path / "one")]
    processes += [start_training(two, data_dir, tmp_path / "two", env=env) for env in worlds(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0, (tmp_path / "two.log").read_text()
    result, expected = (load_tensors(tmp_path / name / "models/model_1.pt") for name in ("two", "one"))
    for key, value in expected.items():
        assert torch.allclose(result[key], value, rtol=1e-4, atol=1e-5), key
