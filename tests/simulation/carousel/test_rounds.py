"""Rounds: their counts, for policies with known choices."""

import numpy as np
import pytest

from tests.simulation.carousel.test_world import small
from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import NOTHING, Slate
from towers.simulation.carousel.changes import NewCards, TurnedTastes
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.rounds import random_places, rounds_of


class Fixed:
    """A policy that shows the same cards to all listeners and keeps its outcomes."""

    policy_id, slots = "fixed", 2

    def __init__(self, rows: list[int]):
        self.rows = np.array(rows)
        self.told: list[Outcomes] = []

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        rows = np.tile(self.rows, (len(context), 1))
        return Slate(content_rows=rows, propensities=np.full(rows.shape, 0.5 if generator else 1), shelf="home")

    def chances(self, context: Context, candidates: Candidates, shown: np.ndarray) -> np.ndarray:
        chances = np.zeros((*shown.shape, len(candidates)))
        for slot, row in enumerate(self.rows[: shown.shape[1]]):
            chances[:, slot, candidates.content_rows == row] = 1
        return chances

    def update(self, outcomes: Outcomes) -> None:
        self.told.append(outcomes)

    def state(self):
        return {}

    def restore(self, state):
        pass


def first_seen(rewards):
    """Returns that only the first slot is seen."""
    return np.arange(rewards.shape[1])[None].repeat(len(rewards), axis=0) == 0


def test_regret_by_hand():
    """Of the first listener's best slate 7/8 are expected, as of the second's; of the slate shown 5/8 and 7/8."""
    policy = Fixed([0, 3])
    rounds = list(rounds_of(policy, small(), first_seen, rounds=2, listeners=4_000))
    for played in rounds:
        assert played.best == pytest.approx(7 / 8)
        assert played.expected == pytest.approx((5 / 8 + 7 / 8) / 2, abs=0.01)
        assert played.streams == pytest.approx(played.expected, abs=0.02)
        # Any two of three: both listeners expect 7/8, 5/8 and 13/16 of them.
        assert played.random == pytest.approx((7 / 8 + 5 / 8 + 13 / 16) / 3, abs=0.01)
        assert played.regret == pytest.approx(played.best - played.expected)
        assert played.by_kind == {"episode": 0.5, "playlist": 0.5}
        assert played.seen == 1


def test_a_policy_is_told_what_came_of_each_slot():
    policy = Fixed([3, NOTHING])
    list(rounds_of(policy, small(), first_seen, rounds=1, listeners=50))
    told = policy.told[0]
    assert (told.content_rows == 3).all()
    assert (told.kinds == 1).all()
    assert len(told) == len(told.context) == 50
    assert told.is_seen.all()
    assert (told.propensities == 0.5).all()
    assert {*told.rewards.tolist()} == {0.0, 1.0}


def test_changes_come_in_their_round_and_new_cards_are_counted():
    world = made_carousel(cards=10, listeners=30, dim=2, segments=2, communities=2, slots=2)
    changes = (NewCards(before_round=1, cards=2), TurnedTastes(before_round=2))
    rounds = list(rounds_of(Fixed([0, 10]), world, first_seen, rounds=1, listeners=400))
    assert not len(rounds[0].entered)

    class AfterTheFirst(Fixed):
        def select(self, context, candidates, generator):
            self.rows = np.array([0, 10]) if len(candidates) == 12 else np.array([0, 1])
            return super().select(context, candidates, generator)

    rounds = list(rounds_of(AfterTheFirst([0, 1]), world, first_seen, rounds=3, listeners=400, changes=changes))
    assert [played.entered.tolist() for played in rounds] == [[], [10, 11], [10, 11]]
    assert [played.cards for played in rounds] == [10, 12, 12]
    assert rounds[1].exposure.tolist() == [0.5, 0]
    best = changes[0].applied(world, np.random.default_rng(np.random.SeedSequence(0).spawn(5)[3]))
    share = (best.best(np.arange(30)) >= 10).mean()
    assert rounds[1].best_exposure.sum() == pytest.approx(share, abs=0.1)


def test_the_same_seed_plays_the_same_rounds():
    told = []
    plays = [
        list(rounds_of(Fixed([0, 1]), small(), first_seen, rounds=2, listeners=20, seed=seed)) for seed in (1, 1, 2)
    ]
    told = [[(played.streams, played.expected) for played in rounds] for rounds in plays]
    assert told[0] == told[1] != told[2]


def test_progress_is_told():
    done: list[tuple[int, int]] = []
    list(rounds_of(Fixed([0, 1]), small(), first_seen, rounds=2, listeners=5, progress=lambda *at: done.append(at)))
    assert done == [(1, 2), (2, 2)]


@pytest.mark.parametrize(("cards", "slots"), [(5, 3), (40, 4), (2, 4)])
def test_random_slates_hold_different_cards_equally_often(cards, slots):
    places = random_places(cards, 20_000, slots, np.random.default_rng(0))
    assert places.shape == (20_000, min(cards, slots))
    assert all(len({*row}) == len(row) for row in places[:500].tolist())
    assert np.bincount(places.ravel(), minlength=cards) / places.size == pytest.approx(1 / cards, rel=0.1)
