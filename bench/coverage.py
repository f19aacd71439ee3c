"""Count how often a 95 % interval contains the truth, on simulated speakers. One JSON line a figure; --quick: a minute.

Speakers are drawn from two populations, whose true values come from eight million trials. Speakers differ in how much
their utterances vary, in the hard population so much that minDCF is nearly 1. Scores are calibrated on the population.

coverage_*           percent of the drawn lists whose interval contains the population's value; should be 95
trial_coverage_eer   the same for an interval that takes trials as independent
called_different_*   percent of pairs of systems, of equal quality and the same speakers, that differ at 5 % in the
                     paired test
median_eer_interval  median of the lower and of the upper ends, in percent
seconds              of one interval

MIN_SPEAKERS is set to 2 here, to find out what it should be.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.common import parse_quick, report
from sv.metrics import jackknife
from sv.metrics.error_rates import sort_scores
from sv.metrics.measures import Entry, columns_of, measure
from sv.metrics.significance import compare, intervals
from sv.metrics.trial_speakers import SpeakerTrials
from sv.scoring.calibration import Calibration, fit

DIM, POPULATION_LISTS, LISTS, QUICK_LISTS = 32, 25, 500, 30
COLUMNS = [column for column in columns_of(llr=True) if column.measure.interval is not None]
NAMES = [c.measure.key + (f"_{c.p_target:g}" if c.p_target else "") for c in COLUMNS]
Rng = np.random.Generator


@dataclass(frozen=True)
class Size:
    """Size of a list.

    Attributes:
        speakers, utts: number of speakers, and utterances of each.
        nontargets: number of non-target trials.
        with_targets: speakers that have target trials; None: all.
        shrink: share of a speaker's target trials that the next one has, if not 1.
    """

    speakers: int
    utts: int
    nontargets: int
    with_targets: int | None = None
    shrink: float = 1.0

    def __str__(self) -> str:
        """Return the size in words."""
        words = f"{self.speakers} speakers of {self.utts} utterances, {self.nontargets} non-targets"
        words += f", targets of {self.with_targets} speakers" if self.with_targets else ""
        return words + (f", each next one {self.shrink:g} times as many targets" if self.shrink < 1 else "")


@dataclass(frozen=True)
class Population:
    """A population of speakers and its true values.

    Attributes:
        name: "easy", "hard".
        spread: standard deviation of a speaker's utterances; that between speakers is 1.
        calibration: of its cosine scores.
        truth: true values, see `values`.
    """

    name: str
    spread: float
    calibration: Calibration | None = None
    truth: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def draw_embeddings(rng: Rng, spread: float, speakers: int, utts: int, systems: int) -> NDArray[np.float64]:
    """Draw embeddings of length 1, (systems, speakers * utts, DIM); systems share speakers and half of the noise."""
    variance = rng.gamma(6, 1 / 6, (speakers, 1, 1))
    shared = rng.standard_normal((speakers, utts, DIM))
    vectors = []
    center = rng.standard_normal((speakers, 1, DIM))
    for _ in range(systems):
        noise = math.sqrt(0.5) * (shared + rng.standard_normal(shared.shape)) if systems > 1 else shared
        x = (center + spread * np.sqrt(variance) * noise).reshape(-1, DIM)
        vectors.append(x / np.linalg.norm(x, axis=1, keepdims=True))
    return np.stack(vectors)


def draw_list(rng: Rng, people: Population, size: Size, systems: int = 1) -> list[SpeakerTrials]:
    """Draw a list: all target pairs of some speakers and some non-target pairs, scored by each system, calibrated."""
    embeddings = draw_embeddings(rng, people.spread, size.speakers, size.utts, systems)
    speaker = np.repeat(np.arange(size.speakers, dtype=np.int32), size.utts)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    kept = same & (speaker[first] < (size.with_targets or size.speakers))
    if size.shrink < 1:
        kept &= rng.random(len(kept)) < size.shrink ** speaker[first]
    others = np.flatnonzero(~same)
    some = rng.choice(others, min(size.nontargets, len(others)), replace=False)
    chosen = np.concatenate([np.flatnonzero(kept), some])
    first, second = first[chosen], second[chosen]
    scores = [np.einsum("ij,ij->i", x[first], x[second]) for x in embeddings]
    if people.calibration is not None:
        scores = [people.calibration.llrs(one[:, None]) for one in scores]
    return [SpeakerTrials(one, same[chosen], speaker[first], speaker[second]) for one in scores]


def values(entry: Entry) -> NDArray[np.float64]:
    """Return values, or intervals, in the order of NAMES; EER in percent."""
    return np.array([column.read(entry) for column in COLUMNS])


def known_population(name: str, spread: float) -> Population:
    """Build a population: fit its calibration and compute its true values from many trials."""
    rng, people = np.random.default_rng(0), Population(name, spread)
    lists = [draw_list(rng, people, Size(400, 6, 300_000))[0] for _ in range(POPULATION_LISTS)]
    scores = np.concatenate([one.scores for one in lists])
    is_target = np.concatenate([one.is_target for one in lists])
    calibration = fit(scores[::20, None], is_target[::20], ["score"], p_target=0.05)
    llrs = calibration.llrs(scores[:, None])
    truth = values(measure(sort_scores(llrs[is_target], llrs[~is_target]), COLUMNS))
    report("population", name, 0.0, **dict(zip(NAMES, truth.tolist(), strict=True)))
    return Population(name, spread, calibration, truth)


def bench_coverage(people: Population, size: Size, lists: int) -> None:
    """Report how often intervals and tests of drawn lists are right."""
    rng = np.random.default_rng(size.speakers)
    held, different, naive, seconds = np.zeros(len(NAMES)), np.zeros(len(NAMES)), 0, 0.0
    eer_ends = []
    for _ in range(lists):
        systems = draw_list(rng, people, size, systems=2)
        both = [measure(system.sorted_scores(), COLUMNS) for system in systems]
        different += [found.p_value < 0.05 for found in compare(systems, both, COLUMNS)]
        (trials,) = draw_list(rng, people, size)
        measured = measure(trials.sorted_scores(), COLUMNS)
        start = time.perf_counter()
        found = intervals(trials, measured, COLUMNS)
        seconds += time.perf_counter() - start
        ends = values(found)
        held += (ends[:, 0] <= people.truth) & (people.truth <= ends[:, 1])
        eer_ends.append(ends[0])
        rate = measured["eer"] / 100
        reach = 1.96 * math.sqrt(rate * (1 - rate) / int(trials.is_target.sum()))
        naive += abs(rate - people.truth[0] / 100) <= reach
    shares = {f"coverage_{name}": share for name, share in zip(NAMES, (100 * held / lists).tolist(), strict=True)}
    called = zip(NAMES, (100 * different / lists).tolist(), strict=True)
    shares |= {f"called_different_{name}": share for name, share in called}
    shares |= {"trial_coverage_eer": 100 * naive / lists}
    low, high = np.median(eer_ends, axis=0).tolist()
    shares |= {"median_eer_interval_low": low, "median_eer_interval_high": high}
    report("coverage", f"{people.name}, {size}, {lists} lists", seconds / lists, **shares)


def main() -> None:
    """Run all cases and print their figures."""
    lists = QUICK_LISTS if parse_quick(__doc__) else LISTS
    jackknife.MIN_SPEAKERS = 2
    few = [Size(20, 8, 6000, number) for number in (2, 3, 4, 5, 6, 8, 10, 15)]
    uneven = [Size(20, 8, 6000, shrink=0.7), Size(40, 8, 12_000, shrink=0.9)]
    short = [Size(40, 4, 6000, 8), Size(40, 4, 6000), Size(60, 2, 6000), Size(300, 2, 12_000), Size(20, 8, 500)]
    for name, spread in (("easy", 0.9), ("hard", 2.0)):
        people = known_population(name, spread)
        for size in (Size(20, 8, 6000), Size(40, 8, 12_000), Size(75, 10, 12_000), *few, *uneven, *short):
            bench_coverage(people, size, lists)


if __name__ == "__main__":
    main()
