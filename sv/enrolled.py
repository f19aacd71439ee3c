"""A folder of enrolled speakers, one file each, and identification of recordings among them.

    <name>.npz  embeddings (recordings, dim) float32, durations_s (recordings,) float64, fingerprint: of the system

Embeddings of another model or front-end are refused: their scores would mean nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sv.audio.recordings import Audio
from sv.embeddings.embedder import Recording
from sv.errors import UserError, WrongCall
from sv.io import atomic_write
from sv.verifier import MARGIN, Speaker, Verdict, Verifier, is_single

_NAME = re.compile(r"[\w-][\w.@+-]*")  # fits the name of a file


@dataclass(frozen=True)
class Identification:
    """Answer about one recording and all enrolled speakers. `if identification` raises TypeError.

    Attributes:
        speaker: name of the speaker; None if it is none of them, or if the answer is "cannot tell".
        decision: "same" if it is `speaker`, "different" if it is none of them, or "cannot tell".
        verdicts: name -> verdict, the most similar speaker first.
    """

    speaker: str | None
    decision: str
    verdicts: Mapping[str, Verdict]

    def __bool__(self) -> bool:
        """Refuse to be a truth value.

        Raises:
            TypeError: always.
        """
        raise TypeError("an identification is no truth value; use .speaker or .decision")


class Enrolled:
    """The speakers of a folder, for one system.

    Args:
        verifier: the system.
        folder: made when the first speaker is added.
    """

    def __init__(self, verifier: Verifier, folder: str | Path) -> None:
        self.verifier, self.folder = verifier, Path(folder)

    def add(self, name: str, recordings: Sequence[Audio]) -> Speaker:
        """Enroll a speaker, and replace an earlier one of the same name.

        Raises:
            UserError: the name has other characters than letters, digits and _ - . @ +; there is no recording, or one
                is refused.
        """
        check_name(name)
        speaker = self.verifier.enroll(recordings)
        with atomic_write(self.folder / f"{name}.npz", "wb") as f:
            np.savez(
                f,
                embeddings=np.stack([one.embedding for one in speaker.recordings]),
                durations_s=np.array([one.duration_s for one in speaker.recordings]),
                fingerprint=self.verifier.fingerprint,
            )
        return speaker

    def speakers(self) -> dict[str, Speaker]:
        """Read all speakers, sorted by name.

        Raises:
            UserError: there is no speaker, or one is damaged or of another system.
        """
        return {path.stem: self._read(path) for path in speaker_files(self.folder)}

    def identify(
        self,
        recordings: Iterable[Audio],
        *,
        prior: float = 0.5,
        threshold: str | float | None = None,
        margin: float = MARGIN,
    ) -> Iterator[Identification | UserError]:
        """Compare each recording with all speakers. If one cannot be judged, yield its error and continue.

        Args:
            recordings: files or samples, as for `Verifier.embed`.
            prior, threshold, margin: as for `Verifier.score`, for each speaker.

        Raises:
            UserError: as `speakers` raises; `recordings` is a single one; or an option is unusable.
        """
        if is_single(recordings):
            raise UserError("identify: give a list of recordings, as in ['a.wav', 'b.wav']")
        speakers = self.speakers()
        for audio in recordings:
            pairs = [(speaker, audio) for speaker in speakers.values()]
            found = list(self.verifier.score_each(pairs, prior=prior, threshold=threshold, margin=margin))
            verdicts = [verdict for verdict in found if isinstance(verdict, Verdict)]
            errors = [error for error in found if isinstance(error, UserError)]
            yield errors[0] if errors else _identify(dict(zip(speakers, verdicts, strict=True)))

    def _read(self, path: Path) -> Speaker:
        try:
            with np.load(path, allow_pickle=False) as file:
                fingerprint, rows = str(file["fingerprint"]), zip(file["durations_s"], file["embeddings"], strict=True)
            recordings = tuple(Recording(float(duration), embedding, fingerprint) for duration, embedding in rows)
        except (ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise UserError(f"{path} is damaged; enroll the speaker again") from error
        if fingerprint != self.verifier.fingerprint:
            raise UserError(f"{path} is of another model or front-end; enroll the speaker again")
        return Speaker(recordings)


def check_name(name: str) -> None:
    """Check the name of a speaker, which becomes that of a file.

    Raises:
        WrongCall: it has other characters than letters, digits and _ - . @ +.
    """
    if not _NAME.fullmatch(name):
        raise WrongCall(f"speaker {name!r}: use letters, digits and any of _ - . @ +")


def speaker_files(folder: Path) -> list[Path]:
    """Return the files of the enrolled speakers, sorted by name.

    Raises:
        UserError: there is none.
    """
    files = sorted(folder.glob("[!.]*.npz"))
    if not files:
        raise UserError(f"{folder} holds no speakers; enroll some with sv enroll or steps/enroll.py")
    return files


def _identify(verdicts: dict[str, Verdict]) -> Identification:
    """Decide by the most similar speaker."""
    ranked = dict(sorted(verdicts.items(), key=lambda item: -item[1].llr))
    name, best = next(iter(ranked.items()))
    return Identification(name if best.decision == "same" else None, best.decision, ranked)
