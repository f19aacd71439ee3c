"""Resolve the configuration of a system, from a YAML file and what a recipe changes, and name it; without torch."""

from collections.abc import Sequence
from pathlib import Path

from sv.config import FREE_KEYS, Config, DataloaderArgs, FineTuning, MarginUpdate, Override, load_config
from sv.embeddings.experiment import existing_model, find_model, read_config
from sv.errors import UserError
from sv.io.nested_keys import first_difference
from sv.losses import loss_options
from sv.losses.options import LossOptions, SphereFace2Options
from sv.models import MODELS, encoder_options

RANDOM = "random"  # of `pretrained`: no file, for tests
GROUP_OPTION = "utts_per_speaker"  # of the losses that compare the utterances of a batch

# Keys that belong to one encoder, loss or margin type: an override that names another one drops them.
_MARGIN = [f"margin_update.{word}" for word in ("initial_margin=0.0", "final_margin=null", "update_margin=true")]
OWN_KEYS = {
    "model": ["model_args={}"],
    "loss": ["loss_args={}", *_MARGIN, "dataloader_args.sampler=auto"],
    "margin_type": _MARGIN,
}


def make_system(path: str | Path, overrides: Sequence[Override] = ()) -> Config:
    """Read a file, apply the overrides and resolve the result.

    An override of `model` or `loss` other than the file's drops what the file says of that one: its options, and a
    loss's margin and sampler. One of the margin type drops the margin, since each type has margins of its own.

    Args:
        path: YAML.
        overrides: later ones win.

    Raises:
        UserError: a key, a name or an option is unknown; a value has another type or is out of range.
    """
    in_file, asked = load_config(path), load_config(path, overrides)
    changed = [kind for kind in OWN_KEYS if _named(asked)[kind] != _named(in_file)[kind]]
    dropped = [Override.of(word) for kind in changed for word in OWN_KEYS[kind]]
    return resolve(load_config(path, [*dropped, *overrides]), str(path))


def _named(config: Config) -> dict[str, object]:
    """Return what `OWN_KEYS` belong to."""
    margin_type = config.loss_args.get("margin_type", SphereFace2Options.model_fields["margin_type"].default)
    return {"model": config.model, "loss": config.loss, "margin_type": margin_type}


def make_fine_tuning(path: str | Path, exp_dir: Path, overrides: Sequence[Override] = ()) -> Config:
    """Resolve the fine-tuning of a trained system: its configuration, changed by a file and then by overrides.

    Training starts from the averaged model of the system, whose own `fine_tuning` was for the start of its training.
    With do_lm, the margin is that of the loss for fine-tuning, or that of the system if it is larger, unless file or
    overrides give one. Without, it is that of the system.

    Args:
        path: YAML, conf/*_lm.yaml.
        exp_dir: the trained system.
        overrides: later ones win.

    Raises:
        UserError: the system is not trained; the file is for another model or loss; and as `make_system`.
    """
    model = find_model(exp_dir)
    trained, stated = read_config(exp_dir), load_config(path)
    for key in sorted({"model", "loss"} & stated.model_fields_set):
        if getattr(stated, key) != getattr(trained, key):
            raise UserError(
                f"{path}: {key} is {getattr(stated, key)}, but {exp_dir} was trained with {getattr(trained, key)}; "
                f"give the file for that one, or one that leaves {key} out"
            )
    over = trained.model_copy(update={"fine_tuning": FineTuning()})
    if load_config(path, overrides, over=over).do_lm:
        to_fill_in = {"final_margin": None, "update_margin": True}
        over = over.model_copy(update={"margin_update": trained.margin_update.model_copy(update=to_fill_in)})
    config = load_config(path, overrides, over=over)
    start = {"model_init": str(model.absolute()), "pretrained": "", "num_speakers": None}
    return resolve(config.model_copy(update=start), str(path), trained.margin_update.final_margin or 0.0)


def trained_system(exp_dir: Path, overrides: Sequence[Override] = ()) -> Config:
    """Return the configuration of a trained system; overrides may change only what does not change its weights.

    Raises:
        UserError: the system is not trained, or was trained otherwise than the overrides say.
    """
    trained = read_config(exp_dir)
    system = exp_dir / "system.yaml"  # may differ in what is free, such as num_avg
    config = load_config(system if system.is_file() else exp_dir / "config.yaml", overrides)
    check_same_training(config, trained, exp_dir)
    return config


