"""Slices by rule, on the hand-written store (its events stand in test_from_store).

Validation: ann chooses a4 (radio) and a1 (home, heard before); ben chooses a1 (home). Test: ann a2, dee a1, both
at home.
"""

import numpy as np
import pytest

from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.slices import divided
from towers.evaluation.slicings import (
    ContentColumn,
    HistoryLength,
    LastDays,
    Origin,
    PopularityParts,
    ReleaseAge,
    UserColumn,
    first_listens,
)


@pytest.fixture(scope="module", params=["validation", "test"])
def period(request):
    return request.param


def pairs(store, rule, period) -> dict[str, set[tuple[str, str]]]:
    """Returns the pairs (listener, content) of each label."""
    task = task_from_store(store, period)
    slicing = rule.slicing(store, task, period)
    targets = task.ranked_targets
    users = store.user_ids[task.user_rows][targets.list_of_value]
    contents = store.content_ids[targets.values]
    return {
        label: set(zip(users[mask].tolist(), contents[mask].tolist(), strict=True))
        for label, mask in slicing.masks(targets).items()
    }


def test_first_listens_are_in_the_period(store):
    task = task_from_store(store, "validation")
    found = first_listens(store, task, "validation")
    assert store.user_ids[task.user_rows][found.positions].tolist() == ["ann", "ann", "ben"]
    assert store.content_ids[found.content_rows].tolist() == ["a1", "a4", "a1"]
    np.testing.assert_array_equal(store.histories.content_row[found.events], found.content_rows)
    assert (found.events >= store.histories.train_end[task.user_rows][found.positions]).all()
    assert (found.events < store.histories.test_start[task.user_rows][found.positions]).all()


def test_last_days(store, period):
    """Days by the clock, newest last; those before the last ones belong nowhere."""
    task = task_from_store(store, period)
    listens = first_listens(store, task, period)
    times = store.histories.timestamp_us[listens.events]
    days = np.array(times, "datetime64[us]").astype("datetime64[D]").astype(str)
    users, contents = store.user_ids[task.user_rows][listens.positions], store.content_ids[listens.content_rows]
    expected: dict[str, set] = {}
    for day, user, content in zip(days.tolist(), users.tolist(), contents.tolist(), strict=True):
        expected.setdefault(day, set()).add((user, content))
    assert pairs(store, LastDays(100), period) == expected
    newest = max(expected)
    assert pairs(store, LastDays(1), period) == {newest: expected[newest]}
    with pytest.raises(UserError, match="days=0"):
        LastDays(0)


def test_history_length(store):
    # Ann's positives before validation are a1, a1, u9, e1, ben's a2, a3; before the test two more of ann, none of dee.
    assert pairs(store, HistoryLength((0, 3)), "validation") == {
        "0-2": {("ben", "a1")},
        "3+": {("ann", "a1"), ("ann", "a4")},
    }
    assert pairs(store, HistoryLength((0, 1, 6)), "test") == {
        "0": {("dee", "a1")},
        "1-5": set(),
        "6+": {("ann", "a2")},
    }


def test_origin(store):
    # Radio, where ann chose a4, is no context of training: unknown, and so neither.
    recommended = {("ann", "a1"), ("ben", "a1")}
    assert pairs(store, Origin(("home",)), "validation") == {"recommended": recommended, "organic": set()}
    assert pairs(store, Origin(("album",)), "validation") == {"recommended": set(), "organic": recommended}


def test_columns_of_users(store):
    assert pairs(store, UserColumn("country"), "validation") == {
        "is": {("ann", "a1"), ("ann", "a4")},
        "no": {("ben", "a1")},
    }
    assert pairs(store, UserColumn("country", max_values=1), "test") == {"fi": {("dee", "a1")}}  # of fi and is


def test_columns_of_contents_and_lists(store):
    assert pairs(store, ContentColumn("genres"), "test") == {
        "jazz": {("ann", "a2"), ("dee", "a1")},
        "folk": {("ann", "a2")},
        "polka": set(),
    }


def test_age_at_the_first_listen(store):
    # Of all contents a1 alone has a date, 2020-05-01; dee listens on 2026-02-07, 2,108 days later.
    assert pairs(store, ReleaseAge((0, 2_108)), "test") == {"0-2107": set(), "2108+": {("dee", "a1")}}
    assert pairs(store, ReleaseAge((0, 2_109)), "test")["0-2108"] == {("dee", "a1")}
    assert pairs(store, ReleaseAge((0,), is_cold_only=True), "test") == {"0+": set()}  # a1 is warm


def test_popularity_parts(store):
    # Training plays (positive): a1 2, then a2, a3, e1, u9 one each, in the order of rows. Half of six is three.
    found = pairs(store, PopularityParts(2), "test")
    assert found == {"1": {("ann", "a2"), ("dee", "a1")}, "2": set()}


def test_what_the_data_does_not_say_is_no_slicing(store):
    task = task_from_store(store, "test")
    assert UserColumn("shoe_size").slicing(store, task, "test") is None


def test_a_column_that_contents_do_not_have(store):
    task = task_from_store(store, "test")
    with pytest.raises(UserError, match="no column 'shoe_size'; it has content_id, kind"):
        ContentColumn("shoe_size").slicing(store, task, "test")


@pytest.mark.parametrize("bounds", [(), (3, 1), (1, 1)])
def test_bounds_must_rise(bounds):
    with pytest.raises(UserError, match="must rise"):
        HistoryLength(bounds)


def test_slices_of_an_evaluation(store):
    from towers.evaluation.baselines.counts import Popularity
    from towers.evaluation.harness import evaluate

    task = task_from_store(store, "validation")
    slicings = [HistoryLength((0, 3)).slicing(store, task, "validation")]
    ranker = DenseRanker(task, Popularity(task))
    found = evaluate(task, ranker, filter_seen=False, min_users=1, ks=(10,), slicings=slicings)
    # Ann's a1 was heard before, so it is no discovery and in no slice.
    assert {name: count for name, count in found.counts.items() if ":" in name} == {"history:0-2": 1, "history:3+": 1}
    assert found.means()["recall@10/history:3+"] == 1 / 1


def test_a_slice_divided_afterwards_is_the_one_made_in_the_pass(store):
    from towers.evaluation.baselines.counts import Popularity
    from towers.evaluation.harness import evaluate

    task = task_from_store(store, "validation")
    slicing = HistoryLength((0, 3)).slicing(store, task, "validation")
    ranker = DenseRanker(task, Popularity(task))
    expected = evaluate(task, ranker, filter_seen=False, min_users=1, slicings=[slicing])
    found = divided(evaluate(task, ranker, filter_seen=False, min_users=1), slicing)
    assert list(found.slices) == list(expected.slices)
    for name, result in expected.slices.items():
        np.testing.assert_array_equal(found.slices[name].positions, result.positions)
        for metric, figures in result.values.items():
            np.testing.assert_array_equal(found.slices[name].values[metric], figures)


def test_two_divisions_by_one_column_stay_apart(store):
    from towers.evaluation.baselines.counts import Popularity
    from towers.evaluation.protocol import EvaluationProtocol

    rules = {"home": UserColumn("country"), "birth": UserColumn("country", max_values=1), "shoe": UserColumn("shoe")}
    protocol = EvaluationProtocol(store, "test", filter_seen=False, ks=(5,), min_users=1, list_k=5, rules=rules)
    found = protocol.evaluate(DenseRanker(protocol.task, Popularity(protocol.task)))
    assert {name for name in found.slices if ":" in name} == {"home:fi", "home:is", "birth:fi"}
