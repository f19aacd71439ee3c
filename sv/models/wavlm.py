"""Encoders on WavLM, a transformer that was trained on speech without labels; they take waveforms.

    ECAPA  a weighted mean of WavLM's layers, the weights learnt, less its mean over time, then ECAPA-TDNN
    MFA    each layer through two linear layers of its own (an adapter), all of them side by side, then pooled

The input is a waveform cut into frames that do not overlap (features of kind waveform). The layers are the input of the
transformer and the output of each block; of the large WavLM the last one is normalized. torchaudio has the layers.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", 2021, arXiv 2110.13900.
MFA: Li et al., "Enhancing Speaker Verification with w2v-BERT 2.0 and Knowledge Distillation Guided Structured
Pruning", 2025, arXiv 2510.04213.  Low-rank updates: Hu et al., "LoRA", 2021, arXiv 2106.09685.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from torch.nn.utils import parametrize
from torchaudio.models import wavlm_model

from sv.models.ecapa_tdnn import EcapaTdnn
from sv.models.encoder import Encoder
from sv.models.options import (
    POOLINGS,
    EcapaGlobOptions,
    WavLmEcapaOptions,
    WavLmLargeEcapaOptions,
    WavLmLargeMfaOptions,
    WavLmLargeOptions,
    WavLmMfaOptions,
    WavLmOptions,
)

SAMPLE_RATE = 16000
SHORTEST = 400  # samples of one output of the convolutions
CONVOLUTIONS = ((10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2)  # kernel and stride
BUCKETS, MAX_DISTANCE = 320, 800  # of relative positions


class LowRank(nn.Module):
    """Adds updates of low rank to the queries and values of a joint projection (3 * width, width); 0 at first."""

    def __init__(self, width: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(2, rank, width))
        self.up = nn.Parameter(torch.zeros(2, width, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        queries, values = self.scale * (self.up @ self.down)  # (width, width) each
        return weight + torch.cat([queries, torch.zeros_like(queries), values])


class WavLmEncoder(Encoder):
    """Base of encoders on WavLM; a subclass makes an embedding of its layers.

    With low-rank updates these are learnt, and WavLM's own weights never change.
    """

    pretrained = "wavlm"
    opened = frozenset({"feature_extractor", "encoder", "transformer"})

    def __init__(self, options: WavLmOptions | WavLmLargeOptions, *, large: bool) -> None:
        super().__init__(options, min_frames=-(-SHORTEST // options.feat_dim))
        self.large = large
        self.longest = int(options.max_seconds * SAMPLE_RATE) // options.feat_dim  # frames embedded at once
        self.wavlm: Any = wavlm_model(
            extractor_mode="layer_norm" if large else "group_norm",
            extractor_conv_layer_config=[(options.conv_channels, *sizes) for sizes in CONVOLUTIONS],
            extractor_conv_bias=False,
            encoder_embed_dim=options.width,
            encoder_projection_dropout=options.dropout,
            encoder_pos_conv_kernel=128,
            encoder_pos_conv_groups=16,
            encoder_num_layers=options.layers,
            encoder_num_heads=options.heads,
            encoder_num_buckets=BUCKETS,
            encoder_max_distance=MAX_DISTANCE,
            encoder_attention_dropout=options.dropout,
            encoder_ff_interm_features=options.feed_forward,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=options.dropout,
            encoder_layer_norm_first=large,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
        if options.lora_rank:
            self.wavlm.requires_grad_(False)
            for block in self.wavlm.encoder.transformer.layers:
                update = LowRank(options.width, options.lora_rank, options.lora_alpha)
                parametrize.register_parametrization(block.attention.attention, "in_proj_weight", update)

    def encode(self, features: Tensor) -> Tensor:
        """Return embeddings (batch, dim); in evaluation the mean over equal parts of at most `max_seconds`."""
        parts = 1 if self.training else -(-features.shape[1] // self.longest)
        found = [self.embed(self.layers(part.flatten(1))) for part in features.tensor_split(parts, dim=1)]
        return found[0] if parts == 1 else torch.stack(found).mean(dim=0)

    def embed(self, layers: list[Tensor]) -> Tensor:
        """Return embeddings (batch, dim) of WavLM's layers, each (batch, frames, width)."""
        raise NotImplementedError

    def layers(self, waveform: Tensor) -> list[Tensor]:
        """Return the transformer's input and the output of each block, each (batch, frames, width).

        Args:
            waveform: (batch, samples) in [-1, 1]; the large WavLM takes it with mean 0 and variance 1.
        """
        if self.large:
            waveform = layer_norm(waveform, waveform.shape[1:])
        encoder, transformer = self.wavlm.encoder, self.wavlm.encoder.transformer
        x = encoder.feature_projection(self.wavlm.feature_extractor(waveform, None)[0])
        x = x + transformer.pos_conv_embed(x)
        x = transformer.dropout(x if self.large else transformer.layer_norm(x))
        found, positions = [x], None
        for block in transformer.layers:
            x, positions = block(x, position_bias=positions)
            found.append(x)
        return [*found[:-1], transformer.layer_norm(x)] if self.large else found


class WavLmEcapa(WavLmEncoder):
    """ECAPA-TDNN on a weighted mean of the layers."""

    def __init__(self, options: WavLmEcapaOptions | WavLmLargeEcapaOptions, *, large: bool) -> None:
        super().__init__(options, large=large)
        self.layer_weights = nn.Parameter(torch.zeros(options.layers + 1))  # before a softmax
        pooling = {"pooling_func": options.pooling_func, "embed_dim": options.embed_dim}
        self.ecapa = EcapaTdnn(EcapaGlobOptions(feat_dim=options.width, **pooling), channels=options.channels)

    def embed(self, layers: list[Tensor]) -> Tensor:
        weights = self.layer_weights.softmax(dim=0)
        frames = torch.stack(layers, dim=-1) @ weights  # (batch, frames, width)
        embedding: Tensor = self.ecapa(frames - frames.mean(dim=1, keepdim=True))
        return embedding


class WavLmMfa(WavLmEncoder):
    """Attentive statistics of all layers side by side, each through an adapter."""

    def __init__(self, options: WavLmMfaOptions | WavLmLargeMfaOptions, *, large: bool) -> None:
        super().__init__(options, large=large)
        width = options.adapter_dim
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.Linear(options.width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(options.layers + 1)
        )
        self.pool = POOLINGS.build(options.pooling_func, width * len(self.adapters), **options.pooling_args)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, options.embed_dim)

    def embed(self, layers: list[Tensor]) -> Tensor:
        adapted = [adapter(layer) for adapter, layer in zip(self.adapters, layers, strict=True)]
        frames = torch.cat(adapted, dim=-1).transpose(1, 2)  # (batch, layers * adapter_dim, frames)
        embedding: Tensor = self.linear(self.bn(self.pool(frames)))
        return embedding
