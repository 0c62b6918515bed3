"""Figures of plays, by hand; and a policy's predictions before it learned."""

import json

import numpy as np
import pytest

from towers.contract.policy import Predicts
from towers.policies.bandit.cascade import Cascade
from towers.policies.bandit.segment_rules import BetaDraws
from towers.policies.bandit.segment_wise import SegmentWise
from towers.policies.bandit.uniform import Uniform
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.rounds import Round, rounds_of
from towers.simulation.carousel.summary import (
    Played,
    Predictions,
    after_change,
    cumulative_regret,
    figures_of,
    new_exposure,
)


def playing(regrets, random=2.0, **changes):
    """Makes rounds in which so many expected streams were lost, of 3 that the best slates have."""
    none = np.zeros(0)
    given = {"entered": np.zeros(0, np.int64), "exposure": none, "best_exposure": none} | changes
    return tuple(
        Round(number=number, streams=1.0, expected=3 - lost, best=3.0, random=3 - random, seen=4.0,
              by_kind={"playlist": 1.0}, cards=10, **given)
        for number, lost in enumerate(regrets)
    )  # fmt: skip


def test_figures_by_hand():
    """Ten rounds lose all that random slates lose, then twenty lose a quarter of it."""
    rounds = playing([2.0] * 10 + [0.5] * 20)
    figures = figures_of(rounds)
    assert (figures["cumulative"], figures["first_10"], figures["last_20"]) == (pytest.approx(30 / 60), 1, 0.25)
    assert figures["expected_streams"] == pytest.approx(3 - 30 / 30)
    assert (figures["best_streams"], figures["random_streams"], figures["streams"], figures["seen"]) == (3, 1, 1, 4)
    np.testing.assert_allclose(cumulative_regret(rounds)[[0, 9, 29]], [2 / 60, 20 / 60, 30 / 60])


@pytest.mark.parametrize(("after", "recovered"), [([2.0, 0.5, 0.22], 2), ([0.1], 0), ([2.0, 1.0], np.inf)])
def test_rounds_until_regret_is_what_it_was(after, recovered):
    """The ten rounds before lost 0.2 of 2 each; those before them do not count."""
    assert after_change(playing([2.0] * 5 + [0.2] * 10 + after), 15)["recovered_in"] == recovered


def test_exposure_of_new_cards_by_hand():
    entered = {"entered": np.array([7, 8]), "best_exposure": np.array([0.1, 0.3])}
    rounds = playing([0.2] * 4) + playing([0.2] * 4, exposure=np.array([0.0, 0.1]), **entered)
    rounds += playing([0.2], exposure=np.array([0.1, 0.2]), **entered)
    assert new_exposure(rounds[4]) == pytest.approx(0.1 / 0.4)
    # Four are told, the fifth round of theirs is the last of all.
    assert after_change(rounds, 4)["new_exposure"] == pytest.approx(0.3 / 0.4)
    assert np.isnan(new_exposure(rounds[0]))


def test_a_play_as_json():
    rounds = playing([1.0, 0.5], entered=np.array([4]), exposure=np.array([0.2]), best_exposure=np.array([0.4]))
    told = json.loads(json.dumps(Played(name="some", rounds=rounds, changed_at=1).to_json()))
    assert told["figures"]["cumulative"] == pytest.approx(1.5 / 4)
    assert (told["rounds"][1]["entered"], told["rounds"][1]["exposure"], told["rounds"][1]["best"]) == (1, 0.2, 3)
    assert told["figures"]["new_exposure"] == pytest.approx(0.5)
    assert "recovered_in" not in Played(name="some", rounds=rounds).figures


def test_predictions_are_made_before_the_policy_learns():
    """In the first round the prior's mean is predicted, as nothing is known yet; later it is not."""
    world, policy = (
        made_carousel(cards=30, listeners=60, segments=3, mean_bias=-2.0),
        SegmentWise(rule=BetaDraws(beta=3.0), policy_id="thompson"),
    )
    predictions, late = Predictions(policy), Predictions(policy, since=2)

    def both(number, outcomes):
        predictions(number, outcomes)
        late(number, outcomes)
        if number == 0:
            assert set(predictions.arrays[0]) == {1 / 4}

    for _ in rounds_of(policy, world, Cascade(), rounds=3, listeners=40, watch=both):
        pass
    predicted, observed = predictions.arrays
    assert len(set(predicted)) > 10
    assert set(observed) == {0.0, 1.0}
    assert 0 < len(late.arrays[0]) < len(predicted)
    np.testing.assert_array_equal(late.arrays, np.stack([predicted, observed])[:, -len(late.arrays[0]) :])


def test_who_predicts():
    assert isinstance(SegmentWise(rule=BetaDraws(), policy_id="thompson"), Predicts)
    assert not isinstance(Uniform(), Predicts)
