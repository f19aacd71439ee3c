"""Loading a backbone from a state dict in WeSpeaker's layout, ours or WeSpeaker's own."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sv.errors import UserError

HEAD_PREFIX = "projection."


def load_backbone(model: nn.Module, state_dict: Mapping[str, Any], where: str) -> None:
    """Load the encoder's tensors; those of the head (`projection.*`) are left out.

    Args:
        model: an encoder.
        state_dict: flat, or the flat one under "state_dict" or "model". Counters of batches may be missing, and be
            floats, as averaging leaves them.
        where: the file, for the error.

    Raises:
        UserError: a tensor is missing, unknown or of another shape. Nothing is loaded then.
    """
    given = {key: value for key, value in _flat(state_dict, where).items() if not key.startswith(HEAD_PREFIX)}
    own = model.state_dict()
    differences = list(_differences(own, given))
    if differences:
        raise UserError(
            f"{where}: not a checkpoint of this {type(model).__name__}: {differences[0]}"
            f"{f', and {len(differences) - 1} more differences' if len(differences) > 1 else ''}; "
            "give the model and model_args that it was trained with (config.yaml beside it)"
        )
    model.load_state_dict(own | given)


def _flat(state_dict: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    for _ in range(2):  # {"model": {"state_dict": ...}} is the deepest that is met
        for key in ("state_dict", "model"):
            if isinstance(state_dict, Mapping) and isinstance(state_dict.get(key), Mapping):
                state_dict = state_dict[key]
    if not isinstance(state_dict, Mapping) or not any(isinstance(value, Tensor) for value in state_dict.values()):
        raise UserError(f"{where}: holds no state dict; give a file such as models/avg_model.pt")
    return state_dict


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Any]) -> Iterator[str]:
    """What differs, in words, in the order of the model's tensors."""
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
