"""The configuration of a system: one typed YAML file, with WeSpeaker's keys.

A file may name another as its `base:` and state only the differences. An unknown key or a value of another type is
refused by name. The registries check the options of encoders and losses (`model_args`, `loss_args`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sv.errors import MAX_RATE, MAX_SEED, MIN_RATE, UserError, WrongCall, suggest
from sv.io import atomic_write, parse_yaml, read_yaml
from sv.io.nested_keys import merge, numbers_as_float
from sv.registry import explain_value


class Section(BaseModel):
    """A block of the file: unknown keys are refused, and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FbankConfig(Section):
    """Log-mel filter bank on the scale of 16-bit samples, as in Kaldi; other kinds are for models of other toolkits."""

    # Toolkit of the formulas (sv/audio/centered_fbank.py); waveform: frames of samples (sv/audio/wave_frames.py)
    kind: Literal["kaldi", "speechbrain", "redimnet", "redimnet_tf", "ge2e", "waveform"] = "kaldi"
    int16_scale: bool = True  # kaldi only; False: samples in [-1, 1], so the floor of the energies is higher
    snip_edges: bool = True  # kaldi only; False: one frame per shift, of the waveform mirrored at its ends
    unit_variance: bool = False  # redimnet(_tf) only: shift and scale each waveform to mean 0 and variance 1
    sample_rate: int = Field(16000, ge=MIN_RATE, le=MAX_RATE)  # Hz
    num_mel_bins: int = Field(80, gt=3)
    frame_length: float = Field(25.0, gt=0)  # ms
    frame_shift: float = Field(10.0, gt=0)  # ms
    window: Literal["hamming", "povey", "hanning"] = "hamming"
    low_freq: float = Field(20.0, ge=0)  # Hz
    high_freq: float = 0.0  # Hz; 0 or less: relative to half the sample rate
    dither: float = Field(1.0, ge=0)  # standard deviation in 16-bit steps; only in training features

    def settings(self) -> dict[str, Any]:
        """Return the settings for marks of finished work: all keys, but `_LATER_KEYS` only if not the default."""
        return self.model_dump(exclude={key for key, value in _LATER_KEYS.items() if getattr(self, key) == value})


# Keys that marks of features lacked at first; features with such a mark need not be made again.
_LATER_KEYS = {"kind": "kaldi", "int16_scale": True, "snip_edges": True, "unit_variance": False}


class SpecAugArgs(Section):
    """SpecAugment: bands of the features that are set to their mean, drawn for each sample."""

    num_t_mask: int = Field(1, ge=0)  # number of masks over time
    num_f_mask: int = Field(1, ge=0)  # number of masks over frequency
    max_t: int = Field(10, gt=0)  # frames of the longest mask
    max_f: int = Field(8, gt=0)  # mels of the widest mask
    prob: float = Field(0.6, ge=0, le=1)  # probability that a sample gets masks


Range = Annotated[list[float], Field(min_length=2, max_length=2)]  # lowest and highest, drawn uniformly


class AugmentArgs(Section):
    """Augmentation of a sample: one of four types, drawn by their weights."""

    reverb: float = Field(3.0, ge=0)  # weights; half of all samples get reverberation, as in WeSpeaker
    noise: float = Field(1.0, ge=0)
    music: float = Field(1.0, ge=0)
    babble: float = Field(1.0, ge=0)
    noise_snr: Range = [0.0, 15.0]  # dB
    music_snr: Range = [5.0, 15.0]
    babble_snr: Range = [13.0, 20.0]
    babble_speakers: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2)] = [3, 7]


class VadArgs(Section):
    """Kaldi's energy VAD, with the values of its VoxCeleb recipe; see `sv.audio.features.energy_vad`."""

    energy_threshold: float = 5.5
    energy_mean_scale: float = 0.5
    frames_context: int = Field(2, ge=0)
    proportion_threshold: float = Field(0.12, ge=0, le=1)


class DatasetArgs(Section):
    """The input of the network."""

    num_frms: int = Field(200, gt=0)  # frames of a training crop
    min_num_frames: int = Field(100, gt=0)  # shorter utterances are left out of training
    sample_num_per_epoch: int = Field(0, ge=0)  # 0: every utterance once
    cmvn: bool = True  # subtract the mean over the frames of the input
    fbank_args: FbankConfig = FbankConfig()
    vad: bool = False  # drop the frames without speech, after the mean over all frames (--vad)
    vad_args: VadArgs = VadArgs()
    spec_aug: bool = False
    spec_aug_args: SpecAugArgs = SpecAugArgs()
    # With train_feats online or shard:
    speeds: list[float] = []  # each is drawn as often as 1.0, and makes speakers of its own
    aug_prob: float = Field(0.6, ge=0, le=1)  # probability of reverberation, noise, music or babble
    augment_args: AugmentArgs = AugmentArgs()
    telephone_prob: float = Field(0.0, ge=0, le=1)  # probability of a telephone line (band and mu-law) after the others


