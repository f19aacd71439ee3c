"""Run one training, from a configuration and a data dir to models: check everything, then train or continue.

exp_dir/config.yaml      the resolved configuration, which alone rebuilds the network
        spk2id           speaker -> class, in the order of the classes
        heldout_spk      held-out speakers
        pseudo_labels    what the training made of labels from a clustering; only with pseudo_args (pseudo_labels.py)
        bad_utts         utterances that could not be read, and why; absent if there are none
        train.log, metrics.jsonl, tensorboard/
        models/model_N.pt, best.pt     flat state dicts (network.py); model_0.pt is the untrained network
        models/avg_model.pt            the mean of the last of them (averaging.py)
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

from sv.config import Config, save_config
from sv.data import FaultTolerantDataset, Loader, Sampler, rows_of
from sv.errors import UserError, explain_out_of_memory, log, tell
from sv.io import atomic_write, write_table
from sv.jobs import folder_lock
from sv.jobs.disk import check_free
from sv.losses import loss_options
from sv.losses.head import Head
from sv.system import check_start
from sv.training.averaging import average
from sv.training.checkpoint import find_damage, remove_temporary, save_tensors
from sv.training.compiling import compile_encoder
from sv.training.dataset import read_data
from sv.training.distributed import World
from sv.training.divergence import NonFiniteGuard
from sv.training.fine_tuning import class_means, load_pretrained, start_from, warn_of_front_end
from sv.training.gpu import set_up_gpu
from sv.training.heldout import warn_of_known
from sv.training.monitor import Monitor, logged_to
from sv.training.network import SpeakerNet, build_network, in_channels_last, read_speakers
from sv.training.parameter_groups import check_fine_tuning
from sv.training.plan import training_bytes
from sv.training.preparation import Preparation
from sv.training.schedules import build_schedules
from sv.training.split_head import own_head
from sv.training.trainer import Inputs, Trainer


def train(config: Config, data_dir: Path, exp_dir: Path, world: World) -> None:
    """Train, go on with a training that was interrupted, or say that it is complete.

    Args:
        config: resolved (`sv.system`).
        data_dir: holds feats.scp, utt2spk, utt2num_frames and fbank.yaml, as steps/make_fbank.sh leaves them; with
            train_feats online wav.scp and utt2spk, with shard shard.list.
        exp_dir: the training's folder.
        world: the processes; each of them calls this.

    Raises:
        UserError: configuration or data are not those that `exp_dir` was begun with; or as each part raises.
    """
    data = read_data(config, data_dir)  # before anything is written
    with ExitStack() as stack:
        if world.is_main:
            stack.enter_context(folder_lock(exp_dir, "trained"))
            stack.enter_context(logged_to(exp_dir / "train.log"))
            log.info("%s, torch %s: %s", platform.node(), torch.__version__, shlex.join(sys.argv))
        world.barrier()
        _Run(Preparation(config, data, exp_dir, world)).run()


class _Run:
    """One call of `train` after its preparation."""

    def __init__(self, prepared: Preparation) -> None:
        self.prepared = prepared
        self.config, self.exp_dir, self.world = prepared.config, prepared.exp_dir, prepared.world

    def run(self) -> None:
        """Train from the last state, or from the start if there is none; do nothing if the training is complete."""
        state = self.prepared.last_state()
        if state is not None:
            self._warn_of_changes(state)
        self.world.barrier()
        if self.world.is_main:
            self.prepared.checkpoints.clean(state["place"]["step"] if state else -1)
            remove_temporary(self.exp_dir / "models")
            remove_temporary(self.exp_dir)
        self.world.barrier()
        if self.prepared.is_complete(state):
            self._say_complete(state)
            return
        if state is None:
            check_start(self.config)
            check_free({self.exp_dir: training_bytes(self.config)})
        with explain_out_of_memory(self._memory_advice):
            self._train(state)
        if self.world.is_main:
            self._average()

    def _average(self) -> None:
        """Average the last models; if one is missing, the training is complete all the same, and stage 4 asks again."""
        try:
            average(self.exp_dir)
        except UserError as error:
            log.warning("the last models were not averaged: %s", error)

    def _train(self, state: dict[str, Any] | None) -> None:
        trainer = self._trainer(self.prepared.global_batch(state), self._network())
        if state is not None:
            trainer.load_state(state, str(self.exp_dir))
        elif self.prepared.init is not None:
            self._start_from(self.prepared.init, trainer)
        elif self.config.pretrained:
            load_pretrained(trainer.net, self.config.pretrained)
        if self.world.is_main:
            self._write_facts()
            self._announce(trainer)
        self._fit(trainer)

    def _memory_advice(self) -> str:
        config, args = self.config, self.config.dataset_args
        smaller = "" if config.precision == "bf16" else ", or set precision=bf16"
        return (
            f"{config.model} in {config.precision} trains with {config.dataloader_args.batch_size} crops of "
            f"{args.num_frms} frames per process, on {_name(self.world)}: lower dataloader_args.batch_size or "
            f"dataset_args.num_frms{smaller}; with many speakers and processes, split_head=true"
        )

    def _warn_of_changes(self, state: dict[str, Any]) -> None:
        if not self.world.is_main:
            return
        now = {"processes": self.world.size, "threads": torch.get_num_threads(), "device": self.world.device.type}
        for name, value in now.items():
            if state[name] != value:
                log.warning("%s were %s, now %s: the result will not be bit-identical", name, state[name], value)

    def _say_complete(self, state: dict[str, Any] | None) -> None:
        """Say that nothing is left to do; write the last model again if it is lost or damaged."""
        last = self.prepared.last_model
        if self.world.is_main:
            if state is not None and find_damage(last):
                save_tensors(state["model"], last)
            save_config(self.config, self.exp_dir / "config.yaml")
            tell("training is complete (%d epochs); nothing to do", self.config.num_epochs)

    def _network(self) -> SpeakerNet:
        """Build the network: the same weights in every process, and other random numbers from then on."""
        if self.world.device.type == "cuda":
            set_up_gpu(self.config)
        torch.manual_seed(self.config.seed)
        net = build_network(self.config)
        check_fine_tuning(net, self.config)
        if in_channels_last(self.config, self.world.device):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.split_head and self.world.size > 1:
            net.head.split(self.world.rank, self.world.size)
        if self.config.sync_bn and self.world.size > 1:
            self.world.sync_batch_norm(net.backbone)
        torch.manual_seed(self.config.seed + self.world.rank)
        net.to(self.world.device)
        if self.config.compile:
            compile_encoder(net, self.world.device)
        return net

    def _whole_head(self) -> Head:
        """Build the whole head as a single process would start with it, the same in every process."""
        torch.manual_seed(self.config.seed)
        head = build_network(self.config).head.to(self.world.device)
        torch.manual_seed(self.config.seed + self.world.rank)
        return head

    def _trainer(self, global_batch: int, net: SpeakerNet) -> Trainer:
        sampler = self.prepared.sampler(global_batch)
        schedules = build_schedules(self.config, sampler.steps, global_batch)
        return Trainer(self.config, net, self._inputs(sampler), schedules, self.world, self.exp_dir)

    def _inputs(self, sampler: Sampler) -> Inputs:
        prepared, args, index = self.prepared, self.config.dataloader_args, self.prepared.data.index
        mended = FaultTolerantDataset(
            prepared.dataset,
            sampler.utts,
            index,
            seed=self.config.seed,
            max_share=self.config.max_bad_share,
            keep_speakers=args.sampler == "pxk",
        )
        loader = Loader(
            mended,
            sampler,
            num_workers=args.num_workers,
            prefetch=args.prefetch_factor,
            process=(self.world.rank, self.world.size),
            pin=self.world.device.type == "cuda",
        )
        guard = NonFiniteGuard(
            lambda draw: index.utts[rows_of(draw)],
            lambda utts, epoch: prepared.dataset.batch(utts, epoch).to(self.world.device).features,
            "make them again (stage 2)" if self.config.train_feats == "ark" else "look at these files",
        )
        return Inputs(
            loader,
            mended.bad,
            guard,
            prepared.heldout_test(),
            prepared.heldout,
            prepared.fingerprint,
            prepared.pseudo_utts(),
            prepared.teacher,
        )

    def _start_from(self, model: Path, trainer: Trainer) -> None:
        """Give a new training the weights of another's model."""
        config, net, speakers = self.config, trainer.net, self.prepared.speakers
        warn_of_front_end(config, model)
        whole = net if net.head.part is None else SpeakerNet(net.backbone, self._whole_head())
        start_from(
            whole,
            model,
            speakers,
            head_init=config.head_init,
            means=lambda: class_means(net.backbone, trainer.loader.epoch(0), len(speakers), self.world),
            margin=trainer.margin(0),
        )
        if net.head.part is not None:
            net.head.load_state_dict(own_head(net.head, whole.head.state_dict()))
        warn_of_known(self.prepared.heldout, read_speakers(model.parent.parent / "spk2id"), model)

    def _write_facts(self) -> None:
        save_config(self.config, self.exp_dir / "config.yaml")
        write_table(self.exp_dir / "spk2id", {name: number for number, name in enumerate(self.prepared.speakers)})
        with atomic_write(self.exp_dir / "heldout_spk") as f:
            f.writelines(f"{name}\n" for name in self.prepared.heldout)

    def _announce(self, trainer: Trainer) -> None:
        """Log what is about to happen, as WeSpeaker does: network, data, batch, learning rate and margin."""
        config, world, lr, margin = self.config, self.world, trainer.learning_rate, trainer.margin
        steps, parts = config.num_epochs * lr.steps_per_epoch, (trainer.net.backbone, trainer.net.head)
        encoder, head = (sum(p.numel() for p in part.parameters()) / 1e6 for part in parts)
        log.info("%s (%.3f M parameters), %s %s (%.3f M)", config.model, encoder, config.loss, config.loss_args, head)
        utts, held_out, speakers = trainer.loader.sampler.utts, len(self.prepared.heldout), len(self.prepared.speakers)
        if loss_options(config.loss, config.loss_args).compares_utterances:  # it has no class of those it leaves out
            speakers = len(np.unique(self.prepared.data.index.speaker[rows_of(utts)]))
        few = "; of so few held out, the EER says little" if 0 < held_out < 5 else ""
        tell("%d speakers to train on, %d held out; %d utterances%s", speakers, held_out, len(utts), few)
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

    def _fit(self, trainer: Trainer) -> None:
        if not self.world.is_main:
            trainer.fit(None)
            return
        monitor = Monitor(
            self.exp_dir,
            step=trainer.place.step,
            num_epochs=self.config.num_epochs,
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
        tell("training is complete: %d epochs%s", self.config.num_epochs, measured)
        if trainer.trouble:
            log.warning(
                "but the network has not learned: %s; lower scheduler_args.initial_lr (now %g), set clip_grad_norm, "
                "and check that utt2spk belongs to the features",
                *(trainer.trouble, self.config.scheduler_args.initial_lr),
            )


def _name(world: World) -> str:
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    return f"CPU ({torch.get_num_threads()} threads each, {os.cpu_count()} cores)"