def check_same_training(config: Config, trained: Config, exp_dir: Path) -> None:
    """Raise UserError if a folder was trained with another configuration than this one."""
    asked = config.model_copy(update={"num_speakers": config.num_speakers or trained.num_speakers})
    difference = first_difference(asked.model_dump(), trained.model_dump(), FREE_KEYS)
    if difference:
        key, now, before = difference
        raise UserError(
            f"{exp_dir} was begun with another configuration: {key} was {before}, now {now}; "
            "give the same options, or another --exp-dir (or remove this one)"
        )


def check_same_network(config: Config, trained: Config, exp_dir: Path) -> None:
    """Raise UserError if a folder's system has another encoder or loss than this configuration."""
    named = {"model": config.model, "loss": config.loss}
    check_same_training(trained.model_copy(update=named), trained, exp_dir)


def check_start(config: Config) -> None:
    """Raise UserError if teacher or model to start from is missing, or not given where head or encoder need one."""
    needed = encoder_options(config.model, config.model_args).weights
    if config.pretrained and not needed:
        raise UserError(f"--pretrained {config.pretrained}: {config.model} is built on no other network; leave it out")
    if needed and not (config.pretrained or config.model_init):
        raise UserError(
            f"{config.model} starts from weights in a file: fetch {needed} and give it as --pretrained FILE"
        )
    if config.pretrained not in ("", RANDOM) and not Path(config.pretrained).is_file():
        raise UserError(f"--pretrained {config.pretrained}: there is no such file; fetch {needed}")
    if not config.model_init and config.head_init in ("load", "class_means"):
        raise UserError(f"head_init is {config.head_init}, but there is no model to start from: --checkpoint")
    if config.model_init:
        existing_model(config.model_init)
    if config.teacher:
        find_model(config.teacher)


def resolve(config: Config, where: str, least_margin: float = 0.0) -> Config:
    """Fill in what a file may leave open: the options of encoder and loss, the margins and the sampler.

    Args:
        where: the file, for errors.
        least_margin: smallest one to fill in.

    Raises:
        UserError: a name or an option is unknown; values are out of range or do not go together.
    """
    config = _with_own_front_end(config, where)
    mels = config.dataset_args.fbank_args.num_mel_bins
    if config.model_args.get("feat_dim", mels) != mels:
        raise UserError(
            f"{where}: model_args.feat_dim is {config.model_args['feat_dim']}, but "
            f"dataset_args.fbank_args.num_mel_bins is {mels}; make them equal"
        )
    fbank = config.dataset_args.fbank_args
    if config.dataset_args.vad and not (fbank.kind == "kaldi" and fbank.snip_edges):
        what = "kind kaldi" if fbank.kind != "kaldi" else "snip_edges true"
        raise UserError(f"{where}: dataset_args.vad takes frames of fbank_args.{what}; leave out one of the two")
    model_args = MODELS.resolve(config.model, {**config.model_args, "feat_dim": mels})
    options = loss_options(config.loss, config.loss_args)
    if config.split_head and not options.can_split:
        raise UserError(f"{where}: loss {config.loss} has no weight vectors to share out; leave out split_head")
    loader_args = _resolve_sampler(config, options, where)
    _check_teacher(config, options, where)
    _check_pseudo_args(config, options, loader_args.sampler, where)
    group = {GROUP_OPTION: loader_args.utts_per_speaker} if options.compares_utterances else {}
    return config.model_copy(
        update={
            "model_args": model_args,
            "loss_args": {**options.model_dump(), **group},
            "margin_update": _resolve_margins(config, options, where, least_margin),
            "dataloader_args": loader_args,
        }
    )


def _with_own_front_end(config: Config, where: str) -> Config:
    """Return the configuration with the features that its encoder takes, if it takes no other ones."""
    given = {key: value for key, value in config.model_args.items() if key != "feat_dim"}
    front_end, data = encoder_options(config.model, given).front_end, config.dataset_args
    if not front_end:
        return config
    rate, given_rate = front_end["sample_rate"], data.fbank_args.sample_rate
    if given_rate != rate:
        raise UserError(
            f"{where}: {config.model} takes waveforms of {rate} Hz, but dataset_args.fbank_args.sample_rate is "
            f"{given_rate}; convert the recordings (local/convert_audio.sh)"
        )
    if data.spec_aug:
        raise UserError(f"{where}: dataset_args.spec_aug hides mels, and {config.model} takes waveforms; leave it out")
    fbank_args = data.fbank_args.model_copy(update=dict(front_end))
    return config.model_copy(
        update={
            "dataset_args": data.model_copy(update={"fbank_args": fbank_args, "cmvn": False}),
            "model_args": {**given, "feat_dim": fbank_args.num_mel_bins},
        }
    )