class DataloaderArgs(Section):
    """Batches, and the threads that read them."""

    batch_size: int = Field(128, gt=0)  # per process
    num_workers: int = Field(4, ge=0)  # threads that read ahead; 0: read when needed
    prefetch_factor: int = Field(4, gt=0)  # batches that each thread reads ahead
    # How a batch is drawn; auto: as the loss needs
    sampler: Literal["auto", "utterance", "speaker", "pxk", "length"] = "auto"
    utts_per_speaker: int = Field(2, gt=1)  # K of sampler pxk; P is batch_size / K


class MarginUpdate(Section):
    """Growth of the margin from `initial_margin` to `final_margin`, between the starts of two epochs."""

    initial_margin: float = 0.0  # 0: none, which is 1 for type M
    final_margin: float | None = None  # None: the loss's own default
    increase_start_epoch: int = Field(20, ge=0)
    fix_start_epoch: int = Field(40, ge=0)
    update_margin: bool = True  # False: `initial_margin` throughout; `final_margin` is then set to it
    increase_type: Literal["exp", "linear", "fixed"] = "exp"  # fixed: always `final_margin`


class PseudoArgs(Section):
    """Options of labels from a clustering, those of <data-dir>/pseudo_utts; see docs/half-labelled.md."""

    labelled_share: float = Field(0.0, ge=0, lt=1)  # share of each batch that people labelled; 0: any
    gate: bool = False  # in each epoch two Gaussians decide which pseudo labels are trusted
    negatives: Literal["labelled", "all"] = "labelled"  # SphereFace2: non-targets of an untrusted utterance
    mask: bool = False  # no pair with a class that may be the same speaker, by <data-dir>/maybe_same_spk
    correct_above: float = Field(0.0, ge=0, lt=1)  # probability above which a class replaces the label; 0: never
    correct_lead: float = Field(0.2, ge=0, le=1)  # minimum lead of that class over the second one
    start_epoch: int = Field(0, ge=0)  # epochs before gate and correction begin; about 30 % of all
    decay: float = Field(0.8, ge=0, lt=1)  # decay per epoch of each utterance's mean loss
    average_decay: float = Field(0.99, ge=0, lt=1)  # decay per step of the averaged network that corrects labels

    @property
    def changes_loss(self) -> bool:
        """Tell whether some pairs of a batch count less, or some labels are corrected."""
        return self.gate or self.mask or self.correct_above > 0

    @property
    def needs_pseudo_utts(self) -> str:
        """Return a key that is on and needs to know which labels are from a clustering, or ""."""
        on = {"labelled_share": self.labelled_share, "gate": self.gate, "correct_above": self.correct_above}
        return next((f"pseudo_args.{key}" for key, value in on.items() if value), "")


class FineTuning(Section):
    """Options of pretrained weights; see sv/training/parameter_groups.py and docs/fine-tuning.md.

    They are those of the whole encoder, or of the part that the encoder names as pretrained.
    """

    frozen_epochs: int = Field(0, ge=0)  # number of first epochs in which they and their batch norm do not change
    encoder_lr: float = Field(1.0, gt=0)  # factor of their learning rate
    layer_decay: float = Field(1.0, gt=0, le=1)  # factor of a layer's learning rate to that of the next layer's


class TeacherArgs(Section):
    """Options of distillation from a teacher's embeddings, see sv/losses/distillation.py."""

    weight: float = Field(10.0, gt=0)  # weight of 1 - cos, which is added to the loss
    center: bool = True  # subtract the mean of the teacher's embeddings, as for cosine scores
    project: bool = True  # map embeddings to the teacher's dimension if it differs; false: that is an error
    dim: int | None = None  # the teacher's dimension; filled in when training begins


class OptimizerArgs(Section):
    """Options of the optimizer."""

    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)  # SGD
    nesterov: bool = True  # SGD


class SchedulerArgs(Section):
    """The learning rate, by epoch."""

    initial_lr: float = Field(0.1, gt=0)
    final_lr: float = Field(5e-5, gt=0)
    warm_up_epoch: int = Field(6, ge=0)
    warm_from_zero: bool = True
    scale_with_batch: bool = True  # multiply the learning rate by global batch / 64, as WeSpeaker does


def _from_wespeaker(data_type: Any) -> Any:
    """Return train_feats for WeSpeaker's data_type."""
    return {"feat": "ark", "raw": "online"}.get(data_type, data_type)


