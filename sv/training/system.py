"""From a YAML file and a recipe's options to the configuration of one system, all of it resolved, and its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sv.config import Config, DataloaderArgs, Override, first_difference, load_config
from sv.embeddings.experiment import existing_model, find_model, read_config
from sv.errors import UserError
from sv.losses import LOSSES, build_head
from sv.models import MODELS, build_model

GROUP_OPTION = "utts_per_speaker"  # of the losses that compare the utterances of a batch


@dataclass(frozen=True)
class Flag:
    """An option of the command line for a key of the file."""

    key: str
    help: str


# The options of recipes that set a key; any other key is set with --set.
FLAGS: Mapping[str, Flag] = {
    "model": Flag("model", "encoder"),
    "loss": Flag("loss", "loss"),
    "margin_type": Flag("loss_args.margin_type", "C, A or M, of sphereface2"),
    "margin": Flag("margin_update.final_margin", "final margin"),
    "scale": Flag("loss_args.scale", "s"),
    "lambda": Flag("loss_args.target_weight", "weight of the target pair in sphereface2"),
    "t": Flag("loss_args.t", "exponent of sphereface2's g"),
    "train_feats": Flag("train_feats", "ark, online or shard"),
    "data_type": Flag("train_feats", "WeSpeaker's name of the same: feat, raw or shard"),
    "noise_data": Flag("noise_data", "data dir of noise, for online and shard"),
    "reverb_data": Flag("reverb_data", "data dir of impulse responses, for online and shard"),
    "seed": Flag("seed", "of initialization, held-out speakers, order and crops"),
    "num_epochs": Flag("num_epochs", "length of training"),
    "num_avg": Flag("num_avg", "models averaged in stage 4"),
    "batch_size": Flag("dataloader_args.batch_size", "utterances a step and process"),
    "lr": Flag("scheduler_args.initial_lr", "learning rate, before it is scaled with the batch"),
    "head_init": Flag("head_init", "the head's start from another's model: auto, load, class_means or random"),
    "precision": Flag("precision", "fp32, bf16 or fp16"),
    "split_head": Flag("split_head", "true: each training process owns the weight vectors of some speakers"),
    "sync_bn": Flag("sync_bn", "true: batch norm over the batches of all training processes (GPUs)"),
    "heldout_speakers": Flag("heldout_speakers", "training speakers set aside to measure the EER"),
}


def make_system(path: str | Path, flags: Mapping[str, str | None], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a file, changed by flags, then by overrides, with all options of its encoder and loss.

    A flag for another model or loss than the file's drops the file's options (and margin) for its own.

    Args:
        path: YAML.
        flags: by their names in `FLAGS`; empty or None leaves what the file says.
        overrides: "key=value".

    Raises:
        UserError: a key, a name or an option of them that is unknown; a value of another type or out of range.
    """
    given = {name: value for name, value in flags.items() if value}
    in_file = load_config(path)
    words = []
    if given.get("model", in_file.model) != in_file.model:
        words.append("model_args={}")
    if given.get("loss", in_file.loss) != in_file.loss:
        words += ["loss_args={}", "margin_update.final_margin=null", "dataloader_args.sampler=auto"]
    changes = [*map(Override.of, words), *map(_override, given, given.values()), *map(Override.of, overrides)]
    return resolve(load_config(path, changes), str(path))


def make_fine_tuning(
    path: str | Path, exp_dir: Path, flags: Mapping[str, str | None], overrides: Sequence[str] = ()
) -> Config:
    """The configuration that fine-tunes a trained system: its own, changed by a file, then by overrides.

    Args:
        path: YAML, conf/*_lm.yaml.
        exp_dir: of the trained system.
        flags: as of `make_system`, with which the system must have been trained.
        overrides: "key=value".

    Raises:
        UserError: no trained system; a flag that is not of it; a file for another model or loss; and as `make_system`.
    """
    find_model(exp_dir)
    trained, stated = read_config(exp_dir), load_config(path)
    given = [_override(name, value) for name, value in flags.items() if value]
    difference = first_difference(trained.model_dump(), load_config(exp_dir / "config.yaml", given).model_dump())
    if difference:
        key, was, wanted = difference
        raise UserError(f"{exp_dir} was trained with {key} {was}, not {wanted}; what fine-tuning changes is in {path}")
    for key in sorted({"model", "loss"} & stated.model_fields_set):
        if getattr(stated, key) != getattr(trained, key):
            raise UserError(
                f"{path}: {key} is {getattr(stated, key)}, but {exp_dir} was trained with {getattr(trained, key)}; "
                f"give the file for that one, or one that leaves {key} out"
            )
    return resolve(load_config(path, [*map(Override.of, overrides)], over=trained), str(path))


