"""The learning rate by hand."""

import pytest

from towers.training.schedule import Constant, Cosine


def test_rises_and_then_falls_along_a_cosine():
    schedule = Cosine(warmup_steps=4, final=0.0)
    assert [schedule.factor(step, 0.0) for step in range(5)] == [1 / 4, 2 / 4, 3 / 4, 1, 1]
    assert schedule.factor(100, 0.5) == pytest.approx(1 / 2)
    assert schedule.factor(100, 1.0) == pytest.approx(0)


def test_falls_to_what_it_is_told_to():
    assert Cosine(warmup_steps=0, final=0.2).factor(0, 1.0) == pytest.approx(0.2)
    assert Cosine(warmup_steps=0, final=0.2).factor(0, 0.5) == pytest.approx(0.6)


def test_constant_stays():
    assert [Constant(warmup_steps=2).factor(step, 0.9) for step in range(4)] == [1 / 2, 1, 1, 1]


@pytest.mark.parametrize(("warmup_steps", "final"), [(-1, 0.0), (0, 1.5), (0, -0.1)])
def test_values_that_will_not_do(warmup_steps, final):
    with pytest.raises(ValueError, match="must be 0 or more"):
        Cosine(warmup_steps, final)
