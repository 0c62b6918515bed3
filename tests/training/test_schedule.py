"""The learning rate by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.training.schedule import Constant, Continuing, Cosine


def test_rises_and_then_falls_along_a_cosine():
    schedule = Cosine(warmup_share=0.1, max_warmup_steps=4, final=0.0)
    assert [schedule.factor(step, 0.0) for step in range(5)] == [1 / 4, 2 / 4, 3 / 4, 1, 1]
    assert schedule.factor(100, 0.5) == pytest.approx(1 / 2)
    assert schedule.factor(100, 1.0) == pytest.approx(0)


def test_falls_to_what_it_is_told_to():
    schedule = Cosine(warmup_share=0.0, max_warmup_steps=100, final=0.2)
    assert schedule.factor(0, 1.0) == pytest.approx(0.2)
    assert schedule.factor(0, 0.5) == pytest.approx(0.6)


def test_constant_stays():
    schedule = Constant(warmup_share=1.0, max_warmup_steps=2)
    assert [schedule.factor(step, 0.9) for step in range(4)] == [0.9, 1, 1, 1]


def test_a_short_training_does_not_spend_itself_on_the_rise():
    """The warm-up once took 100 of 120 steps."""
    schedule = Constant(warmup_share=0.1, max_warmup_steps=100)
    factors = [schedule.factor(step, step / 120) for step in range(120)]
    assert factors[0] == 0.01
    assert factors[6] == pytest.approx(0.5)
    assert factors[12:] == [1.0] * 108


@given(total=st.integers(1_000, 10**7), step=st.integers(0, 10**7))
def test_a_long_one_rises_by_its_steps_alone(total, step):
    """From 1,000 steps on the share has no effect, so that such runs are as they were before the share existed."""
    schedule = Constant(warmup_share=0.1, max_warmup_steps=100)
    assert schedule.factor(step, min(step / total, 1.0)) == min(1.0, (step + 1) / 100)


@pytest.mark.parametrize(
    "wrong", [{"max_warmup_steps": -1}, {"warmup_share": 1.1}, {"warmup_share": -0.1}, {"final": 1.5}, {"final": -0.1}]
)
def test_values_that_will_not_do(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Cosine(**{"warmup_share": 0.1, "max_warmup_steps": 4, "final": 0.0, **wrong})


def test_a_training_that_goes_on_rises_to_its_peak_alone():
    whole, continuing = Cosine(0.1, 100, 0.0), Continuing(0.1, 100, 0.3)
    for step in range(50):
        assert continuing.factor(step, step / 50) == pytest.approx(0.3 * whole.factor(step, step / 50))
    with pytest.raises(ValueError, match=r"peak=1\.5"):
        Continuing(0.1, 100, 1.5)
