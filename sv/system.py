"""From a YAML file and a recipe's options to the configuration of one system, all of it resolved, and its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sv.config import Config, DataloaderArgs, Override, first_difference, load_config
from sv.embeddings.experiment import existing_model, find_model, read_config
from sv.errors import UserError
from sv.losses import LOSSES, build_head
from sv.models import MODELS, build_model

GROUP_OPTION = "utts_per_speaker"  # of the losses that compare the utterances of a batch


# Keys that belong to one encoder or loss: an override that names another one drops them.
OWN_KEYS = {
    "model": ["model_args={}"],
    "loss": ["loss_args={}", "margin_update.final_margin=null", "dataloader_args.sampler=auto"],
}


def make_system(path: str | Path, overrides: Sequence[Override] = ()) -> Config:
    """Read a file, apply the overrides and resolve the result.

    An override of `model` or `loss` other than the file's drops what the file says of that one: its options, and a
    loss's margin and sampler.

    Args:
        path: YAML.
        overrides: later ones win.

    Raises:
        UserError: a key, a name or an option is unknown; a value has another type or is out of range.
    """
    in_file, asked = load_config(path), load_config(path, overrides)
    changed = [kind for kind in OWN_KEYS if getattr(asked, kind) != getattr(in_file, kind)]
    dropped = [Override.of(word) for kind in changed for word in OWN_KEYS[kind]]
    return resolve(load_config(path, [*dropped, *overrides]), str(path))


def make_fine_tuning(
    path: str | Path, exp_dir: Path, trained_with: Sequence[Override] = (), overrides: Sequence[Override] = ()
) -> Config:
    """Resolve the fine-tuning of a trained system: its configuration, changed by a file and then by overrides.

    Args:
        path: YAML, conf/*_lm.yaml.
        exp_dir: the trained system.
        trained_with: what the system must have been trained with.
        overrides: later ones win.

    Raises:
        UserError: the system is not trained, or was trained otherwise; the file is for another model or loss; and as
            `make_system`.
    """
    find_model(exp_dir)
    trained, stated = read_config(exp_dir), load_config(path)
    difference = first_difference(trained.model_dump(), load_config(exp_dir / "config.yaml", trained_with).model_dump())
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


def check_start(config: Config, init: Path | None) -> None:
    """See that there is a model to start from where the configuration needs one, and that its file is there.

    Raises:
        UserError: it is missing.
    """
    if init is None and config.head_init in ("load", "class_means"):
        raise UserError(f"head_init is {config.head_init}, but there is no model to start from: --checkpoint")
    if init is not None:
        existing_model(init)


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
