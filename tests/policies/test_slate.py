"""Lists under rules, compared with every possible list of small cases."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.policies.exact import best_places
from towers.policies.rules import Candidates, Quota, Rules, dial
from towers.policies.slate import in_styles, pick, pick_near


def made(utility, artists, recordings=None) -> Candidates:
    rows = np.arange(len(utility))
    same = None if recordings is None else np.array(recordings, np.int64)
    return Candidates.of(rows, np.array(utility, float), Ragged.from_lists(artists, np.int64), same)


def masks(n: int):
    return st.lists(st.booleans(), min_size=n, max_size=n)


@st.composite
def cases(draw, most_artists: int = 2, own_recordings: bool = False):
    n, k = draw(st.integers(0, 7)), draw(st.integers(1, 4))
    artists = draw(st.lists(st.lists(st.integers(0, 2), max_size=most_artists), min_size=n, max_size=n))
    recordings = list(range(n)) if own_recordings else draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    utility = draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n))
    cap = draw(st.sampled_from([None, 1, 2]))
    quota = st.fixed_dictionaries(
        {
            "mask": masks(n),
            "least": st.integers(0, k),
            "most": st.one_of(st.none(), st.integers(0, k)),
            "share": st.sampled_from([0.0, 0.0, 0.5, 0.6]),
        }
    )
    return {"k": k, "max_per_artist": cap}, draw(st.lists(quota, max_size=2)), (utility, artists, recordings)


def built(case) -> tuple[Candidates, Rules, list[Quota]]:
    """Builds the case of plain values, as strategies give them: arrays are checked by random samples, and hypothesis
    wants to control these.
    """
    rules, quotas, contents = case
    candidates = made(*contents)
    order = candidates.rows  # masks are drawn by row
    made_quotas = [Quota(name="of a kind", **(one | {"mask": np.array(one["mask"], bool)[order]})) for one in quotas]
    return candidates, Rules(**rules), made_quotas


def keep_the_rules(candidates: Candidates, rules: Rules, places) -> bool:
    chosen = candidates.at(np.array(places, np.int64))
    counts = np.bincount(chosen.artists.values, minlength=1)
    return (
        len(places) <= rules.k
        and len(set(chosen.recordings.tolist())) == len(places)
        and int(counts.max()) <= (rules.max_per_artist or rules.k)
    )


def value(candidates: Candidates, quotas, places) -> tuple[int, int, float]:
    """Returns the value of a slate; tuples are compared, the quotas first."""
    places = np.array(places, np.int64)
    missed = sum(max(quota.least - int(quota.mask[places].sum()), 0) for quota in quotas)
    return -missed, len(places), float(candidates.utility[places].sum())


def best(candidates: Candidates, rules: Rules, quotas) -> tuple[int, int, float]:
    """Returns the value of the best slate, found by trying all lists."""
    found = []
    for length in range(min(rules.k, len(candidates)) + 1):
        for places in combinations(range(len(candidates)), length):
            counts = [int(quota.mask[list(places)].sum()) for quota in quotas]
            pairs = list(zip(counts, quotas, strict=True))
            allowed = all(one <= (length if quota.most is None else quota.most) for one, quota in pairs)
            allowed &= all(one >= quota.share * length - 1e-9 for one, quota in pairs)
            if allowed and keep_the_rules(candidates, rules, places):
                found.append(value(candidates, quotas, places))
    return max(found)


@pytest.mark.unhooked  # the hook would take most of the time
@settings(max_examples=100)
@given(cases())
def test_the_integer_program_finds_the_best_of_all_lists(case):
    candidates, rules, quotas = built(case)
    places = best_places(candidates, rules, quotas)
    assert keep_the_rules(candidates, rules, places)
    assert value(candidates, quotas, places) == pytest.approx(best(candidates, rules, quotas))


@settings(max_examples=100)
@given(cases(most_artists=1, own_recordings=True))
def test_contents_of_one_artist_make_the_best_of_all_lists(case):
    candidates, rules, quotas = built(case)
    found = pick(candidates, rules, quotas)
    assert value(candidates, quotas, found.places) == pytest.approx(best(candidates, rules, quotas))
    missed, length, _ = value(candidates, quotas, found.places)
    assert bool(found.remark) == (missed < 0 or length < rules.k)


@settings(max_examples=100)
@given(cases())
def test_rules_and_quotas_hold_of_any_contents(case):
    candidates, rules, quotas = built(case)
    found = pick(candidates, rules, quotas)
    assert keep_the_rules(candidates, rules, found.places)
    assert value(candidates, quotas, found.places)[:2] == best(candidates, rules, quotas)[:2]


@pytest.mark.unhooked  # the hook would take most of the time
@settings(max_examples=40, deadline=None)
@given(cases())
def test_more_familiar_is_never_less_heard(case):
    candidates, rules, quotas = built(case)
    is_heard = quotas[0].mask if quotas else candidates.rows % 2 == 0
    heard = []
    for familiar in (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0):
        quotas = dial(familiar, is_heard, rules.k)
        places = pick(candidates, rules, quotas).places
        heard.append(int(is_heard[places].sum()))
        (wanted, other) = (quota.least for quota in quotas)
        reachable = best(candidates, rules, quotas)
        if reachable[0] == 0:
            assert (heard[-1], len(places) - heard[-1]) == (wanted, other)
    assert heard == sorted(heard)


def test_the_dial_gives_the_share_exactly():
    candidates = made(range(100, 0, -1), [[number // 3] for number in range(100)])
    is_heard = np.arange(100) % 2 == 0
    for familiar, expected in ((0, 0), (0.25, 8), (0.5, 15), (0.9, 27), (1, 30)):
        found = pick(candidates, Rules(k=30), dial(familiar, is_heard, 30))
        assert (len(found.places), int(is_heard[found.places].sum()), found.remark) == (30, expected, "")


def test_the_program_looks_at_few_of_many_candidates_and_loses_nothing():
    """It is compared with the program of all candidates, written as quotas that tell every content apart."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        n = 60
        artists = [rng.choice(8, rng.integers(0, 3), replace=False) for _ in range(n)]
        candidates = made(rng.normal(size=n).round(2), artists, rng.integers(0, 45, n))
        quotas = [Quota(name="", mask=rng.random(n) < 0.3, least=4), Quota(name="", mask=rng.random(n) < 0.5, most=3)]
        apart = [Quota(name="", mask=np.arange(n) == one) for one in range(n)]
        rules = Rules(k=6)
        few, all_of_them = (best_places(candidates, rules, some) for some in (quotas, [*quotas, *apart]))
        assert value(candidates, quotas, few) == pytest.approx(value(candidates, quotas, all_of_them))


