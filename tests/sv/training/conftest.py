"""A tiny corpus of features and a system that learns it in a second or two."""

import socket
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.config import Config, parse_config
from sv.io import ArkWriter, write_table
from sv.system import resolve
from sv.training.network import SpeakerNet, build_network

MELS = 16


@pytest.fixture(scope="session")
def make_data() -> Callable[..., Path]:
    """Write a data dir of features whose deviation over time tells the speaker."""

    def make(
        folder: Path, *, speakers: int = 8, utts: int = 8, frames: tuple[int, int] = (30, 50), seed: int = 0
    ) -> Path:
        rng = np.random.default_rng(seed)
        folder.mkdir(parents=True, exist_ok=True)
        num_frames = {}
        with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
            for speaker in range(speakers):
                deviation = rng.uniform(0.2, 3, MELS)
                for number in range(utts):
                    utt = f"spk{speaker:02d}/{number:02d}.wav"
                    num_frames[utt] = int(rng.integers(*frames))
                    writer.write(utt, 10 + deviation * rng.standard_normal((num_frames[utt], MELS)))
        write_table(folder / "utt2num_frames", num_frames)
        write_table(folder / "utt2spk", {utt: utt[:5] for utt in num_frames})
        return folder

    return make


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory, make_data: Callable[..., Path]) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A resolved configuration; any key may be given."""

    def make(**changes: object) -> Config:
        tree = {
            "model": "resnet_small",
            "model_args": {"m_channels": 2, "embed_dim": 8},
            "loss": "sphereface2",
            "num_epochs": 3,
            "num_avg": 2,
            "margin_update": {"increase_start_epoch": 1, "fix_start_epoch": 2},
            "dataset_args": {"num_frms": 20, "min_num_frames": 10, "fbank_args": {"num_mel_bins": MELS}},
            "dataloader_args": {"batch_size": 8, "num_workers": 1},
            "scheduler_args": {"initial_lr": 0.4, "final_lr": 0.1, "warm_up_epoch": 1},
            "heldout_speakers": 2,
            "heldout_utts": 4,
            "eval_epoch_interval": 2,
            "save_epoch_interval": 1,
            "log_batch_interval": 2,
            "tensorboard": False,
        }
        return resolve(parse_config({**tree, **changes}, "test"), "test")

    return make


@pytest.fixture
def build(make_config: Callable[..., Config]) -> Callable[..., SpeakerNet]:
    """Build a network; any key of the configuration may be given."""

    def make(seed: int = 0, num_speakers: int = 4, **changes: object) -> SpeakerNet:
        torch.manual_seed(seed)
        return build_network(make_config(**changes).model_copy(update={"num_speakers": num_speakers}))

    return make


_TRAIN = """
import logging, os, sys, torch
from pathlib import Path
from sv.errors import UserError
from sv.training.distributed import join
from sv.training.run import train
os.environ.update(env)
torch.set_num_threads(threads)
logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s")
try:
    world = join(use_gpu=False)
    train(config, Path(data_dir), Path(exp_dir), world)
    world.leave()
except UserError as error:
    logging.getLogger().error("UserError: %s", error)
    sys.exit(1)
"""


@pytest.fixture(scope="session")
def start_training(with_torch: ForkServerContext) -> Callable[..., BaseProcess]:
    """Begin a training in a process of its own; its log is exp_dir.log."""

    def start(
        config: Config, data: Path, exp: Path, *, threads: int = 1, env: Mapping[str, str] | None = None
    ) -> BaseProcess:
        words = {
            "config": config,
            "data_dir": str(data),
            "exp_dir": str(exp),
            "threads": threads,
            "env": dict(env or {}),
        }
        process = with_torch.Process(target=exec, args=(_TRAIN, {**words, "log": f"{exp}.log"}))
        process.start()
        return process

    return start


@pytest.fixture
def worlds() -> Callable[[int], list[dict[str, str]]]:
    """The environments of the processes of one training, as torchrun would set them."""

    def make(size: int) -> list[dict[str, str]]:
        with socket.socket() as s:
            s.bind(("localhost", 0))
            shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(s.getsockname()[1])}
        return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]

    return make
