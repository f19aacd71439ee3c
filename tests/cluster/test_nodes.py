"""Training over two nodes: as one process would train, and on from the last checkpoint when one of them is killed."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.config import Override, save_config
from sv.io import ArkWriter, write_table
from sv.system import make_system
from tests.cluster.conftest import Cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

MELS = 8
# 30 steps of 8 utterances make an epoch; several processes write a checkpoint each 20 steps, if they are asked to.
SYSTEM = f"""
model: XVEC
model_args: {{embed_dim: 16}}
loss: sphereface2
num_epochs: 2
num_avg: 1
margin_update: {{increase_start_epoch: 1, fix_start_epoch: 2}}
dataset_args: {{num_frms: 24, fbank_args: {{num_mel_bins: {MELS}}}}}
dataloader_args: {{num_workers: 1}}
scheduler_args: {{initial_lr: 0.2, warm_up_epoch: 1}}
freeze_batch_norm: true
heldout_speakers: 2
eval_epoch_interval: 1
save_minutes: 0.000001
log_batch_interval: 1
tensorboard: false
"""


class Training:
    """A small corpus, and steps/train.sh on it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        rng = np.random.default_rng(0)
        utts = [f"spk{speaker}/{number:02d}.wav" for speaker in range(6) for number in range(60)]
        with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
            for utt in utts:
                writer.write(utt, rng.normal(size=(30, MELS)))
        write_table(folder / "utt2num_frames", dict.fromkeys(utts, 30))
        write_table(folder / "utt2spk", {utt: utt[:4] for utt in utts})
        (folder / "system.yaml").write_text(SYSTEM)

    def start(self, exp_dir: Path, batch_size: int, *options: str, min_num_frames: int = 10) -> subprocess.Popen[str]:
        """Resolve the system, and train it."""
        changes = [f"dataloader_args.batch_size={batch_size}", f"dataset_args.min_num_frames={min_num_frames}"]
        system = make_system(self.folder / "system.yaml", [Override.of(change) for change in changes])
        save_config(system, exp_dir / "system.yaml")
        words = [*options, "--gpus", "none", "--num-threads", "1", self.folder, exp_dir]
        command = ["steps/train.sh", *map(str, words)]
        return subprocess.Popen(command, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def run(self, exp_dir: Path, batch_size: int, *options: str) -> None:
        process = self.start(exp_dir, batch_size, *options)
        _, stderr = process.communicate(timeout=250)
        assert process.returncode == 0, stderr


@pytest.fixture(scope="module")
def training(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(root, tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(training: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two nodes, both on this machine; its path has the name of a node's number."""
    exp_dir = tmp_path_factory.mktemp("nodes") / "NODE"
    training.run(exp_dir, 4, "--num-nodes", "2", "--cmd", "run.pl")
    return exp_dir


def learned(exp_dir: Path) -> list[tuple[str, list[float | None]]]:
    """Return loss and accuracy of each step, and the EER of held-out speakers after each epoch."""
    lines = [json.loads(line) for line in (exp_dir / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "lr", "margin", "loss", "accuracy", "heldout_eer")
    return [(line["kind"], [line.get(name) for name in names]) for line in lines]


def test_two_nodes_see_the_batches_of_one_process_and_end_with_its_weights(
    training: Training, undisturbed: Path, tmp_path: Path
) -> None:
    training.run(tmp_path / "one", 8)
    both = zip(learned(undisturbed), learned(tmp_path / "one"), strict=True)
    for (kind, values), (expected_kind, expected) in both:
        assert kind == expected_kind
        assert values == [value if value is None else pytest.approx(value, rel=1e-4) for value in expected]
    name = "models/model_2.pt"
    result, single = (torch.load(folder / name, weights_only=True) for folder in (undisturbed, tmp_path / "one"))
    for key, value in single.items():
        torch.testing.assert_close(result[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def test_a_mistake_ends_all_nodes_and_is_shown(training: Training, tmp_path: Path) -> None:
    options = ["--num-nodes", "2", "--cmd", "run.pl --max-retries 0"]
    process = training.start(tmp_path / "exp", 4, *options, min_num_frames=99)
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 1
    assert re.search(r"1 of 2 jobs failed, the first is job \d \(code 1\)", stderr)
    logs = [log.read_text() for log in (tmp_path / "exp" / "log").glob("train.*.log")]
    assert any("all 240 utterances are shorter than 99 frames" in log for log in logs)


def processes_of_node(number: int, exp_dir: Path) -> list[int]:
    """The agent and the training process of a node, and what runs them for the scheduler."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            if command.endswith(f"{exp_dir}\0".encode()) and f"--node\0{number}\0".encode() in command:
                found += [int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize(("scheduler", "killed"), [("gridengine", 1), ("slurm", 2)])
def test_training_goes_on_by_itself_when_a_node_is_killed(
    start_cluster: Callable[[str], Cluster],
    training: Training,
    undisturbed: Path,
    tmp_path: Path,
    scheduler: str,
    killed: int,
) -> None:
    cluster, exp_dir = start_cluster(scheduler), tmp_path / "exp"
    process = training.start(exp_dir, 4, "--num-nodes", "2", "--cmd", f"{cluster.submitter.name} --mem 500M")
    wait_until(lambda: list(exp_dir.glob("checkpoints/step_*.pt")), process)
    for pid in set(processes_of_node(killed, exp_dir)):
        os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr
    assert "continuing at epoch 1, step 20 " in (exp_dir / "train.log").read_text()
    assert learned(exp_dir) == learned(undisturbed)
    model = "models/model_2.pt"
    assert (exp_dir / model).read_bytes() == (undisturbed / model).read_bytes()
    assert not (exp_dir / "rendezvous").exists()
