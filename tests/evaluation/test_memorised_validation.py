"""A model that has memorised the validation targets is detected, an honest one is not."""

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.tastes import Tastes
from towers.evaluation.baselines.chance import Random
from towers.evaluation.checks.honesty import (
    CLEAR_Z,
    KEPT_LIFT,
    memorised_validation,
    ratio_with_interval,
)
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.result import Evaluation, SliceResult


@pytest.fixture(scope="module")
def world() -> Tastes:
    return Tastes()


@pytest.fixture(scope="module")
def nobody_s(world) -> tuple[Evaluation, Evaluation]:
    """A reference that knows nothing: random scores."""
    tasks = (world.validation, world.test)
    both = [evaluate(task, DenseRanker(task, Random(task)), filter_seen=True, ks=(20,)) for task in tasks]
    return both[0], both[1]


class TestMemorisedValidation:
    def test_a_model_fitted_to_the_validation_targets_is_caught(self, world, nobody_s):
        model = world.evaluated(world.fitted_to_validation())
        check = memorised_validation((model[0], nobody_s[0]), (model[1], nobody_s[1]))
        assert check.passed is False
        assert check.figures["validation_lift"] > 0.5
        assert check.figures["ratio_high"] < KEPT_LIFT

    def test_a_model_of_their_taste_is_not(self, world, nobody_s):
        model = world.evaluated(world.tastes)
        check = memorised_validation((model[0], nobody_s[0]), (model[1], nobody_s[1]))
        assert check.passed
        assert check.figures["ratio_low"] < 1 < check.figures["ratio_high"]

    def test_without_a_lift_there_is_nothing_to_judge(self, world, nobody_s):
        check = memorised_validation((nobody_s[0], nobody_s[0]), (nobody_s[1], nobody_s[1]))
        assert check.passed is None
        assert "none to lose" in check.detail

    def test_only_listeners_of_both_periods_count(self):
        """The model has rows 0 to 199 on validation, and 100 to 299 on test."""
        lifts = np.linspace(0.1, 0.3, 200)
        check = memorised_validation(pair(np.arange(200), lifts), pair(np.arange(100, 300), lifts))
        assert check.figures["listeners"] == 100
        assert check.figures["validation_lift"] == pytest.approx(lifts[100:].mean())
        assert check.figures["test_lift"] == pytest.approx(lifts[:100].mean())
        few = memorised_validation(pair(np.arange(200), lifts), pair(np.arange(101, 301), lifts))
        assert few.passed is None

    @pytest.mark.unhooked  # the hook would take most of the time
    def test_a_model_that_keeps_just_enough_is_seldom_accused(self):
        """The rule accuses one model in 1,000: of 2,000, more than 8 come in one of 5,000 cases."""
        generator = np.random.default_rng(0)
        rows, accused = np.arange(150), 0
        for _ in range(2_000):
            hits = generator.binomial(5, 0.4, size=(2, 150)) / 5
            kept = generator.random(150) < KEPT_LIFT
            check = memorised_validation(pair(rows, hits[0]), pair(rows, np.where(kept, hits[1], 0.0)))
            accused += check.passed is False
        assert accused <= 8

    def test_of_other_listeners(self, world, nobody_s):
        model = world.evaluated(world.tastes)
        other = replace(nobody_s[0], user_rows=nobody_s[0].user_rows + 1)
        with pytest.raises(ValueError, match="same listeners"):
            memorised_validation((model[0], other), (model[1], nobody_s[1]))


def pair(rows: np.ndarray, lifts: np.ndarray) -> tuple[Evaluation, Evaluation]:
    """Makes a model that is better than its reference by `lifts`."""
    positions = np.arange(len(rows))
    model, reference = (
        Evaluation(
            ranker=name,
            user_rows=rows,
            slices={"discovery": SliceResult(positions=positions, values={"recall@20": values})},
            min_users=100,
        )
        for name, values in (("model", lifts), ("reference", np.zeros(len(rows))))
    )
    return model, reference


def test_fiellers_interval_holds_the_ratios_that_are_not_refused():
    generator = np.random.default_rng(1)
    below = generator.random(200)
    above = 0.7 * below + 0.2 * generator.normal(size=200)
    ratio, low, high = ratio_with_interval(above, below)
    assert low < ratio < high
    for bound in (low, high):
        rest = above - bound * below
        z = rest.mean() / (rest.std(ddof=1) / np.sqrt(200))
        assert abs(z) == pytest.approx(1.96)


def test_the_rule_is_one_in_a_thousand():
    beyond = np.random.default_rng(0).normal(size=1_000_000) > CLEAR_Z
    assert beyond.mean() == pytest.approx(1 / 1_000, rel=0.15)
