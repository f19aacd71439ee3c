"""Log-mel filter bank of a data dir's utterances, made in parts by several jobs; two bytes a value (Kaldi's CM2)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray

from sv.audio.durations import format_seconds
from sv.audio.feature_parts import FeatureParts
from sv.audio.mel import check_settings
from sv.audio.utterances import Utterances, estimate_hours
from sv.config import Config, FbankConfig
from sv.data.augmenter import KINDS, Augmenter
from sv.data.noises import ClipFolders
from sv.errors import UserError
from sv.io import atomic_write
from sv.jobs.parts import Outputs

MIXED = "mixed"  # one of the kinds for each utterance, by the weights of augment_args
AUGMENT_KINDS = (*KINDS[1:], MIXED)  # without "clean"


@dataclass(frozen=True, kw_only=True)
class FbankParts(FeatureParts):
    """Features of one data dir.

    Attributes:
        system: gives dataset_args.fbank_args and, for augmentation, augment_args and seed.
        dither: add fbank_args.dither of noise; for training features only.
        augment: one of AUGMENT_KINDS to apply to the audio; "" for none.
        noise_data, reverb_data: folders of noise and of impulse responses.
    """

    system: Config
    dither: bool = False
    augment: str = ""
    noise_data: str = ""
    reverb_data: str = ""
    name: ClassVar[str] = "fbank"
    scp: ClassVar[str] = "feats.scp"
    extra: ClassVar[tuple[str, ...]] = ("fbank.yaml",)

    @property
    def tables(self) -> tuple[str, ...]:
        return ("utt2num_frames", "utt2dur", *(["utt2augment"] if self.augment else []))

    @cached_property
    def config(self) -> FbankConfig:
        """Settings of the features."""
        config = self.system.dataset_args.fbank_args
        return config if self.dither else config.model_copy(update={"dither": 0.0})

    @cached_property
    def augmenter(self) -> Augmenter | None:
        """Augmenter for the kind; raises UserError if there are no files of this kind."""
        if not self.augment:
            return None
        args, folders = self.system.dataset_args.augment_args, ClipFolders(self.noise_data, self.reverb_data)
        if self.augment != MIXED:
            args = args.model_copy(update={kind: float(kind == self.augment) for kind in KINDS[1:]})
            folders = ClipFolders(rir=folders.rir) if self.augment == "reverb" else ClipFolders(folders.noise)
        return Augmenter(
            args,
            folders,
            prob=1.0,
            seed=self.system.seed,
            sample_rate=self.config.sample_rate,
        )

    @cached_property
    def settings(self) -> dict[str, Any]:
        settings = self.config.settings()
        if self.augmenter is not None:
            files = self.augmenter.file_fingerprint()
            given = {"type": self.augment, "args": self.augmenter.args.model_dump(), "files": files}
            settings["augment"] = {**given, "seed": self.augmenter.seed}
        return settings

    def check(self) -> None:
        check_settings(self.config)
        super().check()

    def total_bytes(self) -> float:
        return fbank_bytes(self.data_dir, self.config)

    def make(self, part: int) -> Outputs:
        import torch  # takes seconds to load, and a plan does not need it

        from sv.audio.centered_fbank import make_fbank
        from sv.audio.features import dither_noise

        torch.set_num_threads(1)
        fbank, rate = make_fbank(self.config), self.config.sample_rate
        utterances = Utterances(self.data(part), rate, self.allow_pipes)

        def compute(utt: str) -> tuple[NDArray[np.float32], tuple[object, ...]]:
            waveform = torch.from_numpy(utterances.read(utt))[None]  # (1, samples)
            given: list[str] = []
            if self.augmenter is not None:
                waveform, what = self.augmenter.augment(utt, waveform, None if self.augment == MIXED else self.augment)
                given = [what]
            samples = waveform.shape[1]
            frames = fbank.num_frames(samples)
            if frames == 0:
                raise UserError(
                    f"{utt}: {samples / rate:.4f} s are less than one frame of {self.config.frame_length:g} ms; "
                    f"remove it from {utterances.source} and run tools/fix_data_dir.sh {self.data_dir}"
                )
            noise = dither_noise(utt, samples)[None] if self.config.dither > 0 else None
            return fbank(waveform, noise)[0].numpy(), (frames, format_seconds(samples / rate), *given)

        return self.write(part, compute)

    def join(self) -> None:
        with atomic_write(self.data_dir / "fbank.yaml") as f:
            f.write("# Front-end settings of the features in feats.scp, as steps/make_fbank.sh used them\n")
            yaml.safe_dump(self.config.model_dump(), f, sort_keys=False)
        super().join()


def fbank_bytes(data_dir: Path, config: FbankConfig) -> float:
    """Estimate the bytes of all archives of a data dir: two a value."""
    hours = estimate_hours(data_dir, config.sample_rate)
    return 2 * config.num_mel_bins * 3.6e6 * hours / config.frame_shift
