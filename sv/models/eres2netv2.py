"""ERes2NetV2: an ERes2Net that fuses only the outputs of its last two groups, with narrower parts in its blocks.

Chen et al., "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with Computational Efficiency", 2024,
arXiv 2406.02167. Layers, names and arithmetic are those of 3D-Speaker's ERes2NetV2, whose checkpoints load; to a
variance it adds 1e-8, TSTP 1e-7.
"""

from torch import Tensor

from sv.models.eres2net import AttentionalFusion, FusedBlock, PlainBlock, halve
from sv.models.options import Res2NetOptions
from sv.models.res2net import Res2Net


class ERes2NetV2(Res2Net):
    """ERes2NetV2; the third group's output is halved and fused with the fourth's."""

    blocks = (PlainBlock, PlainBlock, FusedBlock, FusedBlock)

    def __init__(self, options: Res2NetOptions, *, base_width: int, scale: int, expansion: int) -> None:
        super().__init__(options, base_width=base_width, scale=scale, expansion=expansion)
        channels = options.m_channels * expansion
        self.layer3_ds = halve(4 * channels)
        self.fuse34 = AttentionalFusion(8 * channels)

    def run_groups(self, x: Tensor) -> Tensor:
        out3 = self.layer3(self.layer2(self.layer1(x)))  # (batch, 4 * m_channels * expansion, mels / 4, frames / 4)
        return self.fuse34(self.layer4(out3), self.layer3_ds(out3))
