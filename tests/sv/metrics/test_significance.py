"""Intervals and paired tests: what must hold exactly, and a coverage that a wrong interval would miss."""

import numpy as np
import pytest
from scipy.special import logit

from sv.metrics.bootstrap import replicate
from sv.metrics.error_rates import eer, sort_scores
from sv.metrics.measures import Entry, columns_of, measure
from sv.metrics.significance import compare, intervals
from sv.metrics.trial_speakers import SpeakerTrials
from sv.scoring.calibration import fit


def make_trials(rng: np.random.Generator, speakers: int = 30, utts: int = 5, systems: int = 1) -> list[SpeakerTrials]:
    """Speakers that differ in how far their target scores lie from the others': what makes trials dependent."""
    speaker = np.repeat(np.arange(speakers, dtype=np.int32), utts)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    ease, drift = rng.normal(2, 1, speakers), rng.normal(0, 0.4, speakers)
    mean = np.where(same, ease[speaker[first]], drift[speaker[first]] + drift[speaker[second]])
    return [
        SpeakerTrials(mean + rng.normal(0, 0.5, len(first)), same, speaker[first], speaker[second])
        for _ in range(systems)
    ]


EER, MIN_DCF, ACT_DCF, CLLR = COLUMNS = [
    column for column in columns_of((0.05,), llr=True) if column.measure.interval is not None
]


def measured(trials: SpeakerTrials) -> Entry:
    return measure(trials.sorted_scores(), COLUMNS)


def test_interval_is_that_of_the_replicates_on_the_logit_scale() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    found = intervals(trials, measured(trials), [EER], replicates=100, seed=3)
    rate = eer(trials.sorted_scores()) / 100
    deviation = replicate([trials], [EER], replicates=100, seed=3)[:, 0, 0].std(ddof=1) / 100
    low, high = (end / 100 for end in EER.read(found))
    assert (logit(low) + logit(high)) / 2 == pytest.approx(logit(rate))
    assert logit(high) - logit(low) == pytest.approx(2 * 2.0452 * deviation / (rate * (1 - rate)), rel=1e-4)  # t of 29
    assert found["num_speakers"] == 30 and "min_dcf" not in found
    assert intervals(trials, measured(trials), [EER], replicates=100, seed=3) == found


def test_intervals_of_log_likelihood_ratios_are_those_of_the_replicates_on_the_log_scale() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    found = intervals(trials, measured(trials), COLUMNS, replicates=100, seed=3)
    deviation = replicate([trials], COLUMNS, replicates=100, seed=3)[:, 0].std(axis=0, ddof=1)
    for column, sd, quantile in ((ACT_DCF, deviation[2], 2.0452), (CLLR, deviation[3], 2.1448)):  # t of 29, of 14
        value = column.read(measured(trials))
        ends = np.log(value) + quantile * sd / value * np.array([-1, 1])
        assert np.log(column.read(found)) == pytest.approx(ends, abs=1e-3)
    plain = intervals(trials, measured(trials), [EER, MIN_DCF], replicates=100, seed=3)
    assert plain == {name: value for name, value in found.items() if name not in ("act_dcf", "cllr")}


def test_threshold_that_no_non_target_reaches_does_not_promise_that_none_will() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    low_scores = trials.with_scores(trials.scores - 100)
    low, high = ACT_DCF.read(intervals(low_scores, measured(low_scores), [ACT_DCF], replicates=20))
    reach = 2.0452 * 19 / (~trials.is_target).sum()  # one false accept more, of a cost of 1
    assert (low, high) == pytest.approx((np.exp(-reach), np.exp(reach)), rel=1e-4)


def test_sample_without_false_accepts_is_of_a_list_that_may_have_several() -> None:
    sample = make_trials(np.random.default_rng(0))[0]
    sample = sample.with_scores(sample.scores - 100)
    whole = {**measured(sample), "num_target": 50_000, "num_nontarget": 2_000_000}
    low, high = ACT_DCF.read(intervals(sample, whole, [ACT_DCF], replicates=20))
    several = 2_000_000 / (~sample.is_target).sum()
    assert np.log(high / low) / 2 == pytest.approx(2.0452 * 19 * np.sqrt(several) / 2_000_000, rel=1e-4)


