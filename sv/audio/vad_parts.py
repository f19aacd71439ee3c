"""Kaldi's energy VAD of a data dir's utterances, made in parts by several jobs: float vectors of 0 and 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sv.audio.feature_parts import FeatureParts
from sv.audio.utterances import Utterances
from sv.errors import UserError, WrongCall, log
from sv.jobs.parts import Outputs

if TYPE_CHECKING:
    from sv.config import FbankConfig

VAD_TYPES = {
    "energy_threshold": float,
    "energy_mean_scale": float,
    "frames_context": int,
    "proportion_threshold": float,
}


@dataclass(frozen=True, kw_only=True)
class VadParts(FeatureParts):
    """VAD decisions for the utterances of one data dir.

    Attributes:
        config: only its sample rate, frame length and frame shift are used.
        vad: keyword arguments of `energy_vad`.
    """

    config: "FbankConfig"
    vad: Mapping[str, Any]
    name: ClassVar[str] = "vad"
    scp: ClassVar[str] = "vad.scp"

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.config.model_dump(include={"sample_rate", "frame_length", "frame_shift"}), **self.vad}

    def make(self, part: int) -> Outputs:
        import torch  # takes seconds to load, and a plan does not need it

        from sv.audio.features import energy_vad, log_energy
        from sv.audio.mel import frame_samples

        torch.set_num_threads(1)
        data = self.data(part)
        utterances = Utterances(data, self.config.sample_rate, self.allow_pipes)
        known_frames = data.utt2num_frames if (data.path / "utt2num_frames").is_file() else {}
        frame_length, _ = frame_samples(self.config)
        silent = 0

        def compute(utt: str) -> tuple[NDArray[np.float32], tuple[()]]:
            nonlocal silent
            waveform = utterances.read(utt)
            if len(waveform) < frame_length:
                raise UserError(
                    f"{utt}: {len(waveform)} samples are less than one frame of {frame_length}; "
                    f"remove it from {utterances.source} and run tools/fix_data_dir.sh {data.path}"
                )
            voiced = energy_vad(log_energy(torch.from_numpy(waveform), self.config).numpy(), **self.vad)
            if len(voiced) != known_frames.get(utt, len(voiced)):
                raise UserError(
                    f"{utt}: {len(voiced)} frames, {known_frames[utt]} in {data.path / 'utt2num_frames'}; "
                    f"make the features again (steps/make_fbank.sh {data.path})"
                )
            silent += not voiced.any()
            return voiced, ()

        outputs = self.write(part, compute)
        if silent:
            log.warning("%d utterances have no frame of speech", silent)
        return outputs


def parse_vad_settings(texts: Mapping[str, str]) -> dict[str, float]:
    """Return the keyword arguments of `energy_vad`.

    Args:
        texts: values as given by the user, by name.

    Raises:
        WrongCall: a value is not a number, or out of range.
    """
    settings: dict[str, float] = {}
    for name, text in texts.items():
        try:
            settings[name] = VAD_TYPES[name](text)
        except ValueError:
            raise WrongCall(f"--vad-{name.replace('_', '-')} is {text!r}, not a number") from None
    if settings.get("frames_context", 0) < 0 or not 0 <= settings.get("proportion_threshold", 0) <= 1:
        raise WrongCall("--vad-frames-context must be 0 or more and --vad-proportion-threshold within 0 to 1")
    return settings


def read_vad_config(path: Path) -> dict[str, str]:
    """Read Kaldi's conf/vad.conf: lines `--vad-energy-threshold=5.5  # comment`, as {"energy_threshold": "5.5"}.

    Raises:
        UserError: the file does not exist, or has an unknown option.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name Kaldi's conf/vad.conf with --vad-config")
    settings = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        option, _, value = line.partition("#")[0].strip().partition("=")
        name = option.removeprefix("--vad-").replace("-", "_")
        if option and name not in VAD_TYPES:
            known = ", ".join(f"--vad-{known.replace('_', '-')}" for known in VAD_TYPES)
            raise UserError(f"{path}:{number}: unknown option {option!r}; known: {known}")
        if option:
            settings[name] = value.strip()
    return settings