class Config(Section):
    """Everything that decides a system, except its data."""

    seed: int = Field(42, ge=0, le=MAX_SEED)
    num_epochs: int = Field(150, gt=0)
    num_avg: int = Field(10, gt=0)  # number of last models that are averaged

    model: str = "ResNet34"
    model_args: dict[str, Any] = {}
    loss: str = "sphereface2"
    loss_args: dict[str, Any] = {}
    num_speakers: int | None = None  # classes; filled in when training begins
    teacher: str = ""  # experiment folder whose embeddings are also learned (--teacher); "" for none
    teacher_args: TeacherArgs = TeacherArgs()
    margin_update: MarginUpdate = MarginUpdate()
    model_init: str = ""  # model whose weights training starts from; "" for none (--checkpoint)
    pretrained: str = ""  # weights of the network that the encoder is built on (WavLM); "random" for tests
    head_init: Literal["auto", "load", "class_means", "random"] = "auto"  # head, if training starts from a model
    fine_tuning: FineTuning = FineTuning()
    do_lm: bool = False  # large-margin fine-tuning: no speed copies, and the loss's fine-tuning margin

    train_feats: Annotated[Literal["ark", "online", "shard"], BeforeValidator(_from_wespeaker)] = "ark"
    noise_data: str = ""  # data dir of noise, music and speech (local/prepare_musan.py); "" for none
    reverb_data: str = ""  # data dir of impulse responses (local/prepare_rirs.py); "" for none
    max_bad_share: float = Field(0.01, ge=0, le=1)  # maximum share of unreadable utterances, which are replaced
    dataset_args: DatasetArgs = DatasetArgs()
    dataloader_args: DataloaderArgs = DataloaderArgs()
    pseudo_args: PseudoArgs = PseudoArgs()

    optimizer: Literal["SGD", "AdamW"] = "SGD"
    optimizer_args: OptimizerArgs = OptimizerArgs()
    scheduler: Literal["ExponentialDecrease", "WarmupCosine"] = "ExponentialDecrease"
    scheduler_args: SchedulerArgs = SchedulerArgs()
    clip_grad_norm: float = Field(0.0, ge=0)  # 0: no clipping
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    split_head: bool = False  # each process owns the weight vectors of some speakers
    tf32: bool = True  # on a GPU, float32 convolutions of training round their inputs to 10 bits; false: exact
    channels_last: bool = True  # memory layout of 2-d encoders; on a CPU for small batches alone
    compile: bool = False  # train the encoder with torch.compile, which takes a minute or more at the start
    freeze_batch_norm: bool = False  # use the running statistics, and do not change them
    sync_bn: bool = False  # batch norm over the batches of all processes; needs GPUs

    heldout_speakers: int = Field(15, ge=0)  # training speakers held out to measure the EER; 0: none
    heldout_utts: int = Field(10, gt=1)  # number of utterances used of each held-out speaker
    eval_epoch_interval: int = Field(5, gt=0)
    save_epoch_interval: int = Field(5, gt=0)  # epochs between models/model_N.pt; the last `num_avg` are kept, too
    save_minutes: float = Field(15.0, gt=0)  # minutes between checkpoints; each epoch also ends with one
    keep_checkpoints: int = Field(2, gt=0)
    log_batch_interval: int = Field(100, gt=0)
    tensorboard: bool = True


@dataclass(frozen=True)
class Override:
    """A key that the command line sets."""

    key: str  # with its blocks: "num_epochs", "dataloader_args.batch_size"
    value: str  # YAML; of a key that takes a text, such as a path, that text
    said: str  # the option as the user gave it, for errors

    @classmethod
    def of(cls, word: str) -> "Override":
        """Read "key=value", the value of --set.

        Raises:
            WrongCall: no key, or no "=".
        """
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise WrongCall(f"--set {word!r}: expected key=value without spaces, as in dataset_args.speeds=[0.9,1.1]")
        return cls(key, value, f"--set {word}")


def load_config(path: str | Path, overrides: Sequence[Override] = (), *, over: Config | None = None) -> Config:
    """Read a YAML file with its bases, and set what the command line says.

    Args:
        path: the file.
        overrides: later ones win.
        over: the configuration that the file changes; None: the defaults.

    Raises:
        UserError: the file is missing or malformed; a key is unknown; a value has another type or is out of range.
    """
    tree = merge(over.model_dump() if over else {}, _read_tree(Path(path)))
    for override in overrides:
        _set(tree, override)
    return parse_config(tree, str(path), overrides)


