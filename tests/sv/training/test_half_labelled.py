"""Trainings with labels from a clustering: the same by any processes and after any end; wrong labels are found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sv.config import Config
from sv.errors import UserError
from sv.io import ArkWriter, read_table, write_table
from sv.training.distributed import World
from sv.training.run import train
from sv.training.trainer import Trainer

WORLD = World(0, 1, torch.device("cpu"))


def rows(exp_dir: Path) -> list[list[str]]:
    """utt, label, label in training, mean loss, posterior."""
    return [line.split() for line in (exp_dir / "pseudo_labels").read_text().splitlines()]


def write_half_labelled(folder: Path, per_speaker: int) -> Path:
    """Write a data dir of 4 labelled speakers and 6 whose labels are a clustering's, of which 30 % are wrong.

    A speaker is which mels vary much over time.
    """
    rng = np.random.default_rng(0)
    truth = {f"spk{spk:02d}/{n:02d}": f"spk{spk:02d}" for spk in range(10) for n in range(per_speaker)}
    deviation = {spk: rng.choice([0.2, 3.0], 16) for spk in sorted(set(truth.values()))}
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt, spk in truth.items():
            writer.write(utt, deviation[spk] * rng.standard_normal((40, 16)))
    pseudo = [utt for utt, spk in truth.items() if spk >= "spk04"]
    wrong = {pseudo[i] for i in rng.permutation(len(pseudo))[: round(0.3 * len(pseudo))]}
    others = {utt: [f"spk{n:02d}" for n in range(4, 10) if f"spk{n:02d}" != truth[utt]] for utt in wrong}
    write_table(folder / "utt2num_frames", dict.fromkeys(truth, 40))
    write_table(folder / "utt2spk_true", truth)
    labels = {utt: str(rng.choice(others[utt])) if utt in wrong else spk for utt, spk in truth.items()}
    write_table(folder / "utt2spk", labels)
    (folder / "pseudo_utts").write_text("".join(f"{utt}\n" for utt in pseudo))
    (folder / "maybe_same_spk").write_text("spk04 spk05\nspk04 spk09\n")
    return folder


@pytest.fixture(scope="module")
def half_labelled(tmp_path_factory):
    return write_half_labelled(tmp_path_factory.mktemp("half"), 16)


@pytest.fixture
def config(make_config):
    def make(pseudo_args: dict[str, Any], **changes: Any) -> Config:
        return make_config(**{"heldout_speakers": 0, "num_epochs": 3, **changes, "pseudo_args": pseudo_args})

    return make


ALL = {"gate": True, "mask": True, "correct_above": 0.3, "correct_lead": 0.01, "labelled_share": 0.5, "start_epoch": 1}


@pytest.mark.slow
def test_a_list_changes_nothing_until_it_is_used(half_labelled, config, tmp_path, monkeypatch):
    train(config({}), half_labelled, tmp_path / "off", WORLD)
    train(config({"gate": True, "start_epoch": 2}), half_labelled, tmp_path / "gate", WORLD)
    with monkeypatch.context() as patch:
        patch.setattr("sv.training.preparation.read_pseudo_utts", lambda index: None)
        train(config({}), half_labelled, tmp_path / "unlisted", WORLD)
    models = {
        name: [(tmp_path / name / "models" / f"model_{n}.pt").read_bytes() for n in (1, 2, 3)]
        for name in ("off", "gate", "unlisted")
    }
    assert models["off"] == models["unlisted"]
    assert models["off"][:2] == models["gate"][:2]  # full confidence changes no bit
    assert not (tmp_path / "off" / "pseudo_labels").exists()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sphereface2", "aam"])
def test_it_goes_on_in_mid_epoch_bit_by_bit(half_labelled, config, tmp_path, monkeypatch, loss):
    common = {"loss": loss, "num_epochs": 3, "dataloader_args": {"batch_size": 16, "num_workers": 1}}
    train(config(ALL, **common), half_labelled, tmp_path / "whole", WORLD)
    step = Trainer._step

    def until(last):
        def stopping(trainer, batch):
            if trainer.place.step == last:
                trainer._save()
                raise KeyboardInterrupt
            step(trainer, batch)

        return stopping

    for last in (5, 14, 25):  # in each epoch of 10 steps
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", until(last))
            with pytest.raises(KeyboardInterrupt):
                train(config(ALL, **common), half_labelled, tmp_path / "ended", WORLD)
    train(config(ALL, **common), half_labelled, tmp_path / "ended", WORLD)
    names = ["models/model_1.pt", "models/model_2.pt", "models/model_3.pt", "pseudo_labels"]
    for name in names:
        assert (tmp_path / "ended" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    figures = [json.loads(line) for line in (tmp_path / "ended" / "metrics.jsonl").read_text().splitlines()]
    figures = [line for line in figures if line["kind"] == "epoch"]
    assert all(0 < line["pseudo_trusted"] <= 1 and line["pseudo_corrected"] >= 0 for line in figures)
    assert any(line["pseudo_corrected"] for line in figures)


@pytest.mark.slow
@pytest.mark.parametrize("split_head", [False, True])
def test_two_processes_decide_as_one(start_training, half_labelled, config, tmp_path, worlds, split_head):
    """Batch norm is frozen, since each process would have its own statistics."""
    common = {"freeze_batch_norm": True, "num_epochs": 2, "scheduler_args": {"initial_lr": 0.1, "warm_up_epoch": 1}}
    args = {**ALL, "correct_above": 0.03, "correct_lead": 0.001}  # two epochs make no network sure
    one = config(args, **common, dataloader_args={"batch_size": 16, "num_workers": 0})
    two = config(args, **common, dataloader_args={"batch_size": 8, "num_workers": 0}, split_head=split_head)
    processes = [start_training(one, half_labelled, tmp_path / "one")]
    processes += [start_training(two, half_labelled, tmp_path / "two", env=env) for env in worlds(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    found, expected = rows(tmp_path / "two"), rows(tmp_path / "one")
    assert [line[:3] for line in found] == [line[:3] for line in expected]
    assert any(line[1] != line[2] for line in found)  # labels were corrected
    numbers, others = (np.array([line[3:] for line in some], dtype=float) for some in (found, expected))
    np.testing.assert_allclose(numbers, others, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("pseudo_utts", {"gate": True}, "pseudo_utts does not exist, and pseudo_args.gate needs it"),
        ("pseudo_utts", {"labelled_share": 0.5}, "does not exist, and pseudo_args.labelled_share needs it"),
        ("pseudo_utts", {"correct_above": 0.9}, "does not exist, and pseudo_args.correct_above needs it"),
        ("maybe_same_spk", {"mask": True}, "maybe_same_spk does not exist, and pseudo_args.mask needs it"),
    ],
)
def test_a_missing_list_is_named(make_data, config, tmp_path, name, args, message):
    with pytest.raises(UserError, match=message):
        train(config(args), make_data(tmp_path / "data"), tmp_path / "exp", WORLD)


def test_other_lists_are_other_data(make_data, config, tmp_path):
    data = make_data(tmp_path / "data")
    (data / "pseudo_utts").write_text("spk06/00.wav\n")
    args = {"gate": True}
    train(config(args, num_epochs=1, margin_update={"increase_type": "fixed"}), data, tmp_path / "exp", WORLD)
    (data / "pseudo_utts").write_text("spk06/01.wav\n")
    with pytest.raises(UserError, match="exp was begun with other data than"):
        train(config(args, num_epochs=1, margin_update={"increase_type": "fixed"}), data, tmp_path / "exp", WORLD)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sphereface2", "aam"])
def test_the_gate_finds_most_wrong_labels(loss, config, tmp_path):
    data = write_half_labelled(tmp_path / "data", 40)
    args = {"gate": True, "labelled_share": 0.4, "start_epoch": 10}
    changes = {"num_epochs": 20, "margin_update": {"final_margin": 0.0}, "save_epoch_interval": 20}
    changes |= {"model_args": {"m_channels": 4, "embed_dim": 16}, "dataloader_args": {"batch_size": 16}}
    changes |= {"scheduler_args": {"initial_lr": 0.2, "final_lr": 0.02, "warm_up_epoch": 1}}
    train(config(args, loss=loss, **changes), data, tmp_path / "exp", WORLD)
    truth = read_table(data / "utt2spk_true")
    is_wrong = np.array([truth[utt] != label for utt, label, *_ in rows(tmp_path / "exp")])
    is_rejected = np.array([float(posterior) < 0.5 for *_, posterior in rows(tmp_path / "exp")])
    hits = (is_wrong & is_rejected).sum()
    assert hits >= 0.6 * is_wrong.sum()  # recall
    assert hits >= 0.8 * is_rejected.sum()  # precision; chance is 0.3
