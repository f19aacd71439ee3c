"""Export a trained system as a TorchScript file, for programs that still load these; prefer ONNX."""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import SpeakerEncoder
from sv.errors import UserError
from sv.export.graphs import FeatsToEmbedding, WaveformToEmbedding, min_frames
from sv.export.parity import check_parity

if TYPE_CHECKING:
    from torch.jit import ScriptModule


def trace(encoder: SpeakerEncoder, kind: str) -> "ScriptModule":
    """Trace the network from "feats" or "waveform" to embeddings, of any batch and length.

    Raises:
        UserError: it cannot be traced; at a length other than the traced one its embeddings are not those of the
            network.
    """
    fbank, network = make_fbank(encoder.config.dataset_args.fbank_args), nn.Module()
    frames = (200, min_frames(encoder), 333)
    generator = torch.Generator().manual_seed(0)
    if kind == "feats":
        network = FeatsToEmbedding(encoder)
        inputs = [torch.randn(2, count, encoder.model.feat_dim, generator=generator) for count in frames]
    else:
        network = WaveformToEmbedding(encoder)
        inputs = [0.1 * torch.randn(2, fbank.num_samples(count), generator=generator) for count in frames]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of numbers that a trace keeps, which the check below would show
        try:
            traced = torch.jit.freeze(torch.jit.trace(network.eval(), inputs[0], check_trace=False))
        except Exception as error:  # torch raises what it meets in the network
            reason = str(error).strip().split("\n")[0][:200]
            raise UserError(f"{encoder.config.model} cannot be traced: {reason}; export it to ONNX") from error
        check_parity(lambda x: traced(x).numpy(), lambda x: encoder.embed(x if kind == "feats" else fbank(x)), inputs)
    return traced
