"""One training from a configuration and a data dir to models: checks everything, then trains or goes on.

exp_dir/config.yaml      the resolved configuration, which alone rebuilds the network
        spk2id           speaker -> class, in the order of the classes
        heldout_spk      speakers set aside
        bad_utts         utterances that could not be read, and why; none: no such file
        train.log, metrics.jsonl, tensorboard/
        models/model_N.pt, best.pt     flat state dicts (network.py); model_0.pt is the untrained network
        checkpoints/step_XXXXXXXX.pt   whole states (trainer.py)
"""

import os
import platform
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sv.config import Config, first_difference, load_config, parse_config, read_front_end, save_config
from sv.data import FaultTolerantDataset, Loader, Sampler, UttIndex, build_sampler, rows_of
from sv.errors import UserError, log
from sv.io import atomic_write, base_speaker, write_table
from sv.jobs import folder_lock
from sv.losses.head import Head
from sv.system import check_same_training, check_start
from sv.training import rng
from sv.training.checkpoint import Checkpoints, find_damage, remove_temporary, save_tensors
from sv.training.compiling import compile_encoder
from sv.training.dataset import TrainingData, build_dataset, read_data, with_speed_copies
from sv.training.distributed import World
from sv.training.divergence import NonFiniteGuard
from sv.training.heldout import HeldoutTest, choose_heldout, heldout_of, heldout_utts, training_speakers, warn_of_known
from sv.training.monitor import Monitor, logged_to
from sv.training.network import SpeakerNet, build_network, class_means, read_speakers, start_from
from sv.training.schedules import LearningRate, Margin
from sv.training.split_head import own_head
from sv.training.trainer import Trainer


def train(config: Config, data_dir: Path, exp_dir: Path, world: World) -> None:
    """Train, or go on with a training that was ended, or say that it is complete.

    Args:
        config: resolved (`sv.system`).
        data_dir: with feats.scp, utt2spk, utt2num_frames and, as steps/make_fbank.sh leaves it, fbank.yaml; with
            train_feats online wav.scp and utt2spk, with shard shard.list.
        exp_dir: the training's folder.
        world: the processes; all of them call this.

    Raises:
        UserError: see each step; and a configuration or data other than those that `exp_dir` was begun with.
    """
    data = read_data(config, data_dir)  # before anything is written
    with ExitStack() as stack:
        if world.is_main:
            stack.enter_context(folder_lock(exp_dir, "trained"))
            stack.enter_context(logged_to(exp_dir / "train.log"))
            log.info("%s, torch %s: %s", platform.node(), torch.__version__, shlex.join(sys.argv))
        world.barrier()
        check_arks(config, data_dir)
        Experiment(config, data, exp_dir, world).run()


