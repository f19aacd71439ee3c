"""Training by its command: real processes, killed, mistaken and several at a time."""

import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sv.config import Override, save_config
from sv.io import ArkWriter, write_table
from sv.system import make_system
from tests.waiting import wait_until

SYSTEM = """
model: XVEC
model_args: {embed_dim: 16}
loss: aam
num_epochs: 2
num_avg: 2
margin_update: {increase_type: linear, increase_start_epoch: 1, fix_start_epoch: 2}
dataset_args: {num_frms: 24, min_num_frames: 10, fbank_args: {num_mel_bins: 8}}
dataloader_args: {batch_size: 8, num_workers: 1}
scheduler_args: {warm_up_epoch: 1}
heldout_speakers: 2
eval_epoch_interval: 1
save_epoch_interval: 1
save_minutes: 0.000001
log_batch_interval: 1
tensorboard: false
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    num_frames = {f"spk{s}/{u:02d}.wav": 25 + u for s in range(6) for u in range(8)}
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt, frames in num_frames.items():
            writer.write(utt, rng.normal(size=(frames, 8)))
    write_table(folder / "utt2num_frames", num_frames)
    write_table(folder / "utt2spk", {utt: utt[:4] for utt in num_frames})
    return folder


@pytest.fixture
def config(tmp_path):
    (tmp_path / "c.yaml").write_text(SYSTEM)
    return tmp_path / "c.yaml"


def command(config, data_dir, exp_dir, *words, changes=()):
    """Resolve the system, with "key=value" changes; return the command that trains it."""
    save_config(make_system(config, [*map(Override.of, changes)]), exp_dir / "system.yaml")
    return ["steps/train.sh", "--gpus", "none", "--num-threads", "1", *words, data_dir, exp_dir]


def start(root: Path, words, log: Path) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    script = ["bash", "-c", '. ./path.sh && exec "$@"', "-", *map(str, words)]
    with open(log, "ab") as f:
        return subprocess.Popen(script, cwd=root, stdout=f, stderr=f, start_new_session=True)


@pytest.mark.slow
def test_the_same_command_after_sigkill_ends_with_the_same_models(run, root, config, data_dir, tmp_path):
    """From a training to the mean of its models, by what a recipe calls; the quick kills are in test_experiment.py."""
    done = run(*command(config, data_dir, tmp_path / "whole"))
    assert done.returncode == 0, done.stderr
    assert "training is complete: 2 epochs; best held-out EER" in done.stderr
    *words, data, _ = command(config, data_dir, tmp_path / "whole", "--cmd", "queue.pl")
    env = {"PATH": f"{nothing_to_submit_with(tmp_path)}:{os.environ['PATH']}"}
    done = run(*words, data, f"{tmp_path}/./whole/", env=env)  # Python writes the folder without "." and the last "/"
    said = f"train.sh: {tmp_path}/whole: complete (2 epochs); nothing to do"
    assert (done.returncode, done.stderr.splitlines()[-1][20:]) == (0, said)
    exp, log = tmp_path / "killed", tmp_path / "log"
    process = start(root, command(config, data_dir, exp), log)
    wait_until(lambda: list(exp.glob("checkpoints/step_*3.pt")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = run(*command(config, data_dir, exp))
    assert "continuing at epoch 1, step " in done.stderr
    for name in ("model_1.pt", "model_2.pt", "best.pt", "avg_model.pt"):
        assert (exp / "models" / name).read_bytes() == (tmp_path / "whole" / "models" / name).read_bytes()


@pytest.mark.slow
def test_two_processes_by_the_same_command_and_their_end_with_the_parent(run, root, config, data_dir, tmp_path):
    exp, log = tmp_path / "exp", tmp_path / "log"
    changes = ["num_epochs=100000", "save_epoch_interval=100000", "dataloader_args.batch_size=4"]
    words = command(config, data_dir, exp, "--num-procs", "2", changes=changes)
    process = start(root, words, log)
    wait_until((exp / "metrics.jsonl").is_file, process)
    assert "2 process(es) on CPU" in log.read_text()
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(_runs_training(pid) for pid in children))


def _runs_training(pid: int) -> bool:
    try:
        return b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_mistake_in_several_processes_is_one_line(run, config, data_dir, tmp_path):
    short = tmp_path / "short"
    short.mkdir()
    (short / "feats.ark").symlink_to(data_dir / "feats.ark")
    for name in ("feats.scp", "utt2spk", "utt2num_frames"):
        (short / name).write_text((data_dir / name).read_text())
    changes = ["dataset_args.min_num_frames=99"]
    done = run(*command(config, short, tmp_path / "exp", "--num-procs", "2", changes=changes))
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, done.stderr
    assert re.match(r"train.py: error: .*short: all 32 utterances are shorter than 99 frames", errors[0])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_system_that_is_not_resolved_is_one_line(run, data_dir, tmp_path):
    done = run("steps/train.sh", "--gpus", "none", data_dir, tmp_path / "exp")
    assert done.returncode == 1
    message = f"train.py: error: {tmp_path}/exp/system.yaml does not exist; make it with steps/make_system.py"
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_a_scheduler_is_told_how_many_gpus(run, data_dir, tmp_path):
    done = run("steps/train.sh", "--cmd", "slurm.pl", "--gpus", "auto", data_dir, tmp_path / "exp")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("train.sh: error: --gpus auto: a scheduler must be told how many; give 0 for one")


@pytest.mark.slow
def test_gpus_and_threads_are_asked_for_from_the_scheduler(run, config, data_dir, tmp_path):
    show = tmp_path / "show.pl"
    show.write_text('#!/bin/sh\necho "$@"\n')
    show.chmod(0o755)
    words = command(config, data_dir, tmp_path / "exp", "--cmd", f"{show} --mem 1G")
    done = run(*words, "--gpus", "0,1")
    assert done.stdout.startswith(f"--mem 1G --gpu 2 {tmp_path}/exp/log/train.log steps/train.py ")
    done = run(*words, "--gpus", "none", "--num-procs", 3)
    assert done.stdout.startswith("--mem 1G --num-threads 3 ")
    assert "--num-threads 1 " in done.stdout


@pytest.mark.slow
def test_features_that_are_missing_or_cut_off_are_named(step, config, data_dir, tmp_path):
    _, *words = command(config, tmp_path, tmp_path / "exp")
    done = step("steps/train.py", *words)
    assert f"train.py: error: {tmp_path}/feats.scp does not exist; make it with steps/make_fbank.sh" in done.stderr
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in ("utt2spk", "utt2num_frames"):
        (cut / name).write_text((data_dir / name).read_text())
    ark = (data_dir / "feats.ark").read_bytes()
    (cut / "feats.ark").write_bytes(ark[: len(ark) // 2])
    (cut / "feats.scp").write_text((data_dir / "feats.scp").read_text().replace(str(data_dir), str(cut)))
    done = step("steps/train.py", *words[:-2], cut, tmp_path / "exp")
    assert done.returncode == 1
    assert re.search(r"train.py: error: .*feats.scp: spk5/07.wav: .*truncated, make it again", done.stderr)


def test_wrong_calls_print_usage(run):
    for words in ([], ["data"], ["--gpus", "none"]):
        done = run("steps/train.sh", *words)
        assert done.returncode == 2
        assert "Usage: steps/train.sh" in done.stderr
    assert "unknown option --gpu; did you mean --gpus?" in run("steps/train.sh", "--gpu", "0", "data", "exp").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-nodes", "2", "--gpus", "0"], "--num-nodes 2: run.pl knows one machine; give --gpus 0,1 alone"),
        (["--num-nodes", "2", "--cmd", "queue.pl", "--gpus", "auto"], "--gpus auto: a scheduler must be told how many"),
    ],
)
def test_wrong_numbers_of_nodes_are_refused(run, config, data_dir, tmp_path, options, message):
    done = run(*command(config, data_dir, tmp_path / "exp", *options))
    assert done.returncode == 2
    assert message in done.stderr
    assert [path.name for path in (tmp_path / "exp").iterdir()] == ["system.yaml"]


@pytest.mark.slow
def test_a_mistake_is_found_before_the_job_is_submitted(run, config, data_dir, tmp_path):
    changes = ["dataset_args.min_num_frames=99"]
    words = command(config, data_dir, tmp_path / "exp", "--cmd", "queue.pl", changes=changes)
    done = run(*words, env={"PATH": f"{nothing_to_submit_with(tmp_path)}:{os.environ['PATH']}"})
    assert done.returncode == 1
    assert "are shorter than 99 frames" in done.stderr
    assert "submitted" not in done.stderr


def nothing_to_submit_with(folder: Path) -> Path:
    """A folder with a qsub that fails the test."""
    (folder / "bin").mkdir()
    (folder / "bin" / "qsub").write_text("#!/bin/sh\necho submitted >&2\nexit 1\n")
    (folder / "bin" / "qsub").chmod(0o755)
    return folder / "bin"