def check_start(config: Config, init: Path | None) -> None:
    """See that there is a model to start from where the configuration needs one, and that its file is there.

    Raises:
        UserError: it is missing.
    """
    if init is None and config.head_init in ("load", "class_means"):
        raise UserError(f"head_init is {config.head_init}, but there is no model to start from: --checkpoint")
    if init is not None:
        existing_model(init)


def _override(flag: str, value: str) -> Override:
    return Override(FLAGS[flag].key, value, f"--{flag.replace('_', '-')} {value}")


def resolve(config: Config, where: str) -> Config:
    """Fill in what a file may leave open: the options of encoder and loss, the final margin, the input dimension."""
    mels = config.dataset_args.fbank_args.num_mel_bins
    if config.model_args.get("feat_dim", mels) != mels:
        raise UserError(
            f"{where}: model_args.feat_dim is {config.model_args['feat_dim']}, but "
            f"dataset_args.fbank_args.num_mel_bins is {mels}; make them equal"
        )
    if config.margin_update.fix_start_epoch < config.margin_update.increase_start_epoch:
        raise UserError(f"{where}: margin_update.fix_start_epoch is before margin_update.increase_start_epoch")
    model_args = MODELS.resolve(config.model, {**config.model_args, "feat_dim": mels})
    _check_sizes(config.model, model_args, where)
    loss_args = LOSSES.resolve(config.loss, config.loss_args)
    loader_args = _resolve_sampler(config, compares=GROUP_OPTION in loss_args, where=where)
    if GROUP_OPTION in loss_args:
        loss_args[GROUP_OPTION] = loader_args.utts_per_speaker
    head = build_head(config.loss, 1, 2, loss_args)  # a tiny one, to ask it what it can
    if config.split_head:
        head.split(0, 1)
    final = config.margin_update.final_margin
    if final is None:
        final = head.finetune_margin if config.do_lm and head.finetune_margin is not None else head.default_margin
    initial = min(max(config.margin_update.initial_margin, head.margin_range[0]), final)
    initial = final if head.margin_from_start else initial
    for margin in (initial, final):
        head.check_margin(margin)
    update = config.margin_update.model_copy(update={"final_margin": final, "initial_margin": initial})
    return config.model_copy(
        update={
            "model_args": model_args,
            "loss_args": loss_args,
            "margin_update": update,
            "dataloader_args": loader_args,
        }
    )


def _resolve_sampler(config: Config, *, compares: bool, where: str) -> DataloaderArgs:
    """The sampler that the loss needs, if the file leaves it open, and a check of what it says.

    Args:
        compares: the loss is a metric loss, which compares the utterances of a batch.
    """
    args, group = config.dataloader_args, config.dataloader_args.utts_per_speaker
    name = args.sampler
    if name == "auto":
        name = "pxk" if compares else "utterance"
    if compares and name != "pxk":
        raise UserError(
            f"{where}: dataloader_args.sampler is {name}, but loss {config.loss} compares the utterances of a batch, "
            "which takes pxk; leave it out"
        )
    given = config.loss_args.get(GROUP_OPTION, group)
    if compares and given != group:
        raise UserError(
            f"{where}: loss_args.{GROUP_OPTION} is {given}, but dataloader_args.utts_per_speaker is {group}; "
            "leave the first out"
        )
    if name == "pxk" and config.train_feats != "ark" and config.dataset_args.speeds:
        raise UserError(
            f"{where}: dataset_args.speeds makes another speaker of a sample, which the sampler pxk does not allow; "
            "set dataset_args.speeds=[]"
        )
    if name == "pxk" and (args.batch_size % group or args.batch_size < 2 * group):
        raise UserError(
            f"{where}: dataloader_args.batch_size is {args.batch_size}, which is not two or more speakers x {group} "
            "utterances (dataloader_args.utts_per_speaker)"
        )
    return args.model_copy(update={"sampler": name})


def _check_sizes(model: str, model_args: dict[str, Any], where: str) -> None:
    """Build the encoder without its memory: what can not be built is better known before the features are made."""
    try:
        with torch.device("meta"):
            build_model(model, model_args)
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{where}: no {model} can be built with model_args {model_args}: {reason}") from error


def system_name(config: Config) -> str:
    """Name of a resolved system's folder: ResNet34-sphereface2-A-m0.15-seed42, ResNet34-softmax-online-seed42."""
    parts: list[Any] = [config.model, config.loss]
    parts += [config.loss_args[option] for option in ("margin_type", "mining") if option in config.loss_args]
    low, high = build_head(config.loss, 1, 2, config.loss_args).margin_range
    if high > low:
        parts.append(f"m{config.margin_update.final_margin:g}")
    if config.train_feats != "ark":
        parts.append(config.train_feats)
    return "-".join([*parts, f"seed{config.seed}"])