class Experiment:
    """The parts of a training, put together.

    Args: as of `train`, with what is in the data dir.
    """

    def __init__(self, config: Config, data: TrainingData, exp_dir: Path, world: World) -> None:
        self.exp_dir, self.world, index = exp_dir, world, data.index
        self.init = Path(config.model_init) if config.model_init else None  # its held-out speakers stay held out
        self.heldout = self._choose_heldout(config, index)
        self.speakers = with_speed_copies(training_speakers(index, self.heldout), config)
        self.config = config.model_copy(update={"num_speakers": len(self.speakers)})
        self.all_speakers = index  # with every speaker, for the held-out test
        self.data = data.with_speakers(self.speakers)
        self.index = self.data.index
        self.dataset = build_dataset(config, self.data, on_gpu=world.device.type == "cuda")
        self.fingerprint = index.fingerprint() + self.dataset.fingerprint()
        self.checkpoints = Checkpoints(exp_dir / "checkpoints", config.keep_checkpoints)

    def run(self) -> None:
        state = self.last_state()
        if state is not None:
            self._warn_of_changes(state)
        self.world.barrier()
        if self.world.is_main:
            self.checkpoints.clean(state["place"]["step"] if state else -1)
            remove_temporary(self.exp_dir / "models")
            remove_temporary(self.exp_dir)
        self.world.barrier()
        if state is not None and state["place"]["epoch"] > self.config.num_epochs:
            self._say_complete(state)
            return
        if state is None:
            check_start(self.config)
        trainer = self._trainer(self.global_batch(state), self._network())
        if state is not None:
            trainer.load_state(state, str(self.exp_dir))
        else:
            self._start(trainer)
        if self.world.is_main:
            self._write_facts()
            self._announce(trainer)
        self._fit(trainer)

    def _choose_heldout(self, config: Config, index: UttIndex) -> list[str]:
        inherited = heldout_of(self.init, index) if self.init and config.heldout_speakers else []
        return inherited or choose_heldout(index, config.heldout_speakers, config.seed)

    def _start(self, trainer: Trainer) -> None:
        """Give a new training the weights of the model to start from, if there is one."""
        config, net = self.config, trainer.net
        if self.init is None:
            return
        whole = net if net.head.part is None else SpeakerNet(net.backbone, self._whole_head())
        start_from(
            whole,
            self.init,
            self.speakers,
            head_init=config.head_init,
            means=lambda: class_means(net.backbone, trainer.loader.epoch(0), len(self.speakers), self.world),
            margin=trainer.margin(0),
        )
        if net.head.part is not None:
            net.head.load_state_dict(own_head(net.head, whole.head.state_dict()))
        warn_of_known(self.heldout, read_speakers(self.init.parent.parent / "spk2id"), self.init)

    def _fit(self, trainer: Trainer) -> None:
        if not self.world.is_main:
            trainer.fit(None)
            return
        monitor = Monitor(
            self.exp_dir,
            step=trainer.place.step,
            steps_per_epoch=trainer.steps_per_epoch,
            tensorboard=self.config.tensorboard,
        )
        bad, bad_list = trainer.bad, self.exp_dir / "bad_utts"
        try:
            with monitor:
                trainer.fit(monitor)
        finally:
            bad.write(bad_list)
        if bad.why:
            log.warning("%d utterances could not be read and were replaced; see %s", len(bad.why), bad_list)
        best = trainer.place
        measured = f"; best held-out EER {best.best_eer:.2f} % (epoch {best.best_epoch})" if best.best_epoch else ""
        log.info("training is complete: %d epochs%s", self.config.num_epochs, measured)

    def last_state(self) -> dict[str, Any] | None:
        """The state to go on from, if there is one, after a check that it is of this training."""
        state = self.checkpoints.load_last()
        if state is None:
            if any((self.exp_dir / "models").glob("model_[1-9]*.pt")) and (self.exp_dir / "config.yaml").is_file():
                check_same_training(self.config, load_config(self.exp_dir / "config.yaml"), self.exp_dir)
            return None
        check_same_training(self.config, parse_config(state["config"], "the checkpoint"), self.exp_dir)
        if state["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{self.exp_dir} was begun with other data than {self.index.path} (utterances, lengths or speakers "
                "differ); give the same data dir, or another exp dir (or remove this one)"
            )
        if state["heldout"] != self.heldout:
            raise UserError(f"{self.exp_dir} holds out other speakers; give the --checkpoint of then")
        return state

    def _warn_of_changes(self, state: dict[str, Any]) -> None:
        if not self.world.is_main:
            return
        now = {"processes": self.world.size, "threads": torch.get_num_threads(), "device": self.world.device.type}
        for name, value in now.items():
            if state[name] != value:
                log.warning("%s were %s, now %s: the result will not be bit-identical", name, state[name], value)

    def global_batch(self, state: dict[str, Any] | None) -> int:
        """That of the training so far, whatever the number of processes now."""
        if state is None:
            return self.config.dataloader_args.batch_size * self.world.size
        batch: int = state["global_batch"]
        if batch % self.world.size:
            raise UserError(
                f"{self.exp_dir} trains with batches of {batch}, which {self.world.size} processes can not share "
                f"evenly; go on with {state['processes']}"
            )
        return batch

    def _say_complete(self, state: dict[str, Any]) -> None:
        """All is done; the last model is written again if it is lost or damaged."""
        last = self.exp_dir / "models" / f"model_{self.config.num_epochs}.pt"
        if self.world.is_main:
            if find_damage(last):
                save_tensors(state["model"], last)
            save_config(self.config, self.exp_dir / "config.yaml")
            log.info("%s: training is complete (%d epochs); nothing to do", self.exp_dir, self.config.num_epochs)

    def _trainer(self, global_batch: int, net: SpeakerNet) -> Trainer:
        config = self.config
        sampler = self.sampler(global_batch)
        learning_rate, margin = self.schedules(global_batch, sampler.steps)
        mended = FaultTolerantDataset(
            self.dataset,
            sampler.utts,
            self.index,
            seed=config.seed,
            max_share=config.max_bad_share,
            keep_speakers=config.dataloader_args.sampler == "pxk",
        )
        loader = Loader(
            mended,
            sampler,
            num_workers=config.dataloader_args.num_workers,
            prefetch=config.dataloader_args.prefetch_factor,
            process=(self.world.rank, self.world.size),
            pin=self.world.device.type == "cuda",
        )
        return Trainer(
            config,
            net,
            loader,
            self.world,
            learning_rate=learning_rate,
            margin=margin,
            heldout=self._heldout_test(),
            guard=NonFiniteGuard(
                lambda draw: self.index.utts[rows_of(draw)],
                lambda utts, epoch: self.dataset.batch(utts, epoch).to(self.world.device).features,
                "make them again (stage 2)" if config.train_feats == "ark" else "look at these files",
            ),
            bad=mended.bad,
            exp_dir=self.exp_dir,
            facts={
                "config": config.model_dump(),
                "fingerprint": self.fingerprint,
                "heldout": self.heldout,
                "global_batch": global_batch,
                "processes": self.world.size,
                "threads": torch.get_num_threads(),
                "device": self.world.device.type,
                "torch": str(torch.__version__),
            },
        )

    def sampler(self, global_batch: int) -> Sampler:
        config = self.config
        return build_sampler(
            config.dataloader_args,
            self.index,
            self._training_utts(),
            global_batch,
            seed=config.seed,
            per_epoch=config.dataset_args.sample_num_per_epoch,
        )

    def schedules(self, global_batch: int, steps_per_epoch: int) -> tuple[LearningRate, Margin]:
        config = self.config
        final_margin = config.margin_update.final_margin
        assert final_margin is not None, "a resolved configuration has a final margin"
        return (
            LearningRate(config.scheduler, config.scheduler_args, steps_per_epoch, config.num_epochs, global_batch),
            Margin(config.margin_update, final_margin, steps_per_epoch),
        )

    def _training_utts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rows of the index to train on: of the classes' speakers, and not too short."""
        ours = self.index.speaker >= 0
        if self.config.do_lm:
            original = np.array([base_speaker(name) == name for name in self.speakers])
            ours &= original[self.index.speaker]
        shortest = self.config.dataset_args.min_num_frames
        enough = self.index.num_frames >= shortest
        utts = np.flatnonzero(ours & enough)
        short = int((ours & ~enough).sum())
        if not len(utts):
            raise UserError(
                f"{self.index.path}: all {short} utterances are shorter than {shortest} frames "
                "(dataset_args.min_num_frames); set that lower or prepare longer ones"
            )
        if short and self.world.is_main:
            log.info("%d of %d utterances are shorter than %d frames and left out", short, short + len(utts), shortest)
        return utts

    def _whole_head(self) -> Head:
        """The head as one process would have it at the start, the same in all of them."""
        rng.seed_all(self.config.seed)
        head = build_network(self.config).head.to(self.world.device)
        rng.seed_all(self.config.seed + self.world.rank)
        return head

    def _network(self) -> SpeakerNet:
        """The same weights in every process; random numbers of their own from here on."""
        rng.seed_all(self.config.seed)
        net = build_network(self.config)
        if self.config.channels_last and self.world.device.type == "cuda":  # on CPUs, 1x1 strided convolutions crash
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.split_head and self.world.size > 1:
            net.head.split(self.world.rank, self.world.size)
        if self.config.sync_bn and self.world.size > 1:
            self.world.sync_batch_norm(net.backbone)
        rng.seed_all(self.config.seed + self.world.rank)
        net.to(self.world.device)
        if self.config.compile:
            compile_encoder(net, self.world.device)
        return net

    def _heldout_test(self) -> HeldoutTest | None:
        if not self.heldout:
            return None
        utts = heldout_utts(self.all_speakers, self.heldout, self.config.heldout_utts, self.config.seed)
        args = self.config.dataset_args
        return HeldoutTest(self.data.reader(args.fbank_args), utts, self.all_speakers.speaker[utts], args.cmvn)

    def _write_facts(self) -> None:
        save_config(self.config, self.exp_dir / "config.yaml")
        write_table(self.exp_dir / "spk2id", {name: number for number, name in enumerate(self.speakers)})
        with atomic_write(self.exp_dir / "heldout_spk") as f:
            f.writelines(f"{name}\n" for name in self.heldout)

    def _announce(self, trainer: Trainer) -> None:
        """What is about to happen, in WeSpeaker's spirit: the effective learning rate, iterations of an epoch."""
        config, world, lr, margin = self.config, self.world, trainer.learning_rate, trainer.margin
        steps, parts = config.num_epochs * lr.steps_per_epoch, (trainer.net.backbone, trainer.net.head)
        encoder, head = (sum(p.numel() for p in part.parameters()) / 1e6 for part in parts)
        log.info("%s (%.3f M parameters), %s %s (%.3f M)", config.model, encoder, config.loss, config.loss_args, head)
        speakers, utts = (len(self.speakers), len(self.heldout)), len(trainer.loader.sampler.utts)
        log.info("%d speakers to train on, %d held out; %d utterances", *speakers, utts)
        log.info(
            "%d process(es) on %s, %s, batch %d in all", world.size, _name(world), config.precision, lr.global_batch
        )
        log.info("%d epochs of %d iterations", config.num_epochs, lr.steps_per_epoch)
        rule = f"batch {lr.global_batch} / 64" if config.scheduler_args.scale_with_batch else "scale_with_batch is off"
        log.info("learning rate %g x %g (%s)", config.scheduler_args.initial_lr, lr.scale, rule)
        log.info("effective learning rate: first %.4g, peak %.4g, last %.4g", lr(0), lr.peak(), lr(steps - 1))
        log.info("margin: first %.4g, last %.4g", margin(0), margin(steps - 1))
        if margin(steps - 1) < margin.final - 0.01:
            log.warning("the margin does not reach its final value %g; see margin_update's epochs", margin.final)


def _name(world: World) -> str:
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    return f"CPU ({torch.get_num_threads()} threads each, {os.cpu_count()} cores)"


def check_arks(config: Config, data_dir: Path) -> None:
    """Features in arks must be those that the configuration speaks of; dither apart, which only blurs them."""
    if config.train_feats != "ark":
        return
    path = data_dir / "fbank.yaml"
    found = read_front_end(data_dir)
    if found is None:
        log.info("%s does not exist: taking the features for those of dataset_args.fbank_args", path)
        return
    difference = first_difference(found.model_dump(), config.dataset_args.fbank_args.model_dump(), {"dither"})
    if difference:
        key, there, here = difference
        raise UserError(
            f"{path}: {key} is {there}, but {here} in dataset_args.fbank_args; "
            "make the features again (stage 2) or mend the configuration"
        )