def parse_config(tree: Mapping[str, Any], where: str, overrides: Sequence[Override] = ()) -> Config:
    """Make a checked configuration from plain values; errors name `where`, or the override at fault."""
    for key in sorted(_WESPEAKERS_OWN & tree.keys()):
        raise UserError(f"{where}: {key} is a key of WeSpeaker; convert the file with tools/import_wespeaker_config.py")
    try:
        return Config.model_validate(numbers_as_float(dict(tree)))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        said = [override.said for override in overrides if _one_holds_other(override.key, name)]
        raise UserError(f"{[where, *said][-1]}: {_explain(first)}") from error


def _one_holds_other(key: str, other: str) -> bool:
    short, long = sorted((key.split("."), other.split(".")), key=len)
    return long[: len(short)] == short


def read_front_end(data_dir: str | Path) -> FbankConfig | None:
    """Read the settings of a data dir's features from its fbank.yaml, which stage 2 writes; None if there is none.

    Raises:
        UserError: the file is damaged, or has unknown keys.
    """
    path = Path(data_dir) / "fbank.yaml"
    if not path.is_file():
        return None
    if not (tree := read_yaml(path)):
        raise UserError(f"{path} is empty; make the features again (stage 2)")
    return parse_config({"dataset_args": {"fbank_args": tree}}, str(path)).dataset_args.fbank_args


# Keys that change files, logs or speed, but not the weights: free to change when training continues.
FREE_KEYS = frozenset(
    {
        "num_avg",
        "noise_data",  # their contents are compared separately
        "reverb_data",
        "max_bad_share",
        "teacher_args.dim",  # filled in, and the embeddings are compared separately
        "dataloader_args.num_workers",
        "dataloader_args.prefetch_factor",
        "heldout_utts",
        "eval_epoch_interval",
        "save_epoch_interval",
        "save_minutes",
        "keep_checkpoints",
        "log_batch_interval",
        "tensorboard",
    }
)


def save_config(config: Config, path: str | Path) -> None:
    """Write a configuration with all its keys."""
    with atomic_write(path) as f:
        yaml.safe_dump(config.model_dump(), f, sort_keys=False, allow_unicode=True, width=1e9)  # a line a value


def _read_tree(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a YAML file such as egs/voxceleb/conf/resnet34.yaml")
    if path.resolve() in seen:
        raise UserError(f"{path}: is its own base, through other files; remove one 'base:'")
    tree = read_yaml(path)
    base = tree.pop("base", None)
    if base is None:
        return tree
    inherited = _read_tree(path.parent / str(base), (*seen, path.resolve()))
    return merge(_without_options_of_another(inherited, tree), tree)


def _without_options_of_another(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the base's model_args (loss_args) if the file names another model (loss), which has other options."""
    changed = [name for name in ("model", "loss") if name in changes and changes[name] != base.get(name)]
    return {key: value for key, value in base.items() if key not in [f"{name}_args" for name in changed]}


def _set(tree: dict[str, Any], override: Override) -> None:
    value: Any = override.value
    if not _is_text(override.key) or value[:1] in ("'", '"'):
        try:
            value = parse_yaml(value)
        except ValueError as error:
            raise UserError(f"{override.said}: {override.value!r} is not YAML") from error
    *blocks, key = override.key.split(".")
    for block in blocks:
        tree = tree.setdefault(block, {})
        if not isinstance(tree, dict):
            raise UserError(f"{override.said}: {block} is a value, not a block of keys")
    tree[key] = value


def _is_text(name: str) -> bool:
    """Tell whether a key takes any text, in which YAML would take " #" for a comment and "no" for false."""
    section: Any = Config
    for key in name.split("."):
        field = getattr(section, "model_fields", {}).get(key)
        section = field.annotation if field else None
    return section is str


def _explain(error: Any) -> str:
    """Return one line about an error: the key with its path, and what is known or expected."""
    *blocks, key = (str(part) for part in error["loc"])
    name = ".".join((*blocks, key))
    if error["type"] != "extra_forbidden":
        return explain_value(name, error)
    section: type[BaseModel] = Config
    for block in blocks:
        section = section.model_fields[block].annotation  # type: ignore[assignment]
    inside = [known for known in _keys(Config) if "." in known and f"_{key}_" in f"_{known.rpartition('.')[2]}_"]
    hint = f"; did you mean {' or '.join(inside)}?" if 0 < len(inside) < 4 else suggest(key, dict(section.model_fields))
    return f"unknown key {name!r:.200}{hint}"


def _keys(section: Any, prefix: str = "") -> list[str]:
    """Return the dotted names of all keys of a section."""
    if not (fields := getattr(section, "model_fields", None)):
        return [prefix[1:]]
    return [key for name in fields for key in _keys(fields[name].annotation, f"{prefix}.{name}")]


_WESPEAKERS_OWN = {"projection_args", "margin_scheduler", "enable_amp"}
