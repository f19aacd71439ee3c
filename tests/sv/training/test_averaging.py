"""The mean of the last models."""

import re

import pytest
import torch

from sv.config import Config, save_config
from sv.errors import UserError
from sv.training.averaging import average
from sv.training.checkpoint import load_tensors, save_tensors


def make_exp(folder, epochs, num_epochs, num_avg=3):
    save_config(Config(num_epochs=num_epochs, num_avg=num_avg), folder / "config.yaml")
    for epoch in epochs:
        state = {"w": torch.tensor([float(epoch), 2.0 * epoch]), "n": torch.tensor(10 * epoch)}
        save_tensors(state, folder / "models" / f"model_{epoch}.pt")
    save_tensors({"w": torch.full((2,), 1e9)}, folder / "models" / "best.pt")
    return folder


def test_last_models_are_averaged_with_counters(tmp_path):
    path = average(make_exp(tmp_path, [5, 8, 9, 10], 10))
    assert path == tmp_path / "models" / "avg_model.pt"
    state = load_tensors(path)
    assert state["w"].tolist() == [9.0, 18.0]
    assert state["n"].item() == 90
    assert state["n"].dtype == torch.int64


def test_a_model_from_elsewhere_is_kept(tmp_path):
    exp = make_exp(tmp_path, [], 10)
    save_tensors({"w": torch.ones(2)}, exp / "models" / "avg_model.pt")
    assert average(exp) == exp / "models" / "avg_model.pt"
    assert load_tensors(exp / "models" / "avg_model.pt")["w"].tolist() == [1.0, 1.0]


def test_number_and_last_epoch_can_be_given(tmp_path):
    folder = make_exp(tmp_path, [5, 8, 9, 10], 10)
    assert load_tensors(average(folder, num_avg=2, epoch=8))["w"][0] == 6.5
    assert load_tensors(average(folder, num_avg=2, epoch=9))["w"][0] == 8.5
    assert load_tensors(average(folder, num_avg=1))["w"][0] == 10
    assert load_tensors(average(folder, num_avg=1, epoch=8))["w"][0] == 8


def test_epoch_10_comes_after_epoch_9(tmp_path):
    assert load_tensors(average(make_exp(tmp_path, [2, 9, 10], 10), num_avg=2))["w"][0] == 9.5


def test_a_short_training_has_all_its_models_averaged(tmp_path, caplog):
    assert load_tensors(average(make_exp(tmp_path, [0, 1, 2], 2)))["w"][0] == 1.5
    assert "there are only 2 models, not 3" in caplog.text
    with pytest.raises(UserError, match="holds 2 of the 3 models to average up to epoch 2; give --num-avg 2 or less"):
        average(tmp_path, num_avg=3)


@pytest.mark.slow
def test_what_is_there_is_kept_without_torch_until_something_changes(tmp_path, run):
    folder = make_exp(tmp_path, [8, 9, 10], 10)
    path = average(folder)
    made = path.stat().st_mtime_ns
    again = run("env", "PYTHONPROFILEIMPORTTIME=1", "steps/average_models.py", folder)
    assert again.returncode == 0 and "mean of epochs 8, 9, 10" in again.stderr, again.stderr
    assert path.stat().st_mtime_ns == made and not re.search(r"\| +torch$", again.stderr, re.MULTILINE)
    assert load_tensors(average(folder, num_avg=2))["w"][0] == 9.5
    path.write_bytes(path.read_bytes()[::-1])
    assert load_tensors(average(folder, num_avg=2))["w"][0] == 9.5
    make_exp(tmp_path, [11], 11)
    assert load_tensors(average(folder, num_avg=2))["w"][0] == 10.5
    save_tensors({"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(1)}, folder / "models" / "model_11.pt")
    assert load_tensors(average(folder, num_avg=2))["w"][0] == 5.5


def test_a_model_of_the_last_epochs_that_is_missing_is_named(tmp_path):
    folder = make_exp(tmp_path, [5, 8, 10], 10)
    for epochs, num_avg, missing, rest in (([5, 8, 10], 3, 9, 1), ([9], 5, 7, 3)):
        make_exp(tmp_path, epochs, 10, num_avg)  # the second time training kept the models of 3 epochs
        told = f"/model_{missing}.pt does not exist, one of the {num_avg} models to average up to epoch 10; give "
        with pytest.raises(UserError, match=f"{told}--num-avg {rest} or less$"):
            average(folder)


def test_an_unfinished_training_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"model_10.pt does not exist, the last is model_7.pt; finish the training"):
        average(make_exp(tmp_path / "a", [6, 7], 10))
    with pytest.raises(UserError, match="there is none yet"):
        average(make_exp(tmp_path / "b", [], 10))
    with pytest.raises(UserError, match=r"config.yaml does not exist"):
        average(tmp_path / "c")


def test_a_damaged_model_is_named(tmp_path):
    folder = make_exp(tmp_path, [8, 9, 10], 10)
    with open(folder / "models" / "model_9.pt", "ab") as f:
        f.write(b"x")
    with pytest.raises(UserError, match=r"model_9.pt is damaged"):
        average(folder)


def test_a_model_of_another_network_is_named(tmp_path):
    folder = make_exp(tmp_path, [8, 9, 10], 10)
    save_tensors({"w": torch.zeros(3), "n": torch.tensor(1)}, folder / "models" / "model_9.pt")
    with pytest.raises(UserError, match=r"model_9.pt holds another network than .*model_8.pt"):
        average(folder)
