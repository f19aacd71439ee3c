"""Average a training's last models, tensor by tensor, into avg_model.pt, as WeSpeaker does.

torch is loaded only if there is something to average: training has done it, and stage 4 asks again.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sv.config import Config
from sv.embeddings.experiment import checksum_path, read_config, read_system
from sv.errors import UserError, counted, log
from sv.jobs import DoneMark

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"model_(\d+)\.pt")


def average(exp_dir: Path, num_avg: int | None = None, epoch: int | None = None) -> Path:
    """Write models/avg_model.pt, the mean of the last models, unless it exists; return its path.

    A mark beside it has the checksums of these models. Up to the training's last epoch they are those of the last
    epochs. Up to an `epoch` before, some may be further apart: they are the last ones that training keeps
    (`is_model_due`). model_0.pt, the untrained model, never counts. If the training has fewer epochs than the
    configuration's num_avg, all of its models are averaged, with a warning.

    Args:
        exp_dir: the training's folder.
        num_avg: number of models; None: as system.yaml says, or config.yaml if there is no system.yaml.
        epoch: the last model's epoch; None: the training's last epoch.

    Raises:
        UserError: the training is not complete (and `epoch` is None), it keeps fewer models than the argument
            `num_avg`, or one of them is missing or damaged. With a larger num_avg than in training, some are missing.
    """
    config = read_system(exp_dir) if (exp_dir / "system.yaml").is_file() else read_config(exp_dir)
    last, count = epoch or config.num_epochs, num_avg or config.num_avg
    models = kept_models(exp_dir / "models")
    path = exp_dir / "models" / "avg_model.pt"
    if not models and path.is_file():
        log.info("%s is there, and no models to average: a model from elsewhere, kept as it is", path)
        return path
    if last not in models:
        have = f"the last is model_{max(models)}.pt" if models else "there is none yet"
        raise UserError(
            f"{exp_dir}/models/model_{last}.pt does not exist, {have}; finish the training (stage 3) or give --epoch"
        )
    kept = config.model_copy(update={"num_avg": max(count, config.num_avg)})
    due = [number for number in range(1, last + 1) if number == last or is_model_due(kept, number)]
    chosen = due[-count:]
    if len(chosen) < count and (num_avg or len(due) < last):
        raise UserError(
            f"{exp_dir}/models holds {len(chosen)} of the {count} models to average up to epoch {last}; "
            f"give --num-avg {len(chosen)} or less"
        )
    if missing := [number for number in chosen if number not in models]:
        rest = chosen.index(missing[-1]) + 1
        raise UserError(
            f"{exp_dir}/models/model_{missing[-1]}.pt does not exist, one of the {count} models to average up to "
            f"epoch {last}; give --num-avg {len(chosen) - rest} or less"
        )
    last_models = [models[number] for number in chosen]
    mark = DoneMark(path.with_name(".done.avg_model"), {"epochs": chosen}, tuple(map(checksum_path, last_models)))
    if mark.stale(verify=True):
        from sv.training.checkpoint import save_tensors

        if len(chosen) < count:
            log.warning("there are only %s, not %d: averaging all of them", counted(len(chosen), "model"), count)
        save_tensors(mean_of(last_models), path)
        mark.write([path, checksum_path(path)])
    log.info("%s: mean of epochs %s", path, ", ".join(map(str, chosen)))
    return path


def is_model_due(config: Config, epoch: int) -> bool:
    """Return whether an epoch's model is kept; as in WeSpeaker, every few epochs and the last ones, for the average."""
    return epoch % config.save_epoch_interval == 0 or epoch > config.num_epochs - config.num_avg


def mean_of(paths: Sequence[Path]) -> "dict[str, Tensor]":
    """Return the mean of each tensor over model files, in the tensor's type; integers (batches seen) are rounded.

    Raises:
        UserError: a file is missing or damaged, or holds another network than the first.
    """
    from sv.training.checkpoint import load_tensors

    first: dict[str, Tensor] = load_tensors(paths[0])
    sums = {key: tensor.double() for key, tensor in first.items()}
    for path in paths[1:]:
        state = load_tensors(path)
        if state.keys() != first.keys() or any(state[key].shape != first[key].shape for key in first):
            raise UserError(f"{path} holds another network than {paths[0]}; remove the one that does not belong there")
        for key, tensor in state.items():
            sums[key] += tensor
    means = {key: total / len(paths) for key, total in sums.items()}
    return {key: (m if first[key].is_floating_point() else m.round()).to(first[key].dtype) for key, m in means.items()}


def kept_models(folder: Path) -> dict[int, Path]:
    """Return the paths of the models that training has left, by epoch, without the untrained one."""
    if not folder.is_dir():
        return {}
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in found if match and int(match[1]) > 0}
