"""The listeners who are shown a shelf, their chances, and the outcomes."""

from functools import cache

import numpy as np
import pytest

from tests.simulation.environment.small import UNTIL_US, population, simulator
from towers.contract.durations import DAY_US
from towers.contract.policy import Candidates, Context
from towers.contract.slate import NOTHING
from towers.policies.bandit.uniform import Uniform
from towers.simulation.environment.home_shelf import HomeShelf
from towers.simulation.environment.picking import OWN
from towers.simulation.listeners.live import Listeners
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import COLUMNS

HOME, SLOTS, CANDIDATES = 0, 4, 20
DAYS = 2
END_US = UNTIL_US + DAYS * DAY_US


def everybody():
    """Returns the listeners of the small log, each several times, as they are after it; and the names of users and
    codes.
    """
    made = population().drawn(np.arange(240) % len(population()))
    names = tuple(f"u{row}" for row in range(len(made))), made.context_names, made.device_names
    return Listeners(simulator().central, made, seed=0), names


@cache
def shown(own_pull=1.0, slots=SLOTS, candidates=CANDIDATES, contexts=(HOME,)):
    """Returns the plays of listeners in a few days, and the pages that they were shown."""
    listeners, names = everybody()
    shelf = HomeShelf(listeners, Uniform(slots=slots), candidates, contexts, own_pull, np.random.default_rng(7))
    log = lived(listeners, UNTIL_US, END_US, *names, shelf.choose)
    return log, shelf.pages(log)


def test_each_session_at_home_begins_with_a_page_and_no_other_does():
    log, pages = shown()
    begins = log.session_begins
    np.testing.assert_array_equal(pages.play, begins[log.context[begins] == HOME])
    assert 40 < len(pages) < len(begins)


def test_contents_of_a_page_differ_and_are_candidates_that_are_out():
    log, pages = shown()
    space = simulator().space
    for row, slate in enumerate(pages.slates):
        assert len({*slate.tolist()}) == SLOTS
        assert {*slate.tolist()} <= {*pages.candidates[row].tolist()}
        assert (space.released_us[slate] <= log.start_us[pages.play[row]]).all()


def test_chances_of_each_slot_add_up_to_one():
    """The chances are over all candidates that no slot before shows; those that were drawn have theirs in the page."""
    _, pages = shown()
    for row, candidates in enumerate(pages.candidates[:10]):
        cards = candidates[candidates >= 0].astype(np.int64)
        context = Context(user_vectors=np.zeros((1, 8)), segments=np.array([-1]), times_us=np.array([0]))
        offered = Candidates(
            content_rows=cards, vectors=np.zeros((len(cards), 8)), kinds=np.zeros(len(cards), np.int64)
        )
        chances = Uniform(slots=SLOTS).chances(context, offered, pages.slates[row : row + 1])[0]
        np.testing.assert_allclose(chances.sum(axis=1), 1.0)
        place = [cards.tolist().index(content) for content in pages.slates[row]]
        np.testing.assert_array_equal(chances[np.arange(SLOTS), place], pages.propensities[row])
    number = (pages.candidates >= 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pages.propensities, 1 / (number - np.arange(SLOTS)))


def test_all_candidates_are_shown_as_often():
    """They are counted by their places in the list of candidates: a chi-squared of 19 degrees of freedom."""
    _, pages = shown()
    place = (pages.candidates[:, None] == pages.slates[:, :, None]).argmax(axis=2)
    counts = np.bincount(place.ravel(), minlength=CANDIDATES)
    expected = counts.sum() / CANDIDATES
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # one in a thousand is above


def test_what_is_picked_is_played():
    log, pages = shown()
    is_picked = pages.slot != OWN
    assert 0 < is_picked.sum() < len(pages)
    content = log.content[pages.play]
    np.testing.assert_array_equal(content[is_picked], pages.slates[is_picked, pages.slot[is_picked]])


@pytest.mark.parametrize(("own_pull", "share"), [(-1e9, 1.0), (1e9, 0.0)])
def test_own_pull_decides_between_the_shelf_and_own_choice(own_pull, share):
    _, pages = shown(own_pull)
    assert (pages.slot != OWN).mean() == share


def test_a_shelf_with_more_slots_than_candidates_has_empty_ones():
    _, pages = shown(slots=6, candidates=5, own_pull=-1e9)
    assert (pages.slates[:, 5] == NOTHING).all()
    assert (pages.slates[:, :5] != NOTHING).all()
    assert (pages.slot < 5).all()


def test_it_is_the_same_again_bit_for_bit():
    (log, pages), (log_again, pages_again) = shown(), shown.__wrapped__()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(log, name), getattr(log_again, name), err_msg=name)
    for name in ("play", "candidates", "slates", "propensities", "slot"):
        np.testing.assert_array_equal(getattr(pages, name), getattr(pages_again, name), err_msg=name)


def test_in_no_context_it_is_own_choice():
    log, pages = shown(contexts=())
    assert not len(pages)
    listeners, names = everybody()
    own = lived(listeners, UNTIL_US, END_US, *names)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(log, name), getattr(own, name), err_msg=name)


def test_pages_of_other_listening():
    listeners, names = everybody()
    shelf = HomeShelf(listeners, Uniform(slots=SLOTS), CANDIDATES, (HOME,), 1.0, np.random.default_rng(7))
    log = lived(listeners, UNTIL_US, UNTIL_US + DAY_US // 4, *names, shelf.choose)
    assert len(shelf.pages(log))
    with pytest.raises(ValueError, match="pages were shown, and they are not the starts of"):
        shelf.pages(shown()[0])
