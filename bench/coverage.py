"""How often a 95 % interval holds the truth, on simulated speakers. One JSON line a figure; --quick: a minute.

Speakers are drawn from a population whose EER and minDCF are known from eight million trials; speakers differ in how
much they vary. coverage_*: percent of the drawn lists whose interval holds the population's value; 95 is asked for.
trial_coverage_eer: the same of an interval that takes trials as independent. called_different_eer: percent of pairs of
systems, of equal quality and the same speakers, that the paired test at 5 % calls different. seconds: of one interval.
"""

import math
import time

import numpy as np
from numpy.typing import NDArray

from bench.common import parse_quick, report
from sv.scoring import evaluate
from sv.scoring.bootstrap import SpeakerTrials
from sv.scoring.significance import compare, intervals

DIM = 32
Rng = np.random.Generator


def draw_embeddings(rng: Rng, speakers: int, utts: int, systems: int) -> NDArray[np.float64]:
    """(systems, speakers * utts, DIM), of length 1; the systems share speakers and half of what varies."""
    variance = rng.gamma(6, 1 / 6, (speakers, 1, 1))
    shared = rng.standard_normal((speakers, utts, DIM))
    vectors = []
    center = rng.standard_normal((speakers, 1, DIM))
    for _ in range(systems):
        noise = math.sqrt(0.5) * (shared + rng.standard_normal(shared.shape)) if systems > 1 else shared
        x = (center + 0.9 * np.sqrt(variance) * noise).reshape(-1, DIM)
        vectors.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.stack(vectors)


def draw_list(rng: Rng, speakers: int, utts: int, nontargets: int, systems: int = 1) -> list[SpeakerTrials]:
    """All target pairs and some non-target ones, scored by each system."""
    embeddings = draw_embeddings(rng, speakers, utts, systems)
    speaker = np.repeat(np.arange(speakers, dtype=np.int32), utts)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    others = np.flatnonzero(~same)
    chosen = np.concatenate([np.flatnonzero(same), rng.choice(others, min(nontargets, len(others)), replace=False)])
    first, second = first[chosen], second[chosen]
    return [
        SpeakerTrials(np.einsum("ij,ij->i", x[first], x[second]), same[chosen], speaker[first], speaker[second])
        for x in embeddings
    ]


def values(trials: SpeakerTrials) -> NDArray[np.float64]:
    """EER in percent, minDCF at 0.01 and 0.05."""
    metrics = evaluate(trials.scores[trials.is_target], trials.scores[~trials.is_target])
    return np.array([metrics.eer, *metrics.min_dcf.values()])


def population(rng: Rng) -> NDArray[np.float64]:
    lists = [draw_list(rng, 400, 6, 300_000)[0] for _ in range(25)]
    scores = np.concatenate([one.scores for one in lists])
    is_target = np.concatenate([one.is_target for one in lists])
    return values(SpeakerTrials(scores, is_target, lists[0].enroll, lists[0].test))


def bench_coverage(truth: NDArray[np.float64], speakers: int, utts: int, nontargets: int, lists: int) -> None:
    rng = np.random.default_rng(speakers)
    held, naive, different, seconds = np.zeros(3), 0, 0, 0.0
    for seed in range(lists):
        trials, other = draw_list(rng, speakers, utts, nontargets, systems=2)
        different += compare(trials, other, (), seed=seed)[0].p_value < 0.05
        (trials,) = draw_list(rng, speakers, utts, nontargets)
        start = time.perf_counter()
        found = intervals(trials, seed=seed)
        seconds += time.perf_counter() - start
        ends = [found.eer, *found.min_dcf.values()]
        held += [low <= value <= high for (low, high), value in zip(ends, truth, strict=True)]
        rate = values(trials)[0] / 100
        reach = 1.96 * math.sqrt(rate * (1 - rate) / int(trials.is_target.sum()))
        naive += abs(rate - truth[0] / 100) <= reach
    names = ("coverage_eer", "coverage_min_dcf_0.01", "coverage_min_dcf_0.05")
    shares = dict(zip(names, (100 * held / lists).tolist(), strict=True))
    case = f"{speakers} speakers of {utts} utterances, {nontargets} non-targets, {lists} lists"
    more = {"trial_coverage_eer": 100 * naive / lists, "called_different_eer": 100 * different / lists}
    report("coverage", case, seconds / lists, **shares, **more)


def main() -> None:
    lists = 30 if parse_quick(__doc__) else 1000
    truth = population(np.random.default_rng(0))
    for speakers, utts, nontargets in ((20, 8, 6000), (40, 8, 12_000), (75, 10, 12_000)):
        bench_coverage(truth, speakers, utts, nontargets, lists)


if __name__ == "__main__":
    main()
