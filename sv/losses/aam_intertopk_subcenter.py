"""Inter-top-k AAM-softmax of the nearest of K sub-centers: WeSpeaker's `arc_margin_intertopk_subcenter`.

Its K, mp and k_top are num_subcenters, top_margin and top_k here. The formulas are those of aam_subcenter.py and
aam_intertopk.py.
"""

from torch import Tensor

from sv.losses.aam_intertopk import AamIntertopk
from sv.losses.aam_subcenter import subcenter_cosines, subcenter_weight
from sv.losses.options import AamIntertopkSubcenterOptions


class AamIntertopkSubcenter(AamIntertopk):
    """AAM-softmax with sub-centers and the inter-top-k penalty."""

    def __init__(self, embedding_dim: int, num_speakers: int, options: AamIntertopkSubcenterOptions) -> None:
        super().__init__(embedding_dim, num_speakers, options)
        self.weight = subcenter_weight(embedding_dim, num_speakers, options.num_subcenters)

    def cosines(self, embedding: Tensor) -> Tensor:
        return subcenter_cosines(embedding, self.weight.to(embedding.dtype))
