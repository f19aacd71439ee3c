"""Loading an encoder from a state dict in WeSpeaker's layout, ours or WeSpeaker's own."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from sv.errors import UserError, log
from sv.models.encoder import Encoder

HEAD_PREFIX = "projection."
PREFIXES = ("module.", "model.", "front.", "backbone.", "encoder.", "embedding_model.")
SHOWN = 8  # differences that an error lists

Value = TypeVar("Value")


def load_backbone(model: nn.Module, state_dict: Mapping[str, Any], where: str) -> None:
    """Load the encoder's tensors; those of the head (`projection.*`) are left out.

    Args:
        model: an encoder.
        state_dict: as of `flat_state`. Counters of batches may be missing, and be floats, as averaging leaves them.
        where: the file, for the error.

    Raises:
        UserError: a tensor is missing, unknown or of another shape; all names have a prefix. Nothing is loaded then.
    """
    given = {key: value for key, value in flat_state(state_dict, where).items() if not key.startswith(HEAD_PREFIX)}
    if isinstance(model, Encoder):
        given = model.own_names(given)
    own = model.state_dict()
    cut, prefix = cut_prefix(given)
    if prefix and any(differences(own, given)):
        log.info("%s: the names of all its tensors begin with %r, which is left out", where, prefix)
        given = model.own_names(cut) if isinstance(model, Encoder) else cut
    check_same(
        own,
        given,
        f"{where}: not a checkpoint of this {type(model).__name__}",
        "give the model and model_args that it was trained with (config.yaml beside it)",
    )
    model.load_state_dict(own | given)


def check_same(own: Mapping[str, Tensor], given: Mapping[str, Any], what: str, remedy: str) -> None:
    """Raise UserError "<what>: <first differences>; <remedy>" unless the tensors have the model's names and shapes."""
    if found := list(differences(own, given)):
        more = f", and {len(found) - SHOWN} more differences" if len(found) > SHOWN else ""
        raise UserError(f"{what}: {', '.join(found[:SHOWN])}{more}; {remedy}")


def check_finite(state: Mapping[str, Tensor], where: str, remedy: str) -> None:
    """Raise UserError if a tensor has NaN or infinite values.

    Args:
        state: tensors by name.
        where: their file, for the error.
        remedy: its end.
    """
    bad = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise UserError(f"{where}: {bad} has NaN or infinite values; {remedy}")


def cut_prefix(state: Mapping[str, Value]) -> tuple[dict[str, Value], str]:
    """Return the tensors without the prefix that all names of the encoder's have, and the prefix; "" if there is none.

    Wrappers add it: "module." of parallel training, "model.", "backbone.", or several of them.
    """
    prefix, cut = "", dict(state)
    while found := next((word for word in PREFIXES if cut and all(_below(key, word) for key in cut)), ""):
        cut = {key.removeprefix(found): value for key, value in cut.items()}
        prefix += found
    return cut, prefix


def flat_state(content: Any, where: str) -> dict[str, Any]:
    """Return the state dict in a file's content: the content itself, or the entry "model" or "state_dict".

    Args:
        content: content of a model or checkpoint file, {"model": {"state_dict": ...}} at the deepest.
        where: the file, for the error.

    Raises:
        UserError: there is none.
    """
    for key in ("model", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    is_state = isinstance(content, Mapping) and all(isinstance(key, str) for key in content)
    if not is_state or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{where}: holds no state dict (tensors by name, alone or as model or state_dict); give a file of weights"
        )
    return dict(content)


def differences(own: Mapping[str, Tensor], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is missing, ill-shaped or unknown, in words, in the order of the model's tensors."""
    for key, tensor in own.items():
        if key not in given:
            if not key.endswith("num_batches_tracked"):
                yield f"it has no {key} {tuple(tensor.shape)}"
        elif not isinstance(given[key], Tensor):
            yield f"its {key} is no tensor"
        elif given[key].shape != tensor.shape:
            yield f"its {key} is {tuple(given[key].shape)}, the model's {tuple(tensor.shape)}"
    for key in given:
        if key not in own:
            yield f"its {key} is not in the model"


def _below(key: str, prefix: str) -> bool:
    """Return whether a name has the prefix; those of the head need not have it."""
    return key.startswith((prefix, HEAD_PREFIX))
