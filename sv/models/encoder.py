"""The base of all encoders: the shapes of input and output, and errors for an input that does not fit."""

from collections.abc import Mapping
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from sv.errors import UserError
from sv.models.options import EncoderOptions

Value = TypeVar("Value")


class Encoder(nn.Module):
    """Turn features (batch, frames, mels) into one embedding (batch, dim) for each utterance.

    Attributes:
        feat_dim: mels of the input.
        embedding_dim: dim of the output.
        min_frames: the shortest input that the layers can take.
        pretrained: name of the part that `fine_tuning` of the configuration freezes and slows down; "": the encoder.
        opened: names of parts whose children are layers of their own, if learning rates differ by layer.
    """

    pretrained: ClassVar[str] = ""
    opened: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: EncoderOptions, *, min_frames: int = 1) -> None:
        super().__init__()
        self.feat_dim = options.feat_dim
        self.embedding_dim = options.embed_dim
        self.min_frames = min_frames

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings (batch, dim), in the dtype of the features or of autocast.

        Args:
            features: (batch, frames, mels) log-mel fbank, its mean over the frames subtracted.

        Raises:
            UserError: other axes, another number of mels, fewer than `min_frames` frames.
        """
        self.check_input(features)
        return self.encode(features)

    def encode(self, features: Tensor) -> Tensor:
        """Compute `forward` without the checks."""
        raise NotImplementedError

    def for_inference(self) -> "Encoder":
        """Return an encoder that computes the same in less time, but cannot be trained; here the encoder itself."""
        return self

    def own_names(self, state: Mapping[str, Value]) -> dict[str, Value]:
        """Return a published state dict under this encoder's names of tensors."""
        return dict(state)

    def check_input(self, features: Tensor) -> None:
        """Raise UserError if the features do not have the shape that the layers take."""
        if features.dim() != 3:
            raise UserError(f"features have shape {tuple(features.shape)}; the model takes (batch, frames, mels)")
        _, frames, mels = features.shape
        if mels != self.feat_dim:
            raise UserError(
                f"features have {mels} mels, the model takes {self.feat_dim}; "
                "make feat_dim of the model equal to num_mel_bins of the fbank"
            )
        if frames < self.min_frames:
            raise UserError(
                f"an input of {frames} frames is too short, {type(self).__name__} takes {self.min_frames} or more; "
                "leave out or repeat the short utterances"
            )
