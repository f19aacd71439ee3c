"""Sound of single utterances for a page, as FLAC in data URLs."""

import base64
import io

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

    def take(self, utt: str) -> bool:
        """Embed the sound of an utterance; return whether the page can play it.

        It cannot if it has no such file, if the file cannot be read, or if the page would grow too large.
        """
        if utt in self.urls:
            return True
        if self._utterances is None or utt not in self._known:
            return False
        try:
            samples = self._utterances.read(utt)
        except UserError:
            return False
        rate = self._utterances.sample_rate
        buffer = io.BytesIO()
        soundfile.write(buffer, samples[: round(_SECONDS * rate)], rate, format="FLAC", subtype="PCM_16")
        url = f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(url) > self._left:
            return False
        self._left -= len(url)
        self.urls[utt] = url
        return True
