"""Encoder of a trained system, loaded from its experiment folder to compute embeddings.

encoder = load_encoder("exp/ResNet34-softmax-m0.2-seed42")
encoder.embed(feats)  # log-mel fbank of a whole utterance, (frames, mels) -> (dim,)
"""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sv.audio.centered_fbank import make_fbank
from sv.audio.features import find_voiced, subtract_mean
from sv.audio.files import Waveform
from sv.config import Config
from sv.data.voiced import check_speech
from sv.embeddings import MAX_FRAMES
from sv.embeddings.experiment import AGAIN, PICKLE, check_sha256, find_model, fingerprint_of, read_config
from sv.errors import UserError
from sv.jobs.gpus import choose_device
from sv.models import build_model
from sv.models.encoder import Encoder
from sv.models.loading import check_finite, load_backbone

_BEGINS = (b"PK\3\4", PICKLE)  # files of torch.save


@dataclass(frozen=True)
class SpeakerEncoder:
    """An encoder with the settings that its features must have.

    Attributes:
        model: the encoder, in evaluation mode, on `device`.
        config: resolved configuration of the experiment.
        device: where embeddings are computed.
        sha256: checksum of the model file.
    """

    model: Encoder
    config: Config
    device: torch.device
    sha256: str

    @property
    def fingerprint(self) -> str:
        """Checksum of model and front-end; see `fingerprint_of`."""
        return fingerprint_of(self.config, self.sha256)

    def embed(self, feats: Tensor, *, max_frames: int = 0, centered: bool = False) -> Tensor:
        """Compute the embeddings of utterances of one length, after subtracting the mean of their features over time.

        On one CPU, with one number of threads, an utterance alone always gets the same embedding bit by bit.

        Args:
            feats: (batch, frames, mels), or (frames, mels) of one utterance; features as stored, mean included.
            max_frames: an utterance with more frames is cut into the fewest equal chunks of at most this many; its
                embedding is the mean of theirs. Memory grows with the frames of a chunk. 0: never cut.
            centered: the mean was already subtracted, as it is before the VAD drops frames.

        Returns:
            (batch, dim), or (dim,) of one utterance; float32 on the CPU.

        Raises:
            UserError: another number of mels, too few frames, or an embedding that is not finite.
        """
        batch = (feats if feats.dim() == 3 else feats[None]).to(self.device, non_blocking=True)
        if self.config.dataset_args.cmvn and not centered:
            batch = subtract_mean(batch)
        num_chunks = -(-batch.shape[1] // max_frames) if max_frames else 1
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            chunks = [self.model(chunk).float() for chunk in batch.tensor_split(num_chunks, dim=1)]
        embeddings = torch.stack(chunks).mean(0).cpu()  # (batch, dim)
        if not torch.isfinite(embeddings).all():
            raise UserError("the embedding has NaN or infinite values; check the features and the model for them")
        return embeddings if feats.dim() == 3 else embeddings[0]

    def embed_wave(self, waveform: Waveform, fbank: nn.Module, *, max_frames: int = 0) -> Tensor:
        """Compute the embedding of a waveform (samples,) in [-1, 1], with the VAD if the system has it; see `embed`.

        Args:
            waveform: at the system's sample rate.
            fbank: features of the system's front-end, on `device`.
            max_frames: see `embed`.
        """
        args = self.config.dataset_args
        feats = fbank(torch.from_numpy(waveform)[None].to(self.device, non_blocking=True))[0]
        if args.vad:
            voiced = find_voiced(waveform, args)
            check_speech("waveform", int(voiced.sum()))
            rows = torch.from_numpy(np.flatnonzero(voiced))  # found on the CPU, where their number is known
            feats = (subtract_mean(feats) if args.cmvn else feats)[rows.to(feats.device, non_blocking=True)]
        return self.embed(feats, max_frames=max_frames, centered=args.vad)


class WaveformEncoder:
    """Front-end and encoder of an experiment folder, by torch.

    Args:
        exp_dir: the folder.
        gpus: "auto" for the first GPU if there is one, "none" for the CPU, or the number of a GPU.

    Raises:
        UserError: as `load_encoder`.
    """

    def __init__(self, exp_dir: Path, gpus: str = "auto") -> None:
        self.network = load_encoder(exp_dir, device=choose_device(gpus, 1))
        config = self.network.config.dataset_args.fbank_args
        self.fbank = make_fbank(config).to(self.network.device)
        self.sha256, self.fingerprint = self.network.sha256, self.network.fingerprint
        self.sample_rate, self.embedding_dim = config.sample_rate, self.network.model.embedding_dim

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        """Return the embedding (dim,) of a waveform (samples,) in [-1, 1]; errors as of `SpeakerEncoder.embed`."""
        embedding: NDArray[np.float32] = self.network.embed_wave(waveform, self.fbank, max_frames=MAX_FRAMES).numpy()
        return embedding


def load_encoder(exp_dir: str | Path, model_file: str | Path | None = None, device: str = "cpu") -> SpeakerEncoder:
    """Load the encoder that `config.yaml` of an experiment folder describes, with the weights of a model file.

    Args:
        exp_dir: folder with config.yaml.
        model_file: a state dict in WeSpeaker's layout; None: models/avg_model.pt of the folder.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        UserError: the folder, its configuration or the model is missing; the file is damaged, of another encoder, or
            has NaN or infinite values.
    """
    exp_dir = Path(exp_dir)
    config, path = read_config(exp_dir), find_model(exp_dir, model_file)
    state, digest = load_state(path)
    try:
        model = build_model(config.model, config.model_args)
    except UserError as error:
        raise UserError(f"{exp_dir / 'config.yaml'}: {error}") from error
    if model.feat_dim != config.dataset_args.fbank_args.num_mel_bins:
        raise UserError(
            f"{exp_dir / 'config.yaml'}: the model takes {model.feat_dim} mels, the fbank makes "
            f"{config.dataset_args.fbank_args.num_mel_bins}; set model_args.feat_dim to fbank_args.num_mel_bins"
        )
    load_backbone(model, state, str(path))
    check_finite(model.state_dict(), str(path), AGAIN)
    model = model.eval().for_inference()
    if device == "cpu":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # resnet_small 1.6 times as fast
    return SpeakerEncoder(model.to(device), config, torch.device(device), digest)


def load_state(path: Path, remedy: str = AGAIN) -> tuple[dict[str, Any], str]:
    """Read a model file, tensors and plain values only, and return its content and its SHA-256.

    Args:
        path: the file.
        remedy: end of the error about a file that cannot be read.

    Raises:
        UserError: the checksum is not that of `PATH.sha256`, if there is one; the file is not a model file, or holds
            other objects.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    check_sha256(path, digest)
    if content and not content.startswith(_BEGINS):
        raise UserError(f"{path} is no checkpoint of torch.save: it begins with {content[:16]!r}; {remedy}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's protocol
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything for a file that it did not write
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path} holds a Python object, {found[1]}, which may run code and is not read; "
                "save the tensors alone: torch.save(model.state_dict(), FILE)"
            ) from error
        reason = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
        reason = reason.strip().split("\n")[0][:100] or "it is empty"
        raise UserError(f"{path} is not a model file, or is truncated ({reason}); {remedy}") from error
    return state, digest
