"""Convert a WeSpeaker configuration into ours: keep keys, rename keys, and list those left out with the reason.

Defaults of their training are written out where a key is missing, so that the training stays the same. One error lists
all keys that are unknown or not supported, with the reasons.

WeSpeaker: wespeaker/bin/train.py, wespeaker/models/projections.py and examples/voxceleb/v2/conf of 2026-07.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sv.config import Config, parse_config
from sv.errors import UserError
from sv.io.nested_keys import flatten, unflatten
from sv.losses import LOSSES
from sv.models import MODELS
from sv.system import resolve

_SAME = {
    *("seed", "num_epochs", "num_avg", "save_epoch_interval", "log_batch_interval", "do_lm"),
    *(f"dataloader_args.{key}" for key in ("batch_size", "num_workers", "prefetch_factor")),
    *(f"dataset_args.{key}" for key in ("num_frms", "sample_num_per_epoch", "aug_prob", "cmvn", "spec_aug")),
    *(f"dataset_args.spec_aug_args.{key}" for key in ("num_t_mask", "num_f_mask", "max_t", "max_f", "prob")),
    *(f"dataset_args.fbank_args.{key}" for key in ("num_mel_bins", "frame_length", "frame_shift", "dither")),
    *(f"margin_update.{key}" for key in ("initial_margin", "final_margin", "increase_start_epoch", "fix_start_epoch")),
    *(f"margin_update.{key}" for key in ("update_margin", "increase_type")),
    *(f"optimizer_args.{key}" for key in ("momentum", "nesterov", "weight_decay")),
    *(f"scheduler_args.{key}" for key in ("initial_lr", "final_lr", "warm_up_epoch", "warm_from_zero")),
}
_RENAMED = {
    "data_type": "train_feats",
    "model_args.acoustic_dim": "model_args.feat_dim",
    "dataset_args.resample_rate": "dataset_args.fbank_args.sample_rate",
    "dataset_args.filter_args.min_num_frames": "dataset_args.min_num_frames",
}
_TFMEL = "dataset_args.tfmel_args."
_TFMEL_DEFAULTS = {"n_mels": 80, "hop_length": 160, "f_min": 20, "f_max": 7600, "norm_signal": False}
_TFMEL_NAMES = {"n_mels": "num_mel_bins", "f_min": "low_freq", "f_max": "high_freq", "norm_signal": "unit_variance"}
_TFMEL_ONLY: dict[str, Any] = {
    "sample_rate": 16000,
    "win_length": 400,
    "n_fft": 512,
    "do_preemph": True,
    "do_spec_aug": False,
}
_TFMEL_ONLY |= {"eps": 1e-8}
_IMPORTED_BELOW = ("model", "optimizer", "dataset_args.frontend")
_IN_TRAINING = "filled in when training begins"
_RECIPE_OPTION = "an option of the recipe"
_LEFT_OUT = {
    "exp_dir": f"{_RECIPE_OPTION}, --exp-dir",
    "gpus": f"{_RECIPE_OPTION}, --gpus",
    "checkpoint": f"{_RECIPE_OPTION}, --checkpoint",
    "model_init": f"{_RECIPE_OPTION}, --checkpoint",
    "train_data": "the recipe finds the data",
    "train_label": "the recipe finds the data",
    "noise_data": "their LMDB is not read; local/prepare_musan.py makes the data dir that is read here",
    "reverb_data": "their LMDB is not read; local/prepare_rirs.py makes the data dir that is read here",
    "dataloader_args.pin_memory": "always on with a GPU",
    "dataloader_args.drop_last": "an incomplete last batch is always dropped",
    "dataset_args.shuffle": "utterances are always shuffled over the whole set",
    "dataset_args.shuffle_args.shuffle_size": "utterances are always shuffled over the whole set",
    "dataset_args.filter": "utterances that are too short are always left out",
    "dataset_args.filter_args.max_num_frames": "a crop is drawn from the whole utterance",
    "margin_update.epoch_iter": _IN_TRAINING,
    "optimizer_args.lr": "set by scheduler_args.initial_lr",
    "scheduler_args.num_epochs": "set by num_epochs",
    "scheduler_args.epoch_iter": _IN_TRAINING,
    "scheduler_args.scale_ratio": "computed from batch size and processes, as there",
    "projection_args.embed_dim": "set by model_args.embed_dim",
    "projection_args.num_class": _IN_TRAINING,
    "projection_args.do_lm": "set by do_lm",
}
_ONLY = {  # key -> the only supported value, and why others are not
    "loss": ("CrossEntropyLoss", "the only one supported"),
    "margin_scheduler": ("MarginScheduler", "the only one supported"),
    "scheduler": ("ExponentialDecrease", "and our WarmupCosine differs from theirs: set it by hand"),
    "dataset_args.speed_perturb_mode": ("random", "use --train-feats ark, which has all copies in each epoch"),
    "dataset_args.cmvn_args.norm_mean": (True, "see dataset_args.cmvn"),
    "dataset_args.cmvn_args.norm_var": (False, "since features are never divided by their deviation"),
}
_THEIR_DEFAULTS: dict[str, Any] = {
    "dataset_args.aug_prob": 0.0,
    "scheduler_args.warm_from_zero": False,
}
_OPTIMIZER_DEFAULTS = {  # torch's; AdamW has no momentum
    "SGD": {"optimizer_args.momentum": 0.0, "optimizer_args.nesterov": False, "optimizer_args.weight_decay": 0.0},
    "AdamW": {"optimizer_args.weight_decay": 0.01},
}
_LOSS_OPTIONS: dict[str, dict[str, str]] = {  # project_type -> its options -> ours
    "softmax": {},
    "add_margin": {"scale": "scale"},
    "arc_margin": {"scale": "scale", "easy_margin": "easy_margin"},
    "arc_margin_intertopk_subcenter": {
        "scale": "scale",
        "easy_margin": "easy_margin",
        "K": "num_subcenters",
        "mp": "top_margin",
        "k_top": "top_k",
    },
    "sphere": {},
    "sphereface2": {"scale": "scale", "t": "t", "lanbuda": "target_weight", "margin_type": "margin_type"},
}
_OTHER_TRAININGS = {  # block -> why no key of such a file is looked at
    "feature_args": "it is of a WeSpeaker before 2023; take the file of that name in their examples/voxceleb/v2",
    "dataset_args.chunk_info_args": "it trains without labels (DINO, MoCo, SimCLR), which is not done here",
}
_FRONT_END_ARGS = {f"{name}_args" for name in ("s3prl", "tfmel", "w2vbert", "whisper_encoder")}
_ALL_LOSS_OPTIONS = {option for options in _LOSS_OPTIONS.values() for option in options}
_SPEEDS = [0.9, 1.1]
_ANNEALING_STEPS = 1658  # of A-softmax, see sv/losses/sphereface.py


@dataclass
class Imported:
    """Result of an import.

    Attributes:
        keys: our keys, dotted, and their values.
        left_out: their key -> why it is not needed, or what to watch for.
        refused: their key -> why it is not supported.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def tree(self) -> dict[str, Any]:
        """Return our keys in blocks, as in a YAML file."""
        return unflatten(self.keys)


