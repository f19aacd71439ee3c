"""Start a training from another's model: load its encoder, and load the head or set it from class means."""

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sv.config import Config, load_config
from sv.data import Batch
from sv.embeddings.encoder import load_state
from sv.errors import UserError, log
from sv.io.nested_keys import flatten
from sv.losses.aam_subcenter import group_rows
from sv.losses.head import Head
from sv.models.loading import HEAD_PREFIX, flat_state, load_backbone
from sv.system import RANDOM
from sv.training.distributed import World
from sv.training.network import SpeakerNet, read_model, read_speakers

_FRONT_END = {"fbank_args", "cmvn", "vad"}
_SAMPLE = 512  # utterances for fitting a bias


class ClassMeans(NamedTuple):
    """Mean directions of the classes, equal in all processes.

    Attributes:
        direction: (speakers, dim), of norm 1, or 0 for a class without an utterance.
        embedding: (utterances, dim), a sample of the embeddings behind the means.
        speaker: (utterances,) class of each embedding in the sample.
    """

    direction: Tensor
    embedding: Tensor
    speaker: Tensor


def start_from(
    net: SpeakerNet,
    path: Path,
    speakers: list[str],
    *,
    head_init: str = "auto",
    means: Callable[[], ClassMeans],
    margin: float,
) -> None:
    """Load the encoder of another training, set the head as `head_init` says, and log what was done.

    load         take it from the file; with a `spk2id` (exp/NAME/spk2id beside exp/NAME/models/) match rows by speaker,
                 else the head must have the same shape
    class_means  set each speaker's row to the mean of their embeddings, and fit the bias to them
    auto         `load` where the file has a row, `class_means` for the others
    random       keep the random initialization

    Args:
        net: the network to change.
        path: the model file.
        speakers: names of the classes, in order.
        means: returns the classes' mean directions by the loaded encoder, see `class_means`.
        margin: margin of the first step.

    Raises:
        UserError: the file has another encoder; `load` or `class_means` is impossible with this head.
    """
    state = read_model(path)
    load_backbone(net.backbone, state, str(path))
    theirs = {key.removeprefix(HEAD_PREFIX): value for key, value in state.items() if key.startswith(HEAD_PREFIX)}
    theirs = _of_distillation(net.head.state_dict(), True) | _of_distillation(theirs, False)
    if head_init in ("auto", "load"):
        missing, told = _load_head(net.head, theirs, path, speakers)
    else:
        missing, told = list(range(len(speakers))), f"head_init is {head_init}"
    if missing and head_init == "load":
        raise UserError(f"{path}: head_init is load, but {told}; give the model of the same speakers and loss, or auto")
    if missing and head_init != "random" and (head_init == "class_means" or _rows(net.head) is not None):
        told = f"{_set_rows(net.head, missing, means, margin)} ({told})"
    elif len(missing) == len(speakers):
        told = f"initialized anew ({told})"
    log.info("%s: encoder loaded; head: %s", path, told)


def warn_of_front_end(config: Config, model: Path) -> None:
    """Warn if a model's own configuration, where one is beside it, has other features; only dither may differ."""
    path = model.parent.parent / "config.yaml"
    if not path.is_file():
        return
    theirs, ours = (flatten(c.dataset_args.model_dump(include=_FRONT_END)) for c in (load_config(path), config))
    differ = [f"{key} {theirs[key]}, here {value}" for key, value in ours.items() if value != theirs[key]]
    if differ := [told for told in differ if not told.startswith("fbank_args.dither")]:
        log.warning(
            "%s was trained on other features (%s): its weights may be worth little here; set dataset_args as there",
            *(model, "; ".join(differ)),
        )


def load_pretrained(net: SpeakerNet, file: str) -> None:
    """Load the weights of the network that the encoder is built on; "random" keeps their random initialization.

    Raises:
        UserError: the file is missing, or does not hold these weights.
    """
    if file == RANDOM:
        log.warning("pretrained=random: nothing is loaded into the network that the encoder is built on")
        return
    from sv.models.wavlm import WavLmEncoder  # imports torchaudio, which other encoders do not need
    from sv.models.wavlm_weights import load_weights

    assert isinstance(net.backbone, WavLmEncoder), "checked before training"
    load_weights(net.backbone, flat_state(load_state(Path(file), "fetch it again")[0], file), file)


