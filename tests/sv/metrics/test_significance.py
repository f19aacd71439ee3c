"""Intervals and paired tests: what must hold exactly, and a coverage that a wrong interval would miss."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from sv.errors import UserError
from sv.metrics.bootstrap import SpeakerTrials, replicate
from sv.metrics.error_rates import evaluate, sort_scores
from sv.metrics.measures import measure
from sv.metrics.significance import compare, intervals, measure_trials, min_dcf_interval, rate_interval
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


def test_interval_is_that_of_the_replicates_on_the_logit_scale() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    found = intervals(trials, (0.05,), replicates=100, seed=3)
    rate = evaluate(trials.scores[trials.is_target], trials.scores[~trials.is_target]).eer / 100
    deviation = replicate([trials], (0.05,), replicates=100, seed=3)[:, 0, 0].std(ddof=1) / 100
    low, high = (end / 100 for end in found.eer)
    assert (logit(low) + logit(high)) / 2 == pytest.approx(logit(rate))
    assert logit(high) - logit(low) == pytest.approx(2 * 2.0452 * deviation / (rate * (1 - rate)), rel=1e-4)  # t of 29
    assert found.num_speakers == 30 and list(found.min_dcf) == [0.05]
    assert intervals(trials, (0.05,), replicates=100, seed=3) == found


def test_wider_level_is_a_wider_interval() -> None:
    narrow, wide = (rate_interval(0.1, 0.02, 40, level) for level in (0.68, 0.99))
    assert wide[0] < narrow[0] < 0.1 < narrow[1] < wide[1]


def test_no_errors_among_few_speakers_promise_little() -> None:
    low, high = rate_interval(0.0, 0.0, 40, 0.95)
    assert low == 0 and (1 - high) ** 40 == pytest.approx(0.025)
    assert rate_interval(1.0, 0.0, 40, 0.95) == pytest.approx((1 - high, 1.0))


def test_cost_near_that_of_rejecting_everything_is_not_wider_than_its_deviation_says() -> None:
    for cost in (0.95, 0.999, 1.0):
        low, high = min_dcf_interval(cost, 0.01, 40, 0.95)
        assert high == pytest.approx(min(cost + 0.0203, 1), abs=1e-3) and low == pytest.approx(cost - 0.0203, abs=1e-3)
    assert min_dcf_interval(1.0, 0.0, 40, 0.95) == rate_interval(1.0, 0.0, 40, 0.95)
    assert min_dcf_interval(0.0, 0.0, 40, 0.95) == rate_interval(0.0, 0.0, 40, 0.95)
    small, rate = min_dcf_interval(0.02, 0.005, 40, 0.95), rate_interval(0.02, 0.005, 40, 0.95)
    assert small == pytest.approx(rate, rel=0.01)


def test_intervals_of_log_likelihood_ratios_are_those_of_the_replicates_on_the_log_scale() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    metrics = measure_trials(trials, (0.05,), llr=True)
    found = intervals(trials, (0.05,), metrics=metrics, replicates=100, seed=3)
    deviation = replicate([trials], (0.05,), llr=True, replicates=100, seed=3)[:, 0].std(axis=0, ddof=1)
    assert found.cllr is not None and metrics.cllr is not None
    for (low, high), value, sd, quantile in (
        (found.act_dcf[0.05], metrics.act_dcf[0.05], deviation[2], 2.0452),  # t of 29
        (found.cllr, metrics.cllr, deviation[3], 2.1448),  # t of 14
    ):
        assert np.log([low, high]) == pytest.approx(np.log(value) + quantile * sd / value * np.array([-1, 1]), abs=1e-3)
    plain = intervals(trials, (0.05,), replicates=100, seed=3)
    assert (plain.eer, plain.min_dcf, plain.act_dcf, plain.cllr) == (found.eer, found.min_dcf, {}, None)


def test_threshold_that_no_non_target_reaches_does_not_promise_that_none_will() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    low_scores = trials.with_scores(trials.scores - 100)
    found = intervals(low_scores, (0.05,), metrics=measure_trials(low_scores, (0.05,), llr=True), replicates=20)
    low, high = found.act_dcf[0.05]
    reach = 2.0452 * 19 / (~trials.is_target).sum()  # one false accept more, of a cost of 1
    assert (low, high) == pytest.approx((np.exp(-reach), np.exp(reach)), rel=1e-4)


def test_sample_without_false_accepts_is_of_a_list_that_may_have_several() -> None:
    sample = make_trials(np.random.default_rng(0))[0]
    sample = sample.with_scores(sample.scores - 100)
    metrics = replace(measure_trials(sample, (0.05,), llr=True), num_target=50_000, num_nontarget=2_000_000)
    low, high = intervals(sample, (0.05,), metrics=metrics, replicates=20).act_dcf[0.05]
    several = 2_000_000 / (~sample.is_target).sum()
    assert np.log(high / low) / 2 == pytest.approx(2.0452 * 19 * np.sqrt(several) / 2_000_000, rel=1e-4)


def test_of_false_accepts_that_have_nothing_to_do_with_speakers_an_excess_is_taken_off() -> None:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(60, dtype=np.int32), 4)
    first, second = np.triu_indices(len(speaker), 1)
    same = speaker[first] == speaker[second]
    scores = np.where(~same & (rng.random(len(same)) < 1e-3), 5.0, 0.0)  # accepted from 4.6 on: no target, few others
    trials = SpeakerTrials(scores, same, speaker[first], speaker[second])
    metrics = measure_trials(trials, (0.01,), llr=True)
    deviation = 99 * np.sqrt((scores[~same] > 0).mean() / (~same).sum())  # binomial
    drawn = replicate([trials], (0.01,), llr=True, seed=1)[:, 0, 2].std(ddof=1)
    assert drawn == pytest.approx(np.sqrt(3) * deviation, rel=0.15)
    low, high = intervals(trials, (0.01,), metrics=metrics, replicates=1000, seed=1).act_dcf[0.01]
    reach = 2.001 * np.sqrt(2) * deviation / metrics.act_dcf[0.01]  # t of 59; of the excess of 2, 1 is taken off
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
    truth = measure(sort_scores(llrs[same], llrs[~same]), (0.05,), llr=True)
    held = np.zeros(3)
    for seed in range(60):
        trials = draw(30)
        trials = trials.with_scores(calibration.llrs(trials.scores[:, None]))
        metrics = measure_trials(trials, (0.05,), llr=True)
        found = intervals(trials, (0.05,), metrics=metrics, replicates=60, seed=seed)
        ends = np.array([found.min_dcf[0.05], found.act_dcf[0.05], found.cllr])
        wanted = np.array([truth.min_dcf[0.05], truth.act_dcf[0.05], truth.cllr])
        held += (ends[:, 0] <= wanted) & (wanted <= ends[:, 1])
    print(wanted, held)
    assert (held >= 51).all()  # of 60: 57 expected, deviation 1.7


@pytest.mark.slow
def test_interval_holds_the_truth_and_one_that_forgets_speakers_does_not() -> None:
    rng = np.random.default_rng(1)
    many = [make_trials(rng, speakers=150)[0] for _ in range(20)]
    scores, same = (np.concatenate([getattr(t, name) for t in many]) for name in ("scores", "is_target"))
    truth = evaluate(scores[same], scores[~same]).eer
    held = naive = 0
    for seed in range(60):
        trials = make_trials(rng)[0]
        low, high = intervals(trials, (), replicates=60, seed=seed).eer
        held += low <= truth <= high
        rate = evaluate(trials.scores[trials.is_target], trials.scores[~trials.is_target]).eer / 100
        naive += abs(100 * rate - truth) <= 196 * np.sqrt(rate * (1 - rate) / trials.is_target.sum())
    assert held >= 51  # of 60: 57 expected, deviation 1.7
    assert naive <= 45


def test_a_system_does_not_differ_from_itself() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    for difference in compare(trials, trials, replicates=20):
        assert difference.p_value == 1.0 and difference.interval == (0.0, 0.0)


def test_pairs_of_costs_have_less_taken_off_for_the_trials_that_both_accept() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    other = trials.with_scores(trials.scores + 0.3 * np.random.default_rng(1).normal(size=len(trials.scores)))
    both = [measure_trials(one, (0.05,), llr=True) for one in (trials, other)]
    draws = replicate([trials, other], (0.05,), llr=True, replicates=200)
    apart = (draws[:, 1] - draws[:, 0]).std(axis=0, ddof=1)
    accepts = [one.scores[~one.is_target] >= np.log(19) for one in (trials, other)]
    excess = 19**2 * (accepts[1].astype(float) - accepts[0]).var() / (~trials.is_target).sum()
    differences = {one.name: one for one in compare(trials, other, (0.05,), metrics=both)}
    low, high = differences["actDCF (p_target 0.05)"].interval
    assert (high - low) / 2 == pytest.approx(2.0452 * np.sqrt(apart[2] ** 2 - excess), rel=1e-4)
    low, high = differences["EER (%)"].interval
    assert (high - low) / 2 == pytest.approx(2.0452 * apart[0], rel=1e-4)


def test_a_clearly_better_system_is_called_so() -> None:
    trials = make_trials(np.random.default_rng(0))[0]
    better = trials.with_scores(trials.scores + 2 * trials.is_target)
    difference = compare(trials, better, (0.05,), replicates=50)[0]
    assert difference.second < difference.first
    assert difference.interval[1] < 0 and difference.p_value < 1e-3


@pytest.mark.slow
def test_equally_good_systems_are_seldom_called_different() -> None:
    rng = np.random.default_rng(2)
    called = 0
    for seed in range(40):
        first, second = make_trials(rng, speakers=20, systems=2)
        called += compare(first, second, (), replicates=40, seed=seed)[0].p_value < 0.05
    assert called <= 7  # 2 expected


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_out_of_range_is_refused(level: float) -> None:
    with pytest.raises(UserError, match="confidence level"):
        intervals(make_trials(np.random.default_rng(0))[0], level=level)