def import_config(tree: Mapping[str, Any], where: str) -> tuple[Config, Imported]:
    """Return our configuration, resolved, and what became of each key.

    Args:
        tree: content of a WeSpeaker YAML file, as written or as their training left it in exp/NAME/config.yaml.
        where: the file, for errors.

    Raises:
        UserError: keys that are not supported, or values that are out of range.
    """
    theirs, found = flatten(tree), Imported()
    for block, why in _OTHER_TRAININGS.items():
        if any(key.startswith(f"{block}.") for key in theirs):
            raise UserError(f"{where}: cannot be imported: {why}")
    found.keys |= _THEIR_DEFAULTS
    for key, value in theirs.items():
        _import_key(key, value, found)
    _import_front_end(theirs, found)
    _import_model(theirs, found)
    _import_loss(theirs, found)
    _import_optimizer(theirs, found)
    if found.refused:
        reasons = "; ".join(f"{key}: {why}" for key, why in found.refused.items())
        raise UserError(f"{where}: cannot be imported: {reasons}")
    return resolve(parse_config(found.tree(), where), where), found


def import_encoder(tree: Mapping[str, Any], where: str) -> tuple[Config, Imported]:
    """Return `import_config` of the keys of encoder and front-end alone; training has our defaults.

    Raises:
        UserError: these are not supported; or they are those of a WeSpeaker before 2023.
    """
    if "feature_args" in tree:
        raise UserError(
            f"{where}: cannot be imported: feature_args is of a WeSpeaker before 2023; write its front-end as "
            "dataset_args.fbank_args and dataset_args.resample_rate in its place"
        )
    chosen = ["model", "model_args.", _TFMEL, "dataset_args.fbank_args."]
    chosen += [f"dataset_args.{key}" for key in ("resample_rate", "cmvn", "frontend")]
    kept = {key: value for key, value in flatten(tree).items() if key.startswith(tuple(chosen))}
    kept.pop("model_init", None)
    loss = {"projection_args.project_type": "sphereface2", "optimizer": "SGD"}
    return import_config(unflatten(kept | loss), where)


def _import_key(key: str, value: Any, found: Imported) -> None:
    """Import a key that does not depend on others."""
    only, others = _ONLY.get(key, (None, ""))
    if key in _SAME or key in _RENAMED:
        found.keys[_RENAMED.get(key, key)] = value
        if key == "dataset_args.resample_rate":
            found.left_out[key] = (
                "files are not resampled while they are read; convert those of another rate: local/convert_audio.sh "
                f"--sample-rate {value}"
            )
    elif key in _LEFT_OUT:
        found.left_out[key] = _LEFT_OUT[key]
    elif only is not None:
        if value != only:
            found.refused[key] = f"{value} is not {only}, {others}"
    elif key == "enable_amp":
        found.keys["precision"] = "fp16" if value else "fp32"
    elif key == "dataset_args.speed_perturb":
        found.keys["dataset_args.speeds"] = _SPEEDS if value else []
        if value:
            found.left_out[key] = (
                "set by dataset_args.speeds; with --train-feats ark stage 2 makes the copies, --speeds"
            )
    elif key.startswith("model_args."):
        found.keys[key] = value
    elif key not in _IMPORTED_BELOW and not key.startswith("projection_args.") and not _of_front_end(key):
        found.refused[key] = "unknown key; remove it if you do not need it"


