"""The files that a back-end scores from, and those that its cohort or model is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sv.errors import UserError


@dataclass(frozen=True)
class Inputs:
    """Files that trials are scored from.

    Attributes:
        xvector_scp: embeddings of all utterances of the trials.
        files: by name, those that the back-end needs; None for one that is not given.
        enroll_map: utterances of each enroll model; None: "enroll" is an utterance.
    """

    xvector_scp: Path
    files: Mapping[str, Path | None] = field(default_factory=dict)
    enroll_map: Path | None = None

    def needed(self, name: str) -> Path:
        """Return a file that the back-end cannot do without; raise UserError if it is not given."""
        path = self.files.get(name)
        if path is None:
            raise UserError(f"{flag_of(name)} is not given; this back-end needs it")
        return path


@dataclass(frozen=True)
class TrainingFiles:
    """Files that the cohort or the model of a back-end is made from.

    Attributes:
        xvector_scp: embeddings of the training data.
        utt2spk: the file, or the data dir that holds it.
        exclude: list of speakers to leave out; None: none.
    """

    xvector_scp: Path
    utt2spk: Path
    exclude: Path | None = None


def flag_of(name: str) -> str:
    """Return the option of a command line: "top_n" gives "--top-n"."""
    return f"--{name.replace('_', '-')}"
