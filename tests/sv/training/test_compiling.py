"""Trainings whose encoder torch.compile has compiled: the same weights and files as without it."""

import shutil

import pytest
import torch

from sv.errors import UserError
from sv.training import compiling
from sv.training.compiling import check_compiler
from sv.training.distributed import World
from sv.training.run import train

CPU = torch.device("cpu")
WORLD = World(0, 1, CPU)


@pytest.fixture
def no_code(monkeypatch):
    """Graphs as torch.compile makes them, run without compiling their code, which takes a minute."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def models(exp):
    return {path.name: torch.load(path, weights_only=True) for path in sorted((exp / "models").glob("*.pt"))}


def assert_same(exp, other):
    found, expected = models(exp), models(other)
    assert found.keys() == expected.keys() and len(found) > 2
    for name, state in expected.items():
        assert found[name].keys() == state.keys()  # without the _orig_mod. of compiled modules
        for key, value in state.items():
            torch.testing.assert_close(found[name][key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_weights_and_names_are_those_without_it_and_one_graph_is_made(data_dir, make_config, tmp_path, no_code):
    args = {"num_epochs": 2, "precision": "bf16", "eval_epoch_interval": 1}
    train(make_config(**args), data_dir, tmp_path / "plain", WORLD)
    train(make_config(**args, compile=True), data_dir, tmp_path / "compiled", WORLD)
    assert_same(tmp_path / "compiled", tmp_path / "plain")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    addition = 1  # of check_compiler
    assert graphs == 1 + addition  # held-out utterances of other lengths make none
    with pytest.raises(UserError, match="begun with another configuration: compile was True, now False"):
        train(make_config(**args), data_dir, tmp_path / "compiled", WORLD)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no g++, with which torch.compile makes code for CPUs")
def test_two_processes_with_a_split_head_compile_and_end_with_the_weights_of_one(
    start_training, data_dir, make_config, tmp_path, worlds
):
    common = {"freeze_batch_norm": True, "num_epochs": 2, "scheduler_args": {"initial_lr": 0.2, "warm_up_epoch": 1}}
    small = {"hid_dim": 32, "stats_dim": 64, "embed_dim": 8}
    common |= {"model": "XVEC", "model_args": small}  # less code to compile than a ResNet
    one = make_config(**common, dataloader_args={"batch_size": 8, "num_workers": 0})
    two = make_config(**common, dataloader_args={"batch_size": 4, "num_workers": 0}, split_head=True, compile=True)
    processes = [start_training(one, data_dir, tmp_path / "one")]
    # Code without vector instructions takes less time to compile; torch's cache does not tell it from code with them.
    scalar = {"ATEN_CPU_CAPABILITY": "default", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "code")}
    processes += [start_training(two, data_dir, tmp_path / "two", env={**env, **scalar}) for env in worlds(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_a_missing_compiler_is_one_clear_line(monkeypatch, tmp_path):
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # where nothing has been compiled yet
    monkeypatch.setattr(inductor.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    monkeypatch.setattr(inductor, "force_disable_caches", True)
    torch._dynamo.reset()
    with pytest.raises(UserError, match=r"compile: .* a C\+\+ compiler .* does not work on cpu here \(.*compile=false"):
        check_compiler(CPU)
