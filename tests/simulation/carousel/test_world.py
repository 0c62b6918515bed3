"""The carousel world: chances, streams and the best slates, by hand."""

from itertools import permutations

import numpy as np
import pytest

from towers.contract.slate import NOTHING
from towers.simulation.carousel.changes import NewCards, ReplacedCards, TurnedTastes
from towers.simulation.carousel.made import made_carousel
from towers.simulation.carousel.segments import segments_of
from towers.simulation.carousel.world import Cards, Carousel, Listeners, expected_streams, streams


def small(slots: int = 2) -> Carousel:
    """Makes two listeners and three cards, streamed by the first with chances of 1/2, 3/4 and 1/4, by the second 1/2,
    1/4, 3/4.
    """
    three = np.log(3.0)
    return Carousel(
        cards=Cards(
            rows=np.array([0, 1, 3]), ids=("a", "b", "gone", "c"), weights=np.array([[0.0], [three], [-three]]),
            biases=np.zeros(3), kinds=np.array([4, 4, 1]),
        ),
        listeners=Listeners(ids=("x", "y"), vectors=np.array([[1.0], [-1.0]]), segments=np.array([0, 1])),
        slots=slots,
    )  # fmt: skip


def test_chances_by_hand():
    world, both = small(), np.array([0, 1])
    places = world.places(np.array([[0, 3], [3, NOTHING]]))
    assert places.tolist() == [[0, 2], [2, NOTHING]]
    chances = world.chances(both, places)
    assert chances == pytest.approx(np.array([[1 / 2, 1 / 4], [3 / 4, 0]]))
    assert expected_streams(chances) == pytest.approx([1 - 1 / 2 * 3 / 4, 3 / 4])


def test_the_best_slates_are_the_likeliest_cards():
    world = small()
    assert world.best(np.array([1, 0, 1])).tolist() == [[2, 0], [1, 0], [2, 0]]
    assert small(slots=12).best(np.array([0])).tolist() == [[1, 0, 2]]


def test_the_best_of_a_large_world_are_found_in_parts(monkeypatch):
    monkeypatch.setattr("towers.simulation.carousel.world.SCORES_AT_ONCE", 90)
    world = made_carousel(cards=30, listeners=20, dim=3, segments=2, communities=4, slots=5)
    every = np.repeat(np.arange(30)[None], 20, axis=0)
    chances = world.chances(np.arange(20), every)
    assert world.best(np.arange(20)).tolist() == np.argsort(-chances, axis=1)[:, :5].tolist()


def test_the_first_card_that_is_wanted_is_streamed_and_ends_the_scan():
    chances = np.tile([0.5, 0.2, 1.0, 0.9], (40_000, 1))
    is_streamed = streams(chances, np.random.default_rng(0))
    assert (is_streamed.sum(axis=1) == 1).all()
    assert is_streamed.mean(axis=0) == pytest.approx([0.5, 0.5 * 0.2, 0.5 * 0.8, 0], abs=0.01)


def test_streams_come_as_often_as_expected_in_any_order():
    chances = np.array([0.3, 0.1, 0.2])
    for order in permutations(range(3)):
        is_streamed = streams(np.tile(chances[list(order)], (40_000, 1)), np.random.default_rng(0))
        assert is_streamed.any(axis=1).mean() == pytest.approx(1 - 0.7 * 0.9 * 0.8, abs=0.01)


def test_policies_are_not_told_the_truth():
    world = small()
    assert world.candidates().vectors.shape == (3, 0)
    assert world.candidates().content_rows.tolist() == [0, 1, 3]
    context = world.context(np.array([1, 1]), 2)
    assert context.segments.tolist() == [1, 1]
    assert (context.times_us - world.context(np.array([1, 1]), 0).times_us).tolist() == [2 * 86_400_000_000] * 2


def test_the_same_seed_makes_the_same_world_and_another_another():
    sizes = {"cards": 20, "listeners": 60, "dim": 4, "segments": 5, "communities": 6}
    one, again, other = (made_carousel(seed=seed, **sizes) for seed in (1, 1, 2))
    assert np.array_equal(one.cards.weights, again.cards.weights)
    assert np.array_equal(one.listeners.segments, again.listeners.segments)
    assert not np.array_equal(one.cards.weights, other.cards.weights)
    assert (len(one.cards), len(one.listeners), one.listeners.segments.max()) == (20, 60, 4)


@pytest.mark.parametrize(("name", "value"), [("cards", 0), ("listeners", 0), ("own_share", 1.5), ("segments", 0)])
def test_wrong_sizes(name, value):
    with pytest.raises(ValueError, match=name):
        made_carousel(**{name: value})


def test_segments_are_groups_of_neighbours():
    vectors = np.array([[0.0, 0.0], [0.1, 0.0], [9.0, 9.0], [9.0, 9.1]])
    first, second, third, fourth = segments_of(vectors, 2, 0).tolist()
    assert first == second != third == fourth
    assert segments_of(vectors[:1], 5, 0).tolist() == [0]


def test_cards_that_enter_take_new_rows():
    world = made_carousel(cards=200, listeners=10, dim=3, segments=2, communities=2)
    entered = NewCards(before_round=0, cards=50).applied(world, np.random.default_rng(0))
    assert entered.cards.rows.tolist() == [*range(250)]
    assert np.array_equal(entered.cards.weights[:200], world.cards.weights)
    assert len(entered.cards.ids) == len(set(entered.cards.ids)) == 250
    assert entered.cards.biases[200:].mean() == pytest.approx(world.cards.biases.mean(), abs=0.5)


def test_half_of_the_cards_are_replaced():
    world = made_carousel(cards=20, listeners=10, dim=3, segments=2, communities=2)
    once = ReplacedCards(before_round=0).applied(world, np.random.default_rng(0))
    twice = ReplacedCards(before_round=0).applied(once, np.random.default_rng(1))
    assert len(once.cards) == len(twice.cards) == 20
    assert once.cards.rows[10:].tolist() == [*range(20, 30)]
    assert twice.cards.rows[10:].tolist() == [*range(30, 40)]
    stayed = once.cards.rows[:10]
    assert np.array_equal(once.cards.weights[:10], world.cards.weights[stayed])
    assert once.places(stayed).tolist() == [*range(10)]


def test_tastes_turn():
    """Each card gets another one's appeal, and none is lost; the best slates change."""
    world = made_carousel(cards=20, listeners=10, dim=3, segments=2, communities=2, slots=3)
    before = world.best(np.arange(10))
    turned = TurnedTastes(before_round=0).applied(world, np.random.default_rng(0))
    assert not (turned.cards.biases == world.cards.biases).any()
    assert np.array_equal(np.sort(turned.cards.biases), np.sort(world.cards.biases))
    assert np.array_equal(turned.cards.rows, world.cards.rows)
    assert not np.array_equal(turned.best(np.arange(10)), before)
    half = TurnedTastes(before_round=0, share=0.5).applied(world, np.random.default_rng(0))
    assert (half.cards.biases != world.cards.biases).sum() == 10