def test_of_false_accepts_that_have_nothing_to_do_with_speakers_an_excess_is_taken_off() -> None:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(60, dtype=np.int32), 4)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    scores = np.where(~same & (rng.random(len(same)) < 1e-3), 5.0, 0.0)  # accepted from 4.6 on: no target, few others
    trials = SpeakerTrials(scores, same, speaker[first], speaker[second])
    (act_dcf,) = columns = [column for column in columns_of((0.01,), llr=True) if column.measure.key == "act_dcf"]
    deviation = 99 * np.sqrt((scores[~same] > 0).mean() / (~same).sum())  # binomial
    drawn = replicate([trials], columns, replicates=1000, seed=1)[:, 0, 0].std(ddof=1)
    assert drawn == pytest.approx(np.sqrt(3) * deviation, rel=0.15)
    found = intervals(trials, measure(trials.sorted_scores(), columns), columns, replicates=1000, seed=1)
    low, high = act_dcf.read(found)
    reach = (
        2.001 * np.sqrt(2) * deviation / act_dcf.value(trials.sorted_scores())
    )  # t of 59; of the excess of 2, 1 is taken off
    assert np.log(high / low) / 2 == pytest.approx(reach, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [2.0, 0.6])  # minDCF 0.6, and nearly 1
def test_intervals_of_costs_hold_the_truth(distance: float) -> None:
    rng = np.random.default_rng(3)

    def draw(speakers: int) -> SpeakerTrials:
        trials = make_trials(rng, speakers=speakers)[0]
        return trials.with_scores(trials.scores - (2 - distance) * trials.is_target)

    many = [draw(150) for _ in range(20)]
    scores, same = (np.concatenate([getattr(t, name) for t in many]) for name in ("scores", "is_target"))
    calibration = fit(scores[::10, None], same[::10], ["score"], p_target=0.05)
    llrs = calibration.llrs(scores[:, None])
    truth = measure(sort_scores(llrs[same], llrs[~same]), COLUMNS)
    held = np.zeros(3)
    for seed in range(60):
        trials = draw(30)
        trials = trials.with_scores(calibration.llrs(trials.scores[:, None]))
        found = intervals(trials, measured(trials), COLUMNS, replicates=60, seed=seed)
        ends, wanted = (np.array([column.read(of) for column in (MIN_DCF, ACT_DCF, CLLR)]) for of in (found, truth))
        held += (ends[:, 0] <= wanted) & (wanted <= ends[:, 1])
    print(wanted, held)
    assert (held >= 51).all()  # of 60: 57 expected, deviation 1.7


@pytest.mark.slow
def test_interval_holds_the_truth_and_one_that_forgets_speakers_does_not() -> None:
    rng = np.random.default_rng(1)
    many = [make_trials(rng, speakers=150)[0] for _ in range(20)]
    scores, same = (np.concatenate([getattr(t, name) for t in many]) for name in ("scores", "is_target"))
    truth = eer(sort_scores(scores[same], scores[~same]))
    held = naive = 0
    for seed in range(60):
        trials = make_trials(rng)[0]
        low, high = EER.read(intervals(trials, measured(trials), [EER], replicates=60, seed=seed))
        held += low <= truth <= high
        rate = eer(trials.sorted_scores()) / 100
        naive += abs(100 * rate - truth) <= 196 * np.sqrt(rate * (1 - rate) / trials.is_target.sum())
    assert held >= 51  # of 60: 57 expected, deviation 1.7
    assert naive <= 45


def test_a_system_does_not_differ_from_itself() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    for difference in compare([trials] * 2, [measured(trials)] * 2, COLUMNS, replicates=20):
        assert difference.p_value == 1.0 and difference.interval == (0.0, 0.0)


def test_pairs_of_costs_have_less_taken_off_for_the_trials_that_both_accept() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    other = trials.with_scores(trials.scores + 0.3 * np.random.default_rng(1).normal(size=len(trials.scores)))
    draws = replicate([trials, other], COLUMNS, replicates=200)
    apart = (draws[:, 1] - draws[:, 0]).std(axis=0, ddof=1)
    accepts = [one.scores[~one.is_target] >= np.log(19) for one in (trials, other)]
    excess = 19**2 * (accepts[1].astype(float) - accepts[0]).var() / (~trials.is_target).sum()
    differences = {d.column: d for d in compare([trials, other], [measured(trials), measured(other)], COLUMNS)}
    low, high = differences[ACT_DCF].interval
    assert (high - low) / 2 == pytest.approx(2.0452 * np.sqrt(apart[2] ** 2 - excess), rel=1e-4)
    low, high = differences[EER].interval
    assert (high - low) / 2 == pytest.approx(2.0452 * apart[0], rel=1e-4)


def test_a_clearly_better_system_is_called_so() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    better = trials.with_scores(trials.scores + 2 * trials.is_target)
    difference = compare([trials, better], [measured(trials), measured(better)], COLUMNS, replicates=50)[0]
    assert difference.second < difference.first
    assert difference.interval[1] < 0 and difference.p_value < 1e-3


@pytest.mark.slow
def test_equally_good_systems_are_seldom_called_different() -> None:
    rng = np.random.default_rng(2)
    called = 0
    for seed in range(40):
        systems = make_trials(rng, speakers=20, systems=2)
        both = [measured(trials) for trials in systems]
        called += compare(systems, both, [EER], replicates=40, seed=seed)[0].p_value < 0.05
    assert called <= 7  # 2 expected
