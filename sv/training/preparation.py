"""Prepare a training: choose classes, held-out speakers and batches, and check the state to continue from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.config import Config, load_config, parse_config
from sv.data import Sampler, UttIndex, build_sampler
from sv.data.sampling import Longs, ShareSampler
from sv.embeddings.experiment import check_front_end
from sv.errors import UserError, log
from sv.io import original_speakers, sha256_of
from sv.losses import loss_options
from sv.system import check_same_training
from sv.training.averaging import kept_models
from sv.training.checkpoint import Checkpoints, find_damage
from sv.training.dataset import TrainingData, build_dataset, with_speed_copies
from sv.training.distributed import World
from sv.training.heldout import (
    HeldoutTest,
    WholeUtts,
    count_originals,
    heldout_utts,
    select_heldout,
    training_speakers,
)
from sv.training.pseudo_labels import RIVALS_FILE, UTTS_FILE, PseudoUtts, read_pseudo_utts, read_rivals
from sv.training.teacher import TeacherEmbeddings, read_teacher

_NAMED = 5  # utterances without speech


class Preparation:
    """The part of a training that needs no network; `train` and `plan_training` both begin with it.

    Args:
        config: resolved (`sv.system`).
        data: what `read_data` found in the data dir.
        exp_dir: the training's folder; nothing is written to it.
        world: the processes.

    Attributes:
        config: with the number of speakers and the teacher's dimension filled in.
        init: model to start from, or None.
        heldout: names of the speakers set aside.
        speakers: names of the classes, in order.
        data: as given, its speakers numbered as classes.
        teacher: its embeddings of `data`, or None.
        dataset: makes batches of `data`.
        fingerprint: tells data and dataset from others.
        checkpoints: those in `exp_dir`.
        last_model: path of the model of the last epoch.

    Raises:
        UserError: the features are of another front-end; pseudo_args needs a file that is not there; or as
            `read_pseudo_utts`, `select_heldout`, `with_speed_copies`, `read_teacher` and `build_dataset` raise.
    """

    def __init__(self, config: Config, data: TrainingData, exp_dir: Path, world: World) -> None:
        self.exp_dir, self.world, self._all_speakers = exp_dir, world, data.index
        if config.train_feats == "ark":
            check_front_end(data.index.path, config.dataset_args.fbank_args, exp_dir / "system.yaml")
        self._is_pseudo = self._read_pseudo_utts(config)
        self.init = Path(config.model_init) if config.model_init else None
        self.heldout = select_heldout(data.index, self.init, config.heldout_speakers, config.seed, self._is_pseudo)
        self.speakers = with_speed_copies(training_speakers(data.index, self.heldout), config)
        self.data = data.with_speakers(self.speakers)
        self.teacher = (
            read_teacher(config.teacher, self.data.index, center=config.teacher_args.center) if config.teacher else None
        )
        self.config = _filled_in(config, len(self.speakers), self.teacher)
        self.dataset = build_dataset(config, self.data, on_gpu=world.device.type == "cuda")
        self.fingerprint = data.index.fingerprint() + self.dataset.fingerprint() + self._pseudo_fingerprint()
        if self.teacher is not None:
            self.fingerprint += self.teacher.fingerprint()
        self.checkpoints = Checkpoints(exp_dir / "checkpoints", config.keep_checkpoints)
        self.last_model = exp_dir / "models" / f"model_{config.num_epochs}.pt"

    def last_state(self) -> dict[str, Any] | None:
        """Return the last checkpoint's state; None if there is no checkpoint.

        Raises:
            UserError: the state, or a model without checkpoints, is of another configuration; the state is of other
                data or holds out other speakers; an unfinished training, or a model from elsewhere, has no
                checkpoints; or all checkpoints are damaged.
        """
        state = self.checkpoints.load_last()
        if state is None:
            self._check_models()
            return None
        check_same_training(self.config, parse_config(state["config"], "the checkpoint"), self.exp_dir)
        if state["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{self.exp_dir} was begun with other data than {self.data.index.path} (utterances, lengths, "
                "speakers or a teacher's embeddings differ); give another exp dir (--exp-dir of a recipe) to train on "
                "these, or the data it had"
            )
        if state["heldout"] != self.heldout:
            raise UserError(f"{self.exp_dir} holds out other speakers; give the same --checkpoint as at its start")
        return state

    def is_complete(self, state: dict[str, Any] | None) -> bool:
        """Return whether all epochs are done; without checkpoints, they are if the last model is there."""
        if state is None:
            return not find_damage(self.last_model)
        return bool(state["place"]["epoch"] > self.config.num_epochs)

    def _check_models(self) -> None:
        """Check models that have no checkpoints: nothing must be trained over them."""
        folder, trained = self.exp_dir / "models", self.exp_dir / "config.yaml"
        models = kept_models(folder)
        if models and trained.is_file():
            check_same_training(self.config, load_config(trained), self.exp_dir)
        begun = max(models, default=0) > 1 or (folder / "avg_model.pt").is_file()  # model_1.pt precedes a checkpoint
        if begun and not self.is_complete(None):
            raise UserError(
                f"{self.exp_dir} holds a model but no checkpoints, so training cannot continue; stage 4 uses the "
                f"model; give another --exp-dir to train anew, or remove {folder}"
            )

    def global_batch(self, state: dict[str, Any] | None) -> int:
        """Return the samples of a step over all processes; a continued training keeps its number.

        Raises:
            UserError: the processes cannot share that number evenly.
        """
        if state is None:
            return self.config.dataloader_args.batch_size * self.world.size
        batch: int = state["global_batch"]
        if batch % self.world.size:
            raise UserError(
                f"{self.exp_dir} trains with batches of {batch}, which {self.world.size} processes cannot share "
                f"evenly; continue with {state['processes']}, as before"
            )
        return batch

    def sampler(self, global_batch: int) -> Sampler:
        """Build the sampler of the training's utterances.

        Raises:
            UserError: all utterances are too short; or as `build_sampler` raises.
        """
        utts, per_epoch = self._training_utts(), self.config.dataset_args.sample_num_per_epoch
        if share := self.config.pseudo_args.labelled_share:
            assert self._is_pseudo is not None, "checked when it was read"
            labelled = ~self._is_pseudo[utts]
            return ShareSampler(utts, global_batch, self.config.seed, per_epoch, chosen=labelled, share=share)
        return build_sampler(
            self.config.dataloader_args,
            self.data.index,
            utts,
            global_batch,
            seed=self.config.seed,
            per_epoch=per_epoch,
        )

    def pseudo_utts(self) -> PseudoUtts | None:
        """Return what is known about labels from a clustering; None if all labels and pairs count alike.

        Raises:
            UserError: as `read_rivals`.
        """
        args, index = self.config.pseudo_args, self.data.index
        if not args.changes_loss:
            return None
        everyone = set(self._all_speakers.speakers)
        is_pseudo = np.zeros(len(index), dtype=bool) if self._is_pseudo is None else self._is_pseudo
        rivals = read_rivals(index, everyone - set(index.speakers)) if args.mask else None
        data_args = self.config.dataset_args
        whole = WholeUtts(self.data.reader(data_args), data_args.cmvn, "utterance to correct")
        return PseudoUtts(index, is_pseudo, rivals, whole)

    def _read_pseudo_utts(self, config: Config) -> NDArray[np.bool_] | None:
        """Read which labels are from a clustering; raise UserError if that must be known and is not."""
        found, key = read_pseudo_utts(self._all_speakers), config.pseudo_args.needs_pseudo_utts
        if key and found is None:
            raise UserError(
                f"{self._all_speakers.path / UTTS_FILE} does not exist, and {key} needs it: the utterances whose "
                "labels are from a clustering, one a line"
            )
        return found

    def _pseudo_fingerprint(self) -> str:
        """Return a hash of the files about pseudo labels that decide this training; "" if there are none."""
        paths = [self._all_speakers.path / UTTS_FILE]
        if self.config.pseudo_args.mask:
            paths.append(self._all_speakers.path / RIVALS_FILE)
        return "".join(sha256_of(path) for path in paths if path.is_file())

    def heldout_test(self) -> HeldoutTest | None:
        """Build the test on the held-out speakers; None if there are none."""
        if not self.heldout:
            return None
        utts = heldout_utts(self._all_speakers, self.heldout, self.config.heldout_utts, self.config.seed)
        args = self.config.dataset_args
        return HeldoutTest(self.data.reader(args), utts, self._all_speakers.speaker[utts], args.cmvn)

    def _training_utts(self) -> Longs:
        """Return the rows of the index to train on: those of the classes' speakers that are long enough."""
        index = self.data.index
        ours = index.speaker >= 0
        if self.data.voiced is not None and self.world.is_main:
            _name_silent(index)
        if self.config.do_lm:
            original = np.array([name == of for name, of in original_speakers(self.speakers).items()])
            ours &= original[index.speaker]
        shortest = self.config.dataset_args.min_num_frames
        enough = index.num_frames >= shortest
        utts = np.flatnonzero(ours & enough)
        short = int((ours & ~enough).sum())
        if not len(utts):
            raise UserError(
                f"{index.path}: all {short} utterances are shorter than {shortest} frames "
                "(dataset_args.min_num_frames); set that lower or prepare longer ones"
            )
        if short and self.world.is_main:
            log.info("%d of %d utterances are shorter than %d frames and left out", short, short + len(utts), shortest)
        compares = loss_options(self.config.loss, self.config.loss_args).compares_utterances
        return self._of_several(utts) if compares else utts

    def _of_several(self, utts: Longs) -> Longs:
        """Leave out speakers with a single recording: a loss would compare its crops with one another.

        Raises:
            UserError: nobody is left.
        """
        index = self.data.index
        speakers, which = np.unique(index.speaker[utts], return_inverse=True)
        kept = count_originals(index, utts, which) > 1
        if not kept.all() and self.world.is_main:
            log.warning(
                "%d of %d speakers have a single utterance and are left out, since loss %s compares utterances of a "
                "speaker; the first is %s",
                *(int((~kept).sum()), len(kept), self.config.loss, index.speakers[speakers[int(kept.argmin())]]),
            )
        if not kept.any():
            raise UserError(
                f"{index.path}: no speaker has two utterances or more, which loss {self.config.loss} compares; "
                "train with a loss such as sphereface2, or prepare more utterances of each speaker"
            )
        return utts[kept[which]]


def _filled_in(config: Config, num_speakers: int, teacher: TeacherEmbeddings | None) -> Config:
    """Return the configuration with what the data decide; raise UserError if the teacher's dimension does not fit."""
    if teacher is None:
        return config.model_copy(update={"num_speakers": num_speakers})
    dim, args = config.model_args.get("embed_dim"), config.teacher_args
    if not args.project and dim != teacher.dim:
        raise UserError(
            f"teacher_args.project is false, but {config.teacher} has {teacher.dim} dimensions and {config.model} "
            f"{dim}; set model_args.embed_dim={teacher.dim}, or leave out teacher_args.project"
        )
    filled = args.model_copy(update={"dim": teacher.dim})
    return config.model_copy(update={"num_speakers": num_speakers, "teacher_args": filled})


def _name_silent(index: UttIndex) -> None:
    """Warn of utterances in which the VAD found no speech."""
    silent = np.flatnonzero(index.num_frames == 0)
    if len(silent):
        names = ", ".join(index.utts[row] for row in silent[:_NAMED].tolist())
        more = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
        log.warning("%s: no speech by the VAD, left out: %s%s", index.path / "vad.scp", names, more)
