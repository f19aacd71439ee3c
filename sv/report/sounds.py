"""Sound of single utterances for a page, as FLAC in data URLs."""

import base64
import io
from pathlib import Path

import soundfile

from sv.audio.utterances import Utterances
from sv.errors import UserError

_SECONDS = 6.0  # of an utterance; the rest is cut
_MAX_BYTES = 1_500_000  # of all sounds of a page


class Sounds:
    """Utterances that the buttons of a page play, each embedded once.

    Args:
        utterances: where they are read from; None for no sound.

    Attributes:
        urls: data URL of each utterance that can be played.
    """

    def __init__(self, utterances: Utterances | None) -> None:
        self.urls: dict[str, str] = {}
        self._utterances = utterances
        self._known = set(utterances.ids) if utterances else set()
        self._left = _MAX_BYTES

    def take(self, utt: str) -> str:
        """Embed the sound of an utterance; return "", or why the page cannot play it."""
        if utt in self.urls:
            return ""
        if self._utterances is None:
            return "no --test-data with wav.scp"
        if utt not in self._known:
            return f"not in {self._utterances.source.name}"
        try:
            samples = self._utterances.read(utt)
        except UserError:
            return "file cannot be read"
        rate = self._utterances.sample_rate
        buffer = io.BytesIO()
        soundfile.write(buffer, samples[: round(_SECONDS * rate)], rate, format="FLAC", subtype="PCM_16")
        url = f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(url) > self._left:
            return "the page's limit of sounds is reached"
        self._left -= len(url)
        self.urls[utt] = url
        return ""

    def file_name(self, utt: str) -> str:
        """Return the name of an utterance, with the ending of its file: lists may say .wav where the file is .flac."""
        file = Path(self._utterances.plain_file(utt) if self._utterances and utt in self._known else "")
        ending = Path(utt).suffix
        return f"{utt.removesuffix(ending)}{file.suffix}" if ending and file.stem == Path(utt).stem else utt
