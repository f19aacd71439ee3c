"""The x-vector TDNN: five layers over time, statistics pooling, two linear layers of which the last is the embedding.

Snyder et al., "X-vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018. As in Kaldi, batch norm follows
ReLU and has no affine part. Layers, names and arithmetic are those of WeSpeaker's XVEC, whose checkpoints load.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from sv.models.encoder import Encoder
from sv.models.options import POOLINGS, XVectorOptions


class TdnnLayer(nn.Module):
    """Convolution over time without padding, ReLU, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, *, context: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_1d = nn.Conv1d(in_channels, out_channels, context, dilation=dilation)
        self.bn = nn.BatchNorm1d(out_channels, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(relu(self.conv_1d(x), inplace=True))


class XVector(Encoder):
    """X-vector TDNN; its context is 15 frames, so it needs at least 15."""

    def __init__(self, options: XVectorOptions) -> None:
        super().__init__(options, min_frames=15)
        hid_dim, embed_dim = options.hid_dim, options.embed_dim
        self.frame_1 = TdnnLayer(options.feat_dim, hid_dim, context=5)
        self.frame_2 = TdnnLayer(hid_dim, hid_dim, context=3, dilation=2)
        self.frame_3 = TdnnLayer(hid_dim, hid_dim, context=3, dilation=3)
        self.frame_4 = TdnnLayer(hid_dim, hid_dim, context=1)
        self.frame_5 = TdnnLayer(hid_dim, options.stats_dim, context=1)
        self.pool = POOLINGS.build(options.pooling_func, options.stats_dim)
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)
        self.seg_bn_1 = nn.BatchNorm1d(embed_dim, affine=False)
        self.seg_2 = nn.Linear(embed_dim, embed_dim)

    def encode(self, features: Tensor) -> Tensor:
        x = self.frame_3(self.frame_2(self.frame_1(features.transpose(1, 2))))  # (batch, hid_dim, frames - 14)
        x = self.frame_5(self.frame_4(x))  # (batch, stats_dim, frames - 14)
        first = self.seg_1(self.pool(x))  # (batch, dim)
        return self.seg_2(self.seg_bn_1(relu(first)))
