"""Trainings that start from another one: large-margin fine-tuning, and SphereFace2 from a network of another loss."""

import json
import re

import pytest
import torch

from sv.config import Override, load_config, save_config
from sv.errors import UserError
from sv.io import ArkWriter, read_matrix, read_table, write_table
from sv.system import make_fine_tuning, make_system
from sv.training.averaging import average
from sv.training.checkpoint import load_tensors
from sv.training.distributed import World
from sv.training.run import train
from sv.training.trainer import Trainer

WORLD = World(0, 1, torch.device("cpu"))
LM = "{do_lm: true, head_init: load, num_epochs: 2, margin_update: {final_margin: null, increase_type: fixed}}"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def epochs(exp):
    lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "epoch"]


@pytest.fixture(scope="module")
def data_sp(make_data, tmp_path_factory):
    """The tiny corpus with a speed copy of each utterance (here louder, which is another voice to this encoder)."""
    folder = tmp_path_factory.mktemp("sp")
    source = make_data(folder / "data")
    tables = {name: read_table(source / name) for name in ("feats.scp", "utt2spk", "utt2num_frames")}
    copies = folder / "data_sp"
    copies.mkdir()
    with ArkWriter(copies / "feats.ark", copies / "feats.scp", compress=True) as writer:
        for prefix, factor in (("sp0.9-", 1.3), ("", 1.0)):
            for utt, location in tables["feats.scp"].items():
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


def test_fine_tuning_has_the_head_and_held_out_speakers_of_the_system_but_no_speed_copies(
    trained, data_sp, tmp_path, caplog
):
    exp, tuned = trained(seed=7), tmp_path / "exp-LM"
    (tmp_path / "lm.yaml").write_text(LM)
    caplog.set_level("INFO")
    caplog.clear()
    config = make_fine_tuning(tmp_path / "lm.yaml", exp)
    train(config, data_sp, tuned, WORLD, init=exp / "models" / "avg_model.pt")
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


def test_held_out_speakers_stay_held_out_whatever_the_seed(trained, data_sp, make_config, tmp_path):
    exp = trained()
    model, other = exp / "models" / "avg_model.pt", make_config(seed=3, num_epochs=1)
    train(other, data_sp, tmp_path / "alone", WORLD)
    assert (tmp_path / "alone" / "heldout_spk").read_text() != (exp / "heldout_spk").read_text()
    train(other, data_sp, tmp_path / "next", WORLD, init=model)
    assert (tmp_path / "next" / "heldout_spk").read_text() == (exp / "heldout_spk").read_text()
    with pytest.raises(UserError, match=r"next holds out other speakers; give the --checkpoint of then"):
        train(other, data_sp, tmp_path / "next", WORLD)


def test_held_out_speakers_that_the_model_was_trained_on_are_told(trained, data_sp, make_config, tmp_path, caplog):
    exp = trained(heldout_speakers=0)
    train(make_config(num_epochs=1), data_sp, tmp_path / "next", WORLD, init=exp / "models" / "avg_model.pt")
    assert "2 held-out speakers were trained on in" in caplog.text


@pytest.mark.slow
def test_fine_tuning_killed_and_started_again_ends_with_the_same_weights(trained, data_sp, tmp_path, monkeypatch):
    exp = trained()
    (tmp_path / "lm.yaml").write_text(LM)
    often = [Override.of("save_minutes=1e-9")]
    config, init = make_fine_tuning(tmp_path / "lm.yaml", exp, [], often), exp / "models/avg_model.pt"
    train(config, data_sp, tmp_path / "whole", WORLD, init=init)

    class Killed(BaseException):
        pass

    step = Trainer._step

    def die(trainer, batch):
        if trainer.place.step == 4:
            raise Killed
        step(trainer, batch)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "_step", die)
        train(config, data_sp, tmp_path / "killed", WORLD, init=init)
    train(config, data_sp, tmp_path / "killed", WORLD, init=init)
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
        still = make_config(num_epochs=1, head_init=head_init, scheduler_args={"initial_lr": 1e-9, "final_lr": 1e-9})
        train(still, data_sp, tmp_path / head_init, WORLD, init=exp / "models" / "avg_model.pt")
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


def test_saved_fine_tuning_is_resolved_again_to_the_same(trained, tmp_path):
    exp = trained()
    (tmp_path / "lm.yaml").write_text(LM)
    config = make_fine_tuning(tmp_path / "lm.yaml", exp)
    save_config(config, tmp_path / "finetune.yaml")
    assert make_system(tmp_path / "finetune.yaml") == config
