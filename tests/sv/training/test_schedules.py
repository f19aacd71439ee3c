"""Learning rate and margin, worked out again from WeSpeaker's formulas (steps counted from 0)."""

import math

import pytest

from sv.config import MarginUpdate, SchedulerArgs
from sv.training.schedules import LearningRate, Margin

STEPS, EPOCHS = 100, 150


def schedule(name="ExponentialDecrease", batch=256, epochs=EPOCHS, **args):
    return LearningRate(name, SchedulerArgs(**args), STEPS, epochs, batch)


def decay(step, first=0.1, last=5e-5, epochs=EPOCHS):
    return first * math.exp(step / (epochs * STEPS) * math.log(last / first))


def test_two_processes_of_128_peak_at_four_times_the_configured_rate():
    lr = schedule()
    assert lr.scale == 4
    assert lr(0) == 0
    assert lr(300) == pytest.approx(4 * 0.5 * decay(300))
    assert lr.peak() == lr(600) == pytest.approx(4 * decay(600))
    assert lr(EPOCHS * STEPS - 1) == pytest.approx(4 * 5e-5, rel=1e-3)


def test_warm_up_from_the_configured_rate_reaches_the_scaled_one():
    lr = schedule(warm_from_zero=False)
    assert lr(0) == 0.1
    assert lr(150) == pytest.approx((1 + 3 * 0.25) * decay(150))
    assert lr(600) == pytest.approx(4 * decay(600))


def test_a_small_batch_scales_down_at_once_without_warm_up_from_zero():
    assert schedule(batch=32, warm_from_zero=False)(0) == pytest.approx(0.05)


def test_scaling_can_be_switched_off_and_warm_up_left_out():
    lr = schedule(scale_with_batch=False, warm_up_epoch=0)
    assert [lr(0), lr.scale, lr.peak()] == [0.1, 1, 0.1]


def test_a_warm_up_longer_than_the_training_has_its_peak_where_growth_and_decay_meet():
    lr = schedule(epochs=2)  # t exp(-k t) is highest at t = 1 / k
    assert lr.peak() == lr(round(200 / math.log(0.1 / 5e-5)))


def test_cosine_falls_from_first_to_last_rate():
    lr = schedule("WarmupCosine", batch=64, warm_up_epoch=0)
    assert lr(0) == pytest.approx(0.1)
    assert lr(EPOCHS * STEPS // 2) == pytest.approx((0.1 + 5e-5) / 2)
    assert lr(EPOCHS * STEPS) == pytest.approx(5e-5)


def margin(final=0.2, **update):
    return Margin(MarginUpdate(**update), final, STEPS)


def test_margin_grows_exponentially_between_the_beginnings_of_two_epochs():
    m = margin()
    assert [m(0), m(1899), m(1900)] == [0, 0, 0]
    for step in (1901, 2500, 3899):
        expected = 0.2 * (1 - math.exp((step - 1900) / 2000 * math.log(1e-3 / (1 + 1e-6))))
        assert m(step) == pytest.approx(expected, rel=1e-12)
    assert m(2900) == pytest.approx(0.2 * (1 - math.sqrt(1e-3)), rel=1e-4)
    assert m(3900) == m(10**6) == 0.2


def test_margin_grows_linearly_from_another_start():
    m = margin(final=0.5, initial_margin=0.1, increase_type="linear", increase_start_epoch=2, fix_start_epoch=4)
    assert [m(100), m(150), m(200), m(300)] == pytest.approx([0.1, 0.2, 0.3, 0.5])


def test_margin_can_stand_still():
    assert margin(increase_type="fixed")(0) == 0.2
    assert margin(update_margin=False, initial_margin=0.1)(10**6) == 0.1
    assert margin(increase_start_epoch=5, fix_start_epoch=5)(400) == 0.2