@torch.no_grad()
def class_means(backbone: nn.Module, batches: Iterable[Batch], num_speakers: int, world: World) -> ClassMeans:
    """Return the direction of each class, seen from the mean of all classes.

    A class's mean is the unit mean of its unit embeddings. The part that all classes share is subtracted. Otherwise a
    row would have a high cosine with every utterance, and SphereFace2 a high loss in all non-target pairs. The
    processes share the batches, and all get the result.

    Args:
        backbone: the encoder; it is left in eval mode.
        batches: this process's share.
        num_speakers: number of classes.
        world: the processes.
    """
    backbone.eval()
    sums = torch.zeros(num_speakers, backbone.embedding_dim, device=world.device)  # type: ignore[call-overload]
    sample: list[tuple[Tensor, Tensor]] = []
    for batch in batches:
        batch = batch.to(world.device)  # only now do batches of waveforms have features
        embedding = functional.normalize(backbone(batch.features).float())
        sums.index_add_(0, batch.speaker, embedding)
        if sum(len(speakers) for _, speakers in sample) < _SAMPLE / world.size:
            sample.append((embedding.cpu(), batch.speaker.cpu()))
    means = functional.normalize(world.sum(sums))
    seen = means.norm(dim=1, keepdim=True) > 0  # (speakers, 1)
    embedding, speaker = (
        torch.cat(parts).to(world.device) for parts in zip(*chain(*world.gather(sample)), strict=True)
    )
    return ClassMeans(functional.normalize((means - means.sum(dim=0) / seen.sum()) * seen), embedding, speaker)


def _of_distillation(head: dict[str, Tensor], wanted: bool) -> dict[str, Tensor]:
    """Return the tensors that belong to the loss against a teacher, or all others."""
    return {key: value for key, value in head.items() if key.startswith("distillation.") == wanted}


def _load_head(head: nn.Module, theirs: dict[str, Tensor], path: Path, speakers: list[str]) -> tuple[list[int], str]:
    """Load the rows that fit; return the missing ones, and words for the log."""
    own, rows = head.state_dict(), read_speakers(path.parent.parent / "spk2id")
    if "weight" in own and own["weight"].dim() == 3:
        theirs = group_rows(theirs, own["weight"].shape[1])
    every = list(range(len(speakers)))
    if theirs.keys() != own.keys():
        return every, "the file's is of another loss" if theirs else "the file has none"
    known = set(rows)
    missing = [row for row, speaker in enumerate(speakers) if speaker not in known] if rows else []
    if rows and len(missing) == len(speakers):
        return every, "the file's is of other speakers"
    if rows and rows != speakers:
        theirs = _by_speaker(own, theirs, rows, speakers)
    for key, tensor in own.items():
        if theirs[key].shape != tensor.shape:
            return every, f"the file's {key} is {tuple(theirs[key].shape)}, here {tuple(tensor.shape)}"
    head.load_state_dict(theirs)
    if rows and rows != speakers:
        return missing, f"{len(speakers) - len(missing)} of {len(speakers)} speakers matched by name"
    return [], "loaded"


def _by_speaker(
    own: dict[str, Tensor], theirs: dict[str, Tensor], rows: list[str], speakers: list[str]
) -> dict[str, Tensor]:
    """Return `theirs` with its rows in the order of `speakers`, and our own row for a speaker that it lacks."""
    number = {speaker: row for row, speaker in enumerate(rows)}
    known = [row for row, speaker in enumerate(speakers) if speaker in number]
    source = [number[speakers[row]] for row in known]
    matched = dict(theirs)
    for key, tensor in own.items():
        shapes = (len(speakers), *tensor.shape[1:]), (len(rows), *tensor.shape[1:])
        if (tensor.shape, theirs[key].shape) == shapes:
            matched[key] = tensor.clone()
            matched[key][known] = theirs[key][source].to(tensor.device, tensor.dtype)
    return matched


def _rows(head: Head) -> Tensor | None:
    """Return the weight (speakers, dim) of a head with one vector for each speaker; None for other heads."""
    weight = getattr(head, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.shape == (head.num_speakers, head.embedding_dim) else None


@torch.no_grad()
def _set_rows(head: Head, rows: list[int], means: Callable[[], ClassMeans], margin: float) -> str:
    """Set rows of the weight to class means, and fit the bias if these are all rows; return words for the log.

    The rows get the length of the others, or the one they were drawn with, since the pace of learning depends on it.
    """
    weight = _rows(head)
    if weight is None:
        name = type(head).__name__
        raise UserError(f"head_init is class_means, but {name} has no weight vector a speaker; give auto or random")
    classes = means()
    direction = classes.direction[rows]  # (rows, dim)
    seen = direction.norm(dim=1) > 0
    chosen = torch.tensor(rows, device=weight.device)[seen]
    all_rows = len(rows) == len(weight)
    measured = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    if not all_rows:
        measured[rows] = False
    weight[chosen] = direction[seen] * weight[measured].norm(dim=1).mean()
    told = f"{len(chosen)} rows set to class means"
    if len(chosen) < len(rows):
        told += f", {len(rows) - len(chosen)} without an utterance initialized anew"
    bias = getattr(head, "bias", None)
    if all_rows and isinstance(bias, Tensor):
        head.fit_bias(classes.embedding, classes.speaker, margin)
        told += f", bias {float(bias.mean()):.2f}"
    return told
