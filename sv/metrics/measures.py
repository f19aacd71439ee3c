"""All that is measured of a score file at once, from one sort."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sv.metrics.cllr import act_dcf_of_sorted, cllr_of_sorted
from sv.metrics.error_rates import Metrics, SortedScores, evaluate_sorted
from sv.metrics.rocch import hull_of_sorted


@dataclass(frozen=True)
class Measures(Metrics):
    """What `Metrics` has, and:

    Attributes:
        eer_rocch: EER in percent on the convex hull of the ROC.
        min_cllr: bits.
        act_dcf: by p_target; empty unless the scores are log-likelihood ratios.
        cllr: bits; None unless they are.
    """

    eer_rocch: float
    min_cllr: float
    act_dcf: dict[float, float] = field(default_factory=dict)
    cllr: float | None = None


def measure(scores: SortedScores, p_targets: Sequence[float] = (0.01, 0.05), *, llr: bool = False) -> Measures:
    """Everything about the scores of one list.

    Args:
        scores: of all trials.
        p_targets: priors of minDCF and actDCF.
        llr: the scores are natural logarithms of likelihood ratios.

    Raises:
        UserError: a prior out of its range.
    """
    hull = hull_of_sorted(scores)
    return Measures(
        **vars(evaluate_sorted(scores, p_targets)),
        eer_rocch=hull.eer(),
        min_cllr=hull.min_cllr(),
        act_dcf={p: act_dcf_of_sorted(scores, p) for p in p_targets} if llr else {},
        cllr=cllr_of_sorted(scores) if llr else None,
    )