def test_a_share_makes_a_list_shorter_where_it_must():
    candidates = made(range(10, 0, -1), [[number] for number in range(10)])
    new = Quota(name="of artists never heard", mask=np.arange(10) >= 7, share=0.6)
    found = pick(candidates, Rules(k=8), [new])
    assert found.places.tolist() == [0, 1, 7, 8, 9]
    assert found.remark == "5 of 8 places are filled: the rules allow no more contents"


def test_what_a_quota_lacks_is_told():
    candidates = made([3, 2, 1], [[0], [1], [2]])
    quota = Quota(name="of artists never heard", mask=np.array([False, False, True]), least=2)
    found = pick(candidates, Rules(k=2), [quota])
    assert found.places.tolist() == [0, 2]
    assert found.remark == "1 of 2 places have contents of artists never heard: there are no more"


def test_equal_utilities_go_by_row_and_an_artist_named_twice_counts_once():
    candidates = Candidates.of(np.array([5, 3, 4]), np.zeros(3), Ragged.from_lists([[], [], [], [1, 1], [1], [2]]))
    assert candidates.rows.tolist() == [3, 4, 5]
    assert pick(candidates, Rules(k=3)).places.tolist() == [0, 1, 2]


@given(cases())
def test_a_list_that_is_near_another_keeps_the_rules(case):
    candidates, rules, quotas = built(case)

    def worst(places: np.ndarray, k: int) -> np.ndarray:
        return np.arange(len(places))[::-1][:k]

    found = pick_near(candidates, rules, quotas, worst)
    assert keep_the_rules(candidates, rules, found.places)
    assert value(candidates, quotas, found.places)[:2] == best(candidates, rules, quotas)[:2]


@given(cases())
def test_a_list_in_styles_keeps_the_rules(case):
    candidates, rules, quotas = built(case)
    styles = np.eye(3)[candidates.rows % 3]
    found = pick_near(candidates, rules, quotas, in_styles(candidates, rules, styles, np.array([0.5, 0.3, 0.2])))
    assert keep_the_rules(candidates, rules, found.places)
    assert value(candidates, quotas, found.places)[:2] == best(candidates, rules, quotas)[:2]


def test_a_list_in_styles_holds_both_parts_of_a_quota_in_these_styles():
    """The contents alternate between two styles; all heard ones are better than all new ones."""
    candidates = made(range(40, 0, -1), [[] for _ in range(40)])
    styles = np.eye(2)[candidates.rows % 2]
    is_heard = candidates.rows < 20
    choose = in_styles(candidates, Rules(k=8), styles, np.array([0.75, 0.25]), weight=0.999)
    found = pick_near(candidates, Rules(k=8), dial(0.5, is_heard, 8), choose)
    assert found.places.tolist() == [0, 1, 2, 4, 20, 21, 22, 24]


def test_a_list_that_is_near_another_is_that_one_where_it_keeps_the_rules():
    candidates = made([6, 5, 4, 3, 2, 1], [[0], [0], [1], [1], [1], [2]])

    def worst(places: np.ndarray, k: int) -> np.ndarray:
        return np.arange(len(places))[::-1][:k]

    assert pick_near(candidates, Rules(k=3, max_per_artist=2), [], worst).places.tolist() == [3, 4, 5]
    # Of three by one artist the best two stay, and another is asked for in the place of the third.
    assert pick_near(candidates, Rules(k=4, max_per_artist=2), [], worst).places.tolist() == [1, 2, 3, 5]


def test_rules_that_mean_nothing_are_refused():
    with pytest.raises(UserError, match="k=0"):
        Rules(k=0)
    with pytest.raises(UserError, match="max_per_artist=0"):
        Rules(max_per_artist=0)
    with pytest.raises(UserError, match="familiar=2"):
        dial(2, np.zeros(0, bool), 5)