def _resolve_margins(config: Config, options: LossOptions, where: str, least: float) -> MarginUpdate:
    """Fill in the margins of the loss, and check those that the file has."""
    update, margins = config.margin_update, options.margins
    if update.fix_start_epoch < update.increase_start_epoch:
        raise UserError(f"{where}: margin_update.fix_start_epoch is before margin_update.increase_start_epoch")
    initial, final = update.initial_margin or margins.lowest, update.final_margin
    if not update.update_margin:
        final = initial
    elif final is None:
        final = margins.finetune if config.do_lm and margins.finetune is not None else margins.default
        final = max(final, least)
    if not margins.grows:
        initial = final
    for margin in (initial, final):
        margins.check(margin, f"loss {config.loss}")
    if initial > final and update.increase_type != "fixed":
        raise UserError(
            f"{where}: margin_update.initial_margin is {initial:g}, above final_margin {final:g}; set it lower, or "
            "update_margin=false to keep it throughout"
        )
    return update.model_copy(update={"final_margin": final, "initial_margin": initial})


def _resolve_sampler(config: Config, options: LossOptions, where: str) -> DataloaderArgs:
    """Fill in the sampler that the loss needs, or check the one that the file has."""
    args, group, compares = config.dataloader_args, config.dataloader_args.utts_per_speaker, options.compares_utterances
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


def _check_teacher(config: Config, options: LossOptions, where: str) -> None:
    """Check that there is a teacher if the loss needs one, and that the other keys allow it."""
    if options.needs_teacher and not config.teacher:
        raise UserError(f"{where}: loss {config.loss} takes a teacher; give its experiment folder (--teacher DIR)")
    if not config.teacher:
        return
    if config.split_head:
        raise UserError(f"{where}: split_head does not go with a teacher; leave out one of the two")
    if config.train_feats != "ark" and config.dataset_args.speeds:
        raise UserError(
            f"{where}: dataset_args.speeds makes other voices, which the teacher has not heard; "
            "set dataset_args.speeds=[]"
        )


def _check_pseudo_args(config: Config, options: LossOptions, sampler: str, where: str) -> None:
    """Check that loss, sampler and speeds go with what is done about pseudo labels."""
    args = config.pseudo_args
    if args.changes_loss and not options.can_split:
        what = "compares utterances" if options.compares_utterances else "reads no labels"
        raise UserError(
            f"{where}: pseudo_args.gate, mask and correct_above take a loss with a class for each speaker, and loss "
            f"{config.loss} {what}; leave them out, or train with a loss such as sphereface2"
        )
    if (args.gate or args.correct_above) and args.start_epoch >= config.num_epochs:
        raise UserError(
            f"{where}: pseudo_args.start_epoch is {args.start_epoch}, and num_epochs {config.num_epochs}: gate and "
            "correction would never begin; set it lower"
        )
    if args.labelled_share and sampler != "utterance":
        raise UserError(
            f"{where}: pseudo_args.labelled_share takes dataloader_args.sampler utterance, not {sampler}; "
            "leave out one of the two"
        )
    if args.correct_above and config.train_feats != "ark" and config.dataset_args.speeds and not config.do_lm:
        raise UserError(
            f"{where}: pseudo_args.correct_above cannot correct labels of the copies that dataset_args.speeds makes; "
            "set dataset_args.speeds=[]"
        )


def system_name(config: Config) -> str:
    """Return the name of a resolved system's folder, as in ResNet34-sphereface2-A-m0.15-seed42."""
    options = loss_options(config.loss, config.loss_args)
    parts = [config.model, config.loss, *(str(getattr(options, option)) for option in options.in_name)]
    if options.margins.has_range:
        parts.append(f"m{config.margin_update.final_margin:g}")
    if config.train_feats != "ark":
        parts.append(config.train_feats)
    if config.teacher and not options.needs_teacher:
        parts.append("taught")
    return "-".join([*parts, f"seed{config.seed}"])