def _of_front_end(key: str) -> bool:
    """Return whether a key is an option of a front-end other than fbank, which `dataset_args.frontend` names."""
    block, dot, rest = key.removeprefix("dataset_args.").partition(".")
    return key.startswith("dataset_args.") and bool(dot and rest) and block in _FRONT_END_ARGS


def _import_front_end(theirs: Mapping[str, Any], found: Imported) -> None:
    """Import tfmel, which subtracts the mean itself; fbank is the default."""
    frontend = theirs.get("dataset_args.frontend", "fbank")
    given = {key.removeprefix(_TFMEL): key for key in theirs if key.startswith(_TFMEL)}
    if frontend == "fbank":
        found.left_out |= dict.fromkeys(given.values(), "the front-end is fbank")
    elif frontend != "tfmel":
        found.refused["dataset_args.frontend"] = f"{frontend} is not fbank or tfmel, the only ones supported"
    else:
        values = {**_TFMEL_DEFAULTS, **{name: theirs[key] for name, key in given.items()}}
        for name, only in _TFMEL_ONLY.items():
            if values.pop(name, only) != only:
                found.refused[_TFMEL + name] = f"only {only} is supported"
        front_end = {"kind": "redimnet_tf", "frame_shift": values.pop("hop_length") / 16, "dither": 0.0}
        front_end |= {ours: values.pop(name) for name, ours in _TFMEL_NAMES.items()}
        front_end |= {name: float(front_end[name]) for name in ("low_freq", "high_freq")}
        found.keys |= {f"dataset_args.fbank_args.{name}": value for name, value in front_end.items()}
        found.keys["dataset_args.cmvn"] = True
        found.refused |= dict.fromkeys((given[name] for name in values), "unknown key; remove it if you do not need it")


def _import_model(theirs: Mapping[str, Any], found: Imported) -> None:
    model = theirs.get("model")
    if model in MODELS.names():
        found.keys["model"] = model
    else:
        found.refused["model"] = f"{model} is none of {', '.join(MODELS.names())}"


def _import_loss(theirs: Mapping[str, Any], found: Imported) -> None:
    project_type = theirs.get("projection_args.project_type")
    if project_type not in _LOSS_OPTIONS:
        found.refused["projection_args.project_type"] = f"{project_type} is none of {', '.join(_LOSS_OPTIONS)}"
        return
    found.keys["loss"], options = LOSSES.elsewhere[project_type], _LOSS_OPTIONS[project_type]
    given = {key.removeprefix("projection_args."): key for key in theirs if key.startswith("projection_args.")}
    for option, key in given.items():
        if option in options:
            found.keys[f"loss_args.{options[option]}"] = theirs[key]
        elif option in _ALL_LOSS_OPTIONS:
            found.left_out[key] = f"{project_type} has no such option"
        elif option != "project_type" and key not in _LEFT_OUT:
            found.refused[key] = "unknown key; remove it if you do not need it"
    if theirs.get("do_lm") and "mp" in options:
        found.keys["loss_args.top_margin"] = 0.0
        found.left_out["projection_args.mp"] = "do_lm turns the penalty off, as there"
    _import_margin(project_type, theirs, found)


def _import_margin(project_type: str, theirs: Mapping[str, Any], found: Imported) -> None:
    """Import the margins of softmax, which has none, and of sphere, whose schedule means annealing here."""
    if project_type not in ("softmax", "sphere"):
        return
    for key in [key for key in found.keys if key.startswith("margin_update.")]:
        del found.keys[key]
        found.left_out[key] = f"{project_type} has no margin there"
    if project_type == "softmax":
        found.left_out["projection_args.project_type"] = "here without their batch norm and ReLU before the layer"
        return
    steps = theirs.get("margin_update.epoch_iter")
    epochs = -(-_ANNEALING_STEPS // steps) if steps else 1
    annealing = {"increase_type": "linear", "increase_start_epoch": 1, "fix_start_epoch": 1 + epochs}
    found.keys |= {f"margin_update.{key}": value for key, value in annealing.items()}
    found.left_out["projection_args.project_type"] = (
        f"annealed over {epochs} epochs; theirs takes {_ANNEALING_STEPS} steps: see margin_update.fix_start_epoch"
    )


def _import_optimizer(theirs: Mapping[str, Any], found: Imported) -> None:
    optimizer = theirs.get("optimizer")
    if optimizer not in _OPTIMIZER_DEFAULTS:
        found.refused["optimizer"] = f"{optimizer} is none of {', '.join(_OPTIMIZER_DEFAULTS)}"
        return
    found.keys = {"optimizer": optimizer, **_OPTIMIZER_DEFAULTS[optimizer], **found.keys}
