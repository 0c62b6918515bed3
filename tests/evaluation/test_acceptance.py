"""The lines before the tables, and the rule for publishing without `promote=true`, by hand."""

import pytest

from towers.evaluation.acceptance import LISTEN_CHANCE, acceptance, own_means

ALL, NEW = "recall@20", "recall@20/discovery"


def judged(towers, **others):
    return acceptance({"towers": towers, **others}, "recall@20")


def test_a_good_model_is_said_nothing_of() -> None:
    found = judged({ALL: 0.4, NEW: 0.3}, popularity={ALL: 0.2, NEW: 0.1}, ease={ALL: 0.5, NEW: 0.2})
    assert found.lines() == []
    assert found.refusal is None


def test_below_popularity_is_said_first() -> None:
    """The figures are those of a real first hour: .082, where popularity has .261."""
    found = judged({ALL: 0.082, NEW: 0.3}, popularity={ALL: 0.261, NEW: 0.1})
    assert found.refusal == "the model is below popularity: recall@20 0.082 against 0.261"
    first, second = found.lines()
    assert first.startswith(found.refusal)
    assert second == "the model is behind 1 of 1 baselines on recall@20: popularity 0.261"


@pytest.mark.parametrize("key", [ALL, NEW])
def test_either_slice_counts(key) -> None:
    figures = {ALL: 0.4, NEW: 0.3, key: 0.1}
    assert judged(figures, popularity={ALL: 0.2, NEW: 0.2}).refusal is not None


def test_all_targets_are_judged_by_the_chance_of_a_listen() -> None:
    """The chance of a listen is no baseline, and new contents are judged by the inner product."""
    rows = {LISTEN_CHANCE: {ALL: 0.5, NEW: 0.4}, "popularity": {ALL: 0.4, NEW: 0.1}, "ease": {ALL: 0.45, NEW: 0.3}}
    found = judged({ALL: 0.3, NEW: 0.2}, **rows)
    assert found.refusal is None
    assert found.num_baselines == 2
    assert found.behind == {}
    assert own_means({"towers": {ALL: 0.3, NEW: 0.2}, **rows}) == {ALL: 0.5, NEW: 0.2}
    assert own_means({}) == {}


def test_as_good_as_popularity_is_not_below() -> None:
    assert judged({ALL: 0.2}, popularity={ALL: 0.2}).refusal is None


def test_behind_most_names_the_best_three() -> None:
    rivals = {name: {NEW: figure} for name, figure in (("a", 0.5), ("b", 0.7), ("c", 0.6), ("d", 0.4), ("e", 0.1))}
    found = judged({NEW: 0.3}, popularity={NEW: 0.2}, **rivals)
    assert found.lines() == ["the model is behind 4 of 6 baselines on recall@20/discovery: b 0.700, c 0.600, a 0.500"]
    assert found.refusal is None


def test_half_is_not_most_and_chance_does_not_count() -> None:
    assert judged({ALL: 0.3}, popularity={ALL: 0.2}, ease={ALL: 0.4}, random={ALL: 0.9}).lines() == []


@pytest.mark.parametrize(
    ("own", "others", "why"),
    [({}, {"popularity": {}}, "too few listeners"), ({ALL: 0.3}, {"ease": {ALL: 0.2}}, "no popularity baseline")],
)
def test_what_cannot_be_judged_is_not_published_unasked(own, others, why) -> None:
    found = judged(own, **others)
    assert why in (found.refusal or "")
    assert found.lines() == []
