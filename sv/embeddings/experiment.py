"""An experiment folder: its configuration, its model files, and the features that its system takes."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sv.config import Config, FbankConfig, load_config, read_front_end
from sv.errors import UserError, log
from sv.io import DataDir, iter_table, original_speakers, sha256_of
from sv.io.nested_keys import first_difference
from sv.models import encoder_options

AGAIN = "average, train or import it again"
PICKLE = b"\x80"  # begins a file of torch.save of before 1.6; later ones are zip archives


def read_config(exp_dir: str | Path) -> Config:
    """Return the resolved configuration that training left in the folder.

    Raises:
        UserError: there is none, it is damaged, or names an encoder or options that are unknown.
    """
    path = Path(exp_dir) / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path} does not exist; {_system_below(path.parent) or 'train the system first (stage 3)'}")
    config = load_config(path)
    try:
        encoder_options(config.model, config.model_args)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return config


def _system_below(folder: Path) -> str:
    """Name a system of a folder that holds several, for someone who gave that folder; "" if it holds none."""
    found = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/config.yaml"))
    return f"give the folder of one system, such as {found[0]}" if found else ""


def read_system(exp_dir: str | Path) -> Config:
    """Return the configuration that steps/make_system.py resolved for this folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = Path(exp_dir) / "system.yaml"
    if not path.is_file():
        raise UserError(f"{path} does not exist; make it with steps/make_system.py --config FILE {exp_dir}")
    return load_config(path)


def existing_model(path: str | Path) -> Path:
    """Return the path if the file exists.

    Raises:
        UserError: there is no such file.
    """
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise UserError(f"{path} {what}; give a model such as exp/NAME/models/avg_model.pt")
    return Path(path)


def find_model(exp_dir: str | Path, model_file: str | Path | None = None) -> Path:
    """Return the path of the model file: the one given, or else models/avg_model.pt.

    Raises:
        UserError: it does not exist.
    """
    path = Path(model_file) if model_file else Path(exp_dir) / "models" / "avg_model.pt"
    if not path.is_file():
        made = "train the system (stage 3), or import it again"
        raise UserError(f"{path} does not exist; {'give an existing file with --model' if model_file else made}")
    return path


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a model file is written."""
    return path.with_name(f"{path.name}.sha256")


def check_sha256(path: Path, digest: str) -> None:
    """Compare a model file's checksum with that in `PATH.sha256`, if there is such a file.

    Raises:
        UserError: another checksum.
    """
    sidecar = checksum_path(path)
    if sidecar.is_file() and sidecar.read_text().split()[:1] != [digest]:
        raise UserError(f"{path} is damaged: its checksum is not that of {sidecar}; {AGAIN}")


def check_model(path: Path) -> str:
    """Return the SHA-256 of a model file that looks whole; its tensors are not read, which would take torch.

    Raises:
        UserError: another checksum than in `PATH.sha256`, if there is such a file; an archive without its end.
    """
    digest = sha256_of(path)
    check_sha256(path, digest)
    with open(path, "rb") as f:
        is_old = f.read(1) == PICKLE
    if not is_old and not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a model file, or is truncated; {AGAIN}")
    return digest


def fingerprint_of(config: Config, model_sha256: str) -> str:
    """Return the checksum of model and front-end: embeddings of different ones must not be compared."""
    front_end = config.dataset_args
    fbank = front_end.fbank_args
    settings = fbank.model_dump_json(exclude={"snip_edges"} if fbank.snip_edges else None)  # a newer key
    vad = front_end.vad_args.model_dump_json(exclude_defaults=True).removeprefix("{}")  # keys newer than `vad`
    text = f"{model_sha256} {settings} {front_end.cmvn}{f' vad{vad}' * front_end.vad}"
    return hashlib.sha256(text.encode()).hexdigest()


def front_end_difference(data_dir: str | Path, fbank: FbankConfig) -> tuple[str, Any, Any] | None:
    """Return the first setting in which a data dir's features differ from a system's, there and here, except dither.

    None if they are equal, or if the data dir does not record it.
    """
    found = read_front_end(data_dir)
    return first_difference(found.model_dump(), fbank.model_dump(), {"dither"}) if found else None


def how_to_read(data_dir: str | Path, fbank: FbankConfig) -> Literal["ark", "online", "shard"]:
    """Tell how a system reads a data dir: its features unless they are of another front-end, else its waveforms."""
    folder = Path(data_dir)
    if (folder / "feats.scp").is_file() and not front_end_difference(folder, fbank):
        return "ark"
    return "shard" if (folder / "shard.list").is_file() else "online"


def check_front_end(data_dir: str | Path, fbank: FbankConfig, config: Path) -> None:
    """Compare the settings of a data dir's features (fbank.yaml) with a system's; only dither may differ.

    Warns if the data dir does not know the settings of its features.

    Args:
        data_dir: holds the features.
        fbank: the system's settings.
        config: the system's YAML file, for the message.

    Raises:
        UserError: another window, number of mels, sample rate, ...
    """
    path = Path(data_dir) / "fbank.yaml"
    if read_front_end(data_dir) is None:
        log.warning("%s does not exist: cannot check that these features are the ones the system takes", path)
        return
    if difference := front_end_difference(data_dir, fbank):
        key, there, here = difference
        raise UserError(
            f"{path}: {key} is {there}, but {here} in {config}; "
            f"make the features again: steps/make_fbank.sh --config {config} {data_dir}"
        )


def warn_of_trained_speakers(exp_dir: Path, test_data: Path) -> None:
    """Log a warning if a system was trained on speakers of a test set: these are the names in its spk2id, if any."""
    spk2id = exp_dir / "spk2id"
    if not spk2id.is_file():
        return
    speakers = DataDir(test_data).spk2utt
    known = [speaker for _, speaker, _ in iter_table(spk2id) if speaker in speakers]
    if known:
        log.warning(
            "%s: %d of %d test speakers, such as %s, were trained on (%s): results on them are too good; "
            "test on other speakers",
            test_data,
            len(known),
            len(speakers),
            min(known),
            spk2id,
        )


def check_same_speakers(exp_dir: Path, speakers: Sequence[str]) -> None:
    """Raise UserError if a folder was trained with other speakers than these, held-out ones included."""
    files = [exp_dir / name for name in ("spk2id", "heldout_spk")]
    if not all(path.is_file() for path in files):
        return
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    trained = set(original_speakers(line.split()[0] for line in lines).values())  # without speed copies
    if trained != set(speakers):
        raise UserError(
            f"{exp_dir} was trained with {len(trained)} speakers (held-out ones included); this corpus gives "
            f"{len(speakers)} (without test speakers), and {len(trained & set(speakers))} are in both; give another "
            "--exp-dir for a new system, or remove this one"
        )
