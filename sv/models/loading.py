"""Loading an encoder from a state dict in WeSpeaker's layout, ours or WeSpeaker's own."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sv.errors import UserError
from sv.models.encoder import Encoder

HEAD_PREFIX = "projection."


def load_backbone(model: nn.Module, state_dict: Mapping[str, Any], where: str) -> None:
    """Load the encoder's tensors; those of the head (`projection.*`) are left out.

    Args:
        model: an encoder.
        state_dict: as of `flat_state`. Counters of batches may be missing, and be floats, as averaging leaves them.
        where: the file, for the error.

    Raises:
        UserError: a tensor is missing, unknown or of another shape. Nothing is loaded then.
    """
    given = {key: value for key, value in flat_state(state_dict, where).items() if not key.startswith(HEAD_PREFIX)}
    if isinstance(model, Encoder):
        given = model.own_names(given)
    own = model.state_dict()
    differences = list(_differences(own, given))
    if differences:
        raise UserError(
            f"{where}: not a checkpoint of this {type(model).__name__}: {differences[0]}"
            f"{f', and {len(differences) - 1} more differences' if len(differences) > 1 else ''}; "
            "give the model and model_args that it was trained with (config.yaml beside it)"
        )
    model.load_state_dict(own | given)


def flat_state(content: Any, where: str) -> dict[str, Any]:
    """Return the state dict in a file's content: the content itself, or what stands under "model" or "state_dict".

    Args:
        content: of a model or checkpoint file, {"model": {"state_dict": ...}} at the deepest.
        where: the file, for the error.

    Raises:
        UserError: there is none.
    """
    for key in ("model", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{where}: holds no state dict; give a model such as exp/NAME/models/avg_model.pt")
    return dict(content)


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences in words, in the order of the model's tensors."""
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
