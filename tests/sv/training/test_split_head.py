"""Trainings whose head is split over processes: the same as one process's, files included."""

from pathlib import Path

import pytest
import torch

from sv.training.checkpoint import Checkpoints, load_tensors

COMMON = {
    "freeze_batch_norm": True,  # each process would have statistics of its own
    "num_epochs": 2,
    "heldout_speakers": 2,  # leaves 6 speakers
    "scheduler_args": {"initial_lr": 0.2, "warm_up_epoch": 1},
}


def run(processes) -> None:
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "changes"),
    [
        (2, {"clip_grad_norm": 0.05}),
        (4, {"optimizer": "AdamW", "scheduler_args": {"initial_lr": 0.01, "warm_up_epoch": 1}}),
        (2, {"loss": "aam"}),
        (2, {"loss": "softmax", "precision": "bf16"}),
        (4, {"loss": "aam_intertopk_subcenter", "loss_args": {"num_subcenters": 2, "top_k": 3}}),
        (2, {"loss": "sphere"}),
    ],
)
def test_a_split_head_ends_with_the_weights_of_one_process(
    size, changes, start_training, data_dir, make_config, tmp_path, worlds
):
    one = make_config(**{**COMMON, **changes}, dataloader_args={"batch_size": 8, "num_workers": 0})
    split = make_config(
        **{**COMMON, **changes}, split_head=True, dataloader_args={"batch_size": 8 // size, "num_workers": 0}
    )
    processes = [start_training(one, data_dir, tmp_path / "one")]
    processes += [start_training(split, data_dir, tmp_path / "split", env=env) for env in worlds(size)]
    run(processes)
    result, expected = (load_tensors(tmp_path / name / "models" / "model_2.pt") for name in ("split", "one"))
    assert result.keys() == expected.keys()
    tolerance = 1e-2 if "precision" in changes else 1e-4
    for key, value in expected.items():
        assert torch.allclose(result[key], value, rtol=tolerance, atol=tolerance / 10), key


@pytest.mark.slow
def test_a_checkpoint_of_four_goes_on_in_one_and_in_two(start_training, data_dir, make_config, tmp_path, worlds):
    def config(size: int, epochs: int):
        args = {"batch_size": 8 // size, "num_workers": 0}
        return make_config(**{**COMMON, "num_epochs": epochs}, split_head=True, dataloader_args=args)

    run([start_training(config(4, 2), data_dir, tmp_path / "of4", env=env) for env in worlds(4)])
    state = Checkpoints(tmp_path / "of4" / "checkpoints", keep=2).load_last()
    assert state is not None
    rows = {tuple(value.shape) for value in state["optimizer"]["state"].values() for value in value.values()}
    assert tuple(state["model"]["projection.weight"].shape) == (6, 8)
    assert (6, 8) in rows  # the momentum, whole
    results = []
    for size in (1, 2, 4):
        torch.manual_seed(0)
        exp = tmp_path / f"in{size}"
        (exp / "checkpoints").mkdir(parents=True)
        for path in (tmp_path / "of4" / "checkpoints").glob(f"step_{state['place']['step']:08d}.pt*"):
            (exp / "checkpoints" / path.name).write_bytes(path.read_bytes())
        _begin_as(exp, config(size, 3))
        envs = worlds(size) if size > 1 else [{}]
        run([start_training(config(size, 3), data_dir, exp, env=env) for env in envs])
        assert "the last models were not averaged: " in Path(f"{exp}.log").read_text()  # model_2.pt is not here
        results.append(load_tensors(exp / "models" / "model_3.pt"))
    for other in results[1:]:
        for key, value in results[0].items():
            assert torch.allclose(other[key], value, rtol=1e-4, atol=1e-5), key


def _begin_as(exp, config) -> None:
    """Rewrite the only checkpoint as if the training had been begun with `config`, whose batch is per process."""
    from sv.training.checkpoint import save_tensors

    (path,) = (exp / "checkpoints").glob("step_*.pt")
    save_tensors({**load_tensors(path), "config": config.model_copy(update={"num_speakers": 6}).model_dump()}, path)


@pytest.mark.slow
def test_infinities_in_the_rows_of_one_process_skip_the_step_of_all(
    start_training, data_dir, make_config, tmp_path, worlds
):
    """fp16: the first scales overflow, in some rows; all processes must skip the same steps, or they part."""
    args = {"batch_size": 4, "num_workers": 0}
    config = make_config(**COMMON, split_head=True, precision="fp16", dataloader_args=args)
    run([start_training(config, data_dir, tmp_path / "exp", env=env) for env in worlds(2)])
    model = load_tensors(tmp_path / "exp" / "models" / "model_2.pt")
    assert all(value.isfinite().all() for value in model.values())


@pytest.mark.slow
def test_more_processes_than_speakers_end_in_one_line(start_training, make_data, make_config, tmp_path, worlds):
    data = make_data(tmp_path / "data", speakers=4)
    config = make_config(**COMMON, split_head=True, dataloader_args={"batch_size": 2, "num_workers": 0})
    processes = [start_training(config, data, tmp_path / "exp", env=env) for env in worlds(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [1, 1, 1]
    log = (tmp_path / "exp.log").read_text()
    assert "2 speakers cannot be split over 3 processes; use fewer processes" in log
