"""Lists under rules: they obey, and no list is better, as every subset of a small pool shows."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from towers.policies.playlists.algotorial import discounts
from towers.policies.playlists.pool_rules import Chooser, Rule, clashing


@st.composite
def some_rules(draw, nested=False):
    """Draws a length, then quotas of drawn groups; nested ones halve the pool again and again."""
    pool = draw(st.integers(2, 7))
    length = draw(st.integers(1, pool))
    rules = [Rule(words="k", among=np.ones(pool, bool), least=length, most=length)]
    for at in range(draw(st.integers(0, 3))):
        if nested:
            among = np.arange(pool) < (pool >> (at + 1))
        else:
            among = np.array(draw(st.lists(st.booleans(), min_size=pool, max_size=pool)))
        least = draw(st.integers(0, 2))
        rules.append(Rule(words=f"quota {at}", among=among, least=least, most=draw(st.integers(least, pool))))
    return tuple(rules)


def sets_that_obey(rules):
    pool, length = len(rules[0].among), rules[0].most
    for places in combinations(range(pool), length):
        chosen = np.isin(np.arange(pool), places)
        if all(rule.holds(chosen[None])[0] for rule in rules):
            yield chosen


def worth(chosen, values, places):
    kept = values[chosen]
    return kept.sum() if places is None else np.sort(kept)[::-1] @ places


@given(st.data(), st.booleans(), st.booleans())
def test_no_list_that_obeys_is_better(data, nested, discounted):
    rules = data.draw(some_rules(nested=nested))
    assume(not clashing(rules))
    pool, length = len(rules[0].among), rules[0].most
    numbers = st.lists(st.integers(-50, 50), min_size=pool, max_size=pool)
    values = np.array(data.draw(st.lists(numbers, min_size=1, max_size=3)), np.float64)
    places = discounts(length) if discounted else None
    chooser = Chooser(rules=rules, discounts=places, pinned=np.zeros(pool, bool))
    for chosen, own in zip(chooser.best(values), values, strict=True):
        assert all(rule.holds(chosen[None])[0] for rule in rules)
        best = max(worth(other, own, places) for other in sets_that_obey(rules))
        assert worth(chosen, own, places) == pytest.approx(best)


@given(some_rules())
def test_rules_that_clash_are_the_fewest(rules):
    found = clashing(rules)
    assert bool(found) == (next(sets_that_obey(rules), None) is None)
    for rule in found if len(found) > 1 else ():
        assert not clashing([other for other in found if other is not rule])


def test_lists_made_together_are_those_made_alone():
    draw = np.random.default_rng(0)
    groups = [np.arange(12) < 6, np.arange(12) % 2 == 0]  # which cross
    rules = [Rule(words="k", among=np.ones(12, bool), least=5, most=5)]
    rules += [Rule(words="quota", among=among, least=2, most=3) for among in groups]
    chooser = Chooser(rules=tuple(rules), discounts=discounts(5), pinned=np.zeros(12, bool))
    values = draw.random((40, 12))
    together = chooser.best(values)
    assert (chooser.nearly_best(values) != together).any()  # so that the program is asked at all
    assert np.array_equal(together, np.concatenate([chooser.best(row[None]) for row in values]))
