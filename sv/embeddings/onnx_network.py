"""The network of a trained system by onnxruntime instead of torch, for extraction on CPUs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sv.embeddings.onnx_encoder import open_session
from sv.errors import UserError
from sv.models.encoder import Encoder


class OnnxNetwork(Encoder):
    """An exported network (`sv.export.extraction`) that replaces the trained encoder.

    The file takes features (batch, frames, mels) without their mean, and its metadata ("min_frames") has the fewest
    frames that it takes. Shorter utterances go through the trained encoder.

    Args:
        trained: the encoder that was exported, on the CPU.
        path: the file.
        num_threads: threads of one utterance.

    Raises:
        UserError: onnxruntime is not installed, or cannot read the file.
    """

    def __init__(self, trained: Encoder, path: Path, num_threads: int) -> None:
        nn.Module.__init__(self)
        self.trained = trained
        self.feat_dim, self.embedding_dim, self.min_frames = trained.feat_dim, trained.embedding_dim, trained.min_frames
        self._session = open_session(path, path, num_threads=num_threads)
        self._shortest = int(self._session.get_modelmeta().custom_metadata_map["min_frames"])

    def encode(self, features: Tensor) -> Tensor:
        if features.shape[1] < self._shortest:
            return self.trained.encode(features)
        try:
            (embeddings,) = self._session.run(None, {"feats": features.numpy()})
        except Exception as error:  # onnxruntime has a class for each reason
            reason = str(error).strip().split("\n")[0][:200]
            raise UserError(f"onnxruntime failed ({reason}); try --backend torch") from error
        return torch.from_numpy(embeddings)
