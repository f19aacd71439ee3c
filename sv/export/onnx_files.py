"""ONNX files of a trained system, each one file without external data.

    feats      feats (B, T, mels), features with their mean, to embs (B, dim)
    waveform   waveform (B, S), samples in [-1, 1], to embs (B, dim)

Names and metadata are those that WeSpeaker's runtime and sherpa-onnx look for. These two compute the features: where
theirs differ from those of training, so do the embeddings. Each file is compared with torch before it is written.

Needs the packages of the extra "export": onnx, onnxscript, onnxruntime.
"""

import json
import logging
import warnings
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sv.audio.centered_fbank import make_fbank
from sv.embeddings.encoder import SpeakerEncoder
from sv.embeddings.onnx_encoder import missing_package, open_session
from sv.errors import UserError
from sv.export.graphs import FeatsToEmbedding, check_takes_features, conv_front_end, min_frames
from sv.export.parity import LOWEST_COSINE, Run, check_parity

if TYPE_CHECKING:
    from onnx import ModelProto

_LONGEST = 1 << 24


def feats_model(encoder: SpeakerEncoder) -> "ModelProto":
    """Export the network from features to embeddings.

    Raises:
        UserError: a package is missing; the network cannot be exported; its embeddings are not those of torch.
    """
    return network_model(encoder, LOWEST_COSINE, centered=False)


def network_model(encoder: SpeakerEncoder, lowest_cosine: float, *, centered: bool = True) -> "ModelProto":
    """Export the network from features to embeddings; errors as of `feats_model`.

    Args:
        encoder: the system.
        lowest_cosine: see `check_parity`.
        centered: the features have lost their mean; else the network subtracts it, if the system does.
    """
    check_takes_features(encoder)
    shortest, mels = min_frames(encoder), encoder.model.feat_dim
    model = _export(
        FeatsToEmbedding(encoder, centered=centered),
        torch.randn(2, 4 * shortest, mels),
        ("feats", "embs"),
        {1: torch.export.Dim("T", min=shortest, max=_LONGEST)},
        encoder.config.model,
    )
    _describe(model, encoder)
    inputs = [_noise(frames, mels) for frames in (shortest, 50, 333)]
    check_parity(run_of(model), partial(encoder.embed, centered=centered), inputs, lowest_cosine)
    return model


def front_end_model(encoder: SpeakerEncoder) -> "ModelProto":
    """Export the front-end: waveform (B, S) to feats (B, T, mels).

    Raises:
        UserError: a package is missing.
    """
    config = encoder.config.dataset_args.fbank_args
    shortest = make_fbank(config).num_samples(2)
    axes = {1: torch.export.Dim("S", min=shortest, max=_LONGEST)}
    model = _export(
        conv_front_end(config),
        torch.randn(2, 4 * shortest),
        ("waveform", "feats"),
        axes,
        f"the front-end {config.kind}",
    )
    _describe(model, encoder)
    return model


def waveform_model(encoder: SpeakerEncoder) -> "ModelProto":
    """Export the network from waveforms to embeddings: the front-end and `feats_model`, joined.

    Raises:
        UserError: as `feats_model`.
    """
    front_end, network = front_end_model(encoder), feats_model(encoder)
    model = join(front_end, network)
    fbank = make_fbank(encoder.config.dataset_args.fbank_args)
    waveforms = [0.1 * _noise(fbank.num_samples(frames)) for frames in (min_frames(encoder), 50, 333)]
    check_parity(run_of(model), lambda waveform: encoder.embed(fbank(waveform)), waveforms)
    return model


def join(front_end: "ModelProto", network: "ModelProto") -> "ModelProto":
    """Return one model of two, the first one's output "feats" being the second one's input; the second's metadata."""
    from onnx.compose import add_prefix, merge_models
    from onnx.helper import set_model_props

    front_end, network = (
        add_prefix(part, name, rename_inputs=False, rename_outputs=False)
        for part, name in ((front_end, "front_end/"), (network, "network/"))
    )
    model = merge_models(front_end, network, io_map=[("feats", "feats")])
    set_model_props(model, {entry.key: entry.value for entry in network.metadata_props})
    return model


def run_of(model: "ModelProto") -> Run:
    """Return what runs a model of one input and one output by onnxruntime."""
    session = open_session(model.SerializeToString(), "the exported model")
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.numpy()})[0]


def _export(
    network: nn.Module, example: Tensor, names: tuple[str, str], axes: dict[int, "torch.export.Dim"], what: str
) -> "ModelProto":
    """Export a network of one input and one output, both of any batch.

    Args:
        example: any input.
        names: names of input and output.
        axes: axes of the input, besides the batch, that may have any length.
        what: its name in errors.
    """
    axes = {0: torch.export.Dim("B", min=1, max=_LONGEST), **axes}
    for name in ("torch", "onnxscript", "onnx_ir"):  # they tell each step, and 50 lines of an error that is one below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            import onnxruntime  # noqa: F401  checks what is exported, which takes seconds

            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                input_names=[names[0]],
                output_names=[names[1]],
                dynamic_shapes=(axes,),
                external_data=False,
                verbose=False,
            )
        except ImportError as error:
            raise missing_package(error) from error
        except Exception as error:  # torch raises what it meets in the network
            reason = str(error.__cause__ or error).strip().split("\n")[0][:200]
            raise UserError(f"{what} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def _noise(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))


def _describe(model: "ModelProto", encoder: SpeakerEncoder) -> None:
    """Write into a model what it is, for `sv.embeddings.onnx_encoder`, and for sherpa-onnx if that has such features.

    sherpa-onnx must take samples times 32,768 ("normalize_samples" 0), or as they are, and subtract no mean, which the
    network does.
    """
    from onnx.helper import set_model_props

    args = encoder.config.dataset_args
    fbank = args.fbank_args
    about = {
        "output_dim": str(encoder.model.embedding_dim),
        "sample_rate": str(fbank.sample_rate),
        "min_frames": str(min_frames(encoder)),
        "model": encoder.config.model,
        "model_sha256": encoder.sha256,
        "fingerprint": encoder.fingerprint,
        "fbank_args": json.dumps(fbank.model_dump(exclude={"dither"})),
        "cmvn": json.dumps(args.cmvn),
    }
    sherpa = {"framework": "wespeaker", "language": "unknown", "normalize_samples": str(int(not fbank.int16_scale))}
    set_model_props(model, {**about, **(sherpa if fbank.kind == "kaldi" else {})})
