"""From a YAML file and a recipe's options to the configuration of one system, all of it resolved, and its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sv.config import Config, first_difference, load_config
from sv.errors import UserError
from sv.experiment import find_model, read_config
from sv.losses import LOSSES, build_head
from sv.models import MODELS, build_model


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
    "seed": Flag("seed", "of initialization, held-out speakers, order and crops"),
    "num_epochs": Flag("num_epochs", "length of training"),
    "num_avg": Flag("num_avg", "models averaged in stage 4"),
    "batch_size": Flag("dataloader_args.batch_size", "utterances a step and process"),
    "lr": Flag("scheduler_args.initial_lr", "learning rate, before it is scaled with the batch"),
    "head_init": Flag("head_init", "the head's start from another's model: auto, load, class_means or random"),
    "precision": Flag("precision", "fp32, bf16 or fp16"),
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
        words += ["loss_args={}", "margin_update.final_margin=null"]
    words += [f"{FLAGS[name].key}={value}" for name, value in given.items()]
    return resolve(load_config(path, [*words, *overrides]), str(path))


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
    given = [f"{FLAGS[name].key}={value}" for name, value in flags.items() if value]
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
    return resolve(load_config(path, overrides, over=trained), str(path))


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
    head = build_head(config.loss, 1, 2, loss_args)  # a tiny one, to ask it about its margin
    final = config.margin_update.final_margin
    if final is None:
        final = head.finetune_margin if config.do_lm and head.finetune_margin is not None else head.default_margin
    initial = min(max(config.margin_update.initial_margin, head.margin_range[0]), final)
    for margin in (initial, final):
        head.check_margin(margin)
    update = config.margin_update.model_copy(update={"final_margin": final, "initial_margin": initial})
    return config.model_copy(update={"model_args": model_args, "loss_args": loss_args, "margin_update": update})


def _check_sizes(model: str, model_args: dict[str, Any], where: str) -> None:
    """Build the encoder without its memory: what can not be built is better known before the features are made."""
    try:
        with torch.device("meta"):
            build_model(model, model_args)
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{where}: no {model} can be built with model_args {model_args}: {reason}") from error


def system_name(config: Config) -> str:
    """Name of a resolved system's folder: ResNet34-sphereface2-A-m0.15-seed42, ResNet34-softmax-seed42."""
    parts: list[Any] = [config.model, config.loss]
    if "margin_type" in config.loss_args:
        parts.append(config.loss_args["margin_type"])
    low, high = build_head(config.loss, 1, 2, config.loss_args).margin_range
    if high > low:
        parts.append(f"m{config.margin_update.final_margin:g}")
    return "-".join([*parts, f"seed{config.seed}"])
