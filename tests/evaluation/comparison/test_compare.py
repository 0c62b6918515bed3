"""Two rankers on one small task: who gains, who loses, and what is shown more.

Six contents; four listeners have each heard content 0. `old` shows 1, 2, 3, 4, 5 to all; `new` the same backwards.
"""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.contracts.ranker import make_task
from towers.evaluation.comparison.compare import compare, ranking_of
from towers.evaluation.comparison.shown import show
from towers.evaluation.comparison.written import write
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.report.content_cards import ContentCards

TITLES = ["Heard", "One", "Two", "Three", "Four", None]
KEYS = ("recall@1/discovery", "recall@2/discovery", "recall@2", "recall@2/cold_users")


class Fixed:
    def __init__(self, name, row):
        self.name, self._row = name, np.array(row, np.float32)

    def scores(self, positions):
        return np.tile(self._row, (len(positions), 1))


@pytest.fixture(scope="module")
def task():
    return make_task([[0]] * 4, [[1], [5], [1, 5], [1]], 6, cold=(5,))


@pytest.fixture(scope="module")
def cards(task):
    contents = pa.table(
        {
            "content_id": [f"c{row}" for row in range(6)],
            "kind": ["track"] * 6,
            "title": TITLES,
            "artist_ids": pa.array([[]] * 6, pa.list_(pa.string())),
            "genres": pa.array([[]] * 6, pa.list_(pa.string())),
        }
    )
    return ContentCards(contents, task)


@pytest.fixture(scope="module")
def evaluations(task):
    def of(name, row):
        ranker = DenseRanker(task, Fixed(name, row))
        return evaluate(task, ranker, filter_seen=True, ks=(1, 2), min_users=1, list_length=2)

    return of("old", [9, 5, 4, 3, 2, 1]), of("new", [9, 1, 2, 3, 4, 5])


@pytest.fixture(scope="module")
def user_ids():
    return np.array([f"u{row}" for row in range(104)])


@pytest.fixture(scope="module")
def comparison(task, evaluations, cards, user_ids):
    return compare(task, *evaluations, cards, user_ids, KEYS, "recall@1/discovery")


def test_differences_are_of_the_second_to_the_first(comparison):
    """Hits at 1: old 1, 0, 1, 1; new 0, 1, 1, 0. At 2 the third listener has one of two."""
    change = comparison.changes["recall@1/discovery"]
    assert (change.before, change.after) == (3 / 4, 2 / 4)
    assert change.difference.mean == pytest.approx(-1 / 4)
    assert comparison.changes["recall@2/discovery"].before == pytest.approx((1 + 0 + 1 / 2 + 1) / 4)
    assert change.difference.low_of_all <= change.difference.low
    assert list(comparison.changes) == list(KEYS[:3])
    assert comparison.left_out == ("recall@2/cold_users",)


def test_who_gained_and_who_lost(comparison):
    assert [change.user for change in comparison.gained] == ["u101"]
    assert [change.user for change in comparison.lost] == ["u100", "u103"]
    (change,) = comparison.gained
    assert (change.before, change.after) == (0, 1)
    assert [card.title for card in change.recent] == ["Heard"]
    assert [(place.card.title, place.is_hit) for place in change.list_before] == [("One", False), ("Two", False)]
    assert [(place.card.title, place.is_hit) for place in change.list_after] == [("c5", True), ("Four", False)]


def test_the_most_come_first(task, evaluations, cards, user_ids):
    old, new = evaluations
    few = compare(task, old, new, cards, user_ids, KEYS, "recall@2/discovery", num_listeners=1, num_contents=2)
    # The third listener has one of two either way.
    assert [change.user for change in few.gained] == ["u101"]
    assert len(few.lost) == 1
    assert len(few.exposure) == 2


def test_exposure(comparison):
    """In lists of two, contents 1 and 2 stood in all of them, and now 5 and 4 do; 3 never did."""
    found = {change.card.content_id: (change.before, change.after) for change in comparison.exposure}
    assert found == {"c1": (4, 0), "c2": (4, 0), "c4": (0, 4), "c5": (0, 4)}
    assert [change.card.is_cold for change in comparison.exposure] == [False, False, False, True]
    assert comparison.contents["content_row"].to_pylist() == [1, 2, 4, 5]
    assert comparison.contents["title"].to_pylist() == ["One", "Two", "Four", "c5"]


def test_overlap(comparison):
    assert comparison.overlap["unseen"].jaccard == 0
    # There is one cold content, the same for both.
    assert comparison.overlap["unseen_cold"].jaccard == 1
    assert comparison.overlap["unseen_cold"].rank_biased == pytest.approx(1)


def test_with_itself_nothing_changes(task, evaluations, cards, user_ids):
    same = compare(task, evaluations[0], evaluations[0], cards, user_ids, KEYS, "recall@1/discovery")
    assert not same.gained
    assert not same.lost
    assert not same.exposure
    assert same.overlap["unseen"].rank_biased == pytest.approx(1)
    assert same.changes["recall@2"].difference.p_value == 1


def test_without_cold_contents_there_is_no_list_of_them(cards, user_ids):
    task = make_task([[0]] * 2, [[1], [2]], 6)
    ranker = DenseRanker(task, Fixed("one", [6, 5, 4, 3, 2, 1]))
    found = evaluate(task, ranker, filter_seen=True, ks=(1,), min_users=1)
    assert set(compare(task, found, found, cards, user_ids, [], "recall@1").overlap) == {"everything", "unseen"}


def test_refuses_what_cannot_be_compared(task, evaluations, cards, user_ids):
    old, new = evaluations
    with pytest.raises(ValueError, match="ndcg@3"):
        compare(task, old, new, cards, user_ids, KEYS, "ndcg@3")
    others = replace(new, user_rows=new.user_rows + 1)
    with pytest.raises(ValueError, match="listeners of the task"):
        compare(task, old, others, cards, user_ids, KEYS)
    longer = evaluate(task, DenseRanker(task, Fixed("new", range(6))), filter_seen=True, ks=(1,), min_users=1)
    with pytest.raises(ValueError, match="different lengths"):
        compare(task, old, longer, cards, user_ids, KEYS)


@pytest.mark.parametrize("main_metric", ["recall@1/cold_users", "recall@1/never", "ndcg@3", "recall@1/discovery"])
def test_a_main_metric_without_a_figure_is_named(task, evaluations, cards, user_ids, main_metric):
    old, new = (replace(one, min_users=5) for one in evaluations)
    with pytest.raises(ValueError, match=f"'{main_metric}'.*in its slice, 5 needed"):
        compare(task, old, new, cards, user_ids, KEYS, main_metric)


def test_a_comparison_for_nobody_is_refused(cards, user_ids):
    nobody = make_task([], [], 6)
    found = evaluate(nobody, DenseRanker(nobody, Fixed("one", range(6))), filter_seen=True, ks=(1,), min_users=1)
    with pytest.raises(ValueError, match="no listener has a target"):
        compare(nobody, found, found, cards, user_ids, KEYS)


def test_evaluations_without_lists_are_refused(task, evaluations, cards, user_ids):
    old, new = evaluations
    for pair in ((old, replace(new, lists={})), (replace(old, lists={}), replace(new, lists={}))):
        with pytest.raises(ValueError, match="kept no lists"):
            compare(task, *pair, cards, user_ids, KEYS)


@pytest.mark.parametrize("filter_seen", [True, False])
def test_the_list_of_a_slice(task, filter_seen):
    found = evaluate(task, DenseRanker(task, Fixed("one", range(6))), filter_seen=filter_seen, min_users=1)
    assert ranking_of(found, "recall@10") == ("unseen" if filter_seen else "everything")
    assert ranking_of(found, "recall@10/familiar") == "everything"
    assert ranking_of(found, "recall@10/cold_among_cold") == "unseen_cold"
    assert ranking_of(found, "recall@10/cold_content") == "unseen"


def test_shown_with_titles_and_hits(comparison):
    console = Console(width=160)
    with console.capture() as capture:
        show(comparison, console)
    shown = capture.get()
    assert "-0.2500" in shown
    assert "not in both evaluations: recall@2/cold_users" in shown
    assert "u101 gained: recall@1/discovery 0.000 to 1.000; heard Heard" in shown
    first = next(line for line in shown.splitlines() if "✓ c5" in line)
    assert "One" in first
    assert "✓ One" not in first


def test_written(comparison, tmp_path):
    write(comparison, tmp_path / "new", {"store": "small"})
    written = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert written["metadata"] == {"store": "small"}
    assert written["changes"]["recall@1/discovery"]["difference"]["mean"] == pytest.approx(-1 / 4)
    assert written["gained"][0]["list_after"][0]["card"]["content_id"] == "c5"
    assert [row["after"] for row in written["exposure"]] == [0, 0, 4, 4]
    listeners = pq.read_table(tmp_path / "new" / "listeners.parquet").to_pylist()
    assert [(row["user_id"], row["before"], row["after"]) for row in listeners] == [
        ("u100", 1, 0),
        ("u101", 0, 1),
        ("u102", 1, 1),
        ("u103", 1, 0),
    ]
    assert {row["jaccard"] for row in listeners} == {0}
    contents = pq.read_table(tmp_path / "new" / "contents.parquet").to_pylist()
    first = contents[0]
    assert (first["content_id"], first["before"], first["after"]) == ("c1", 4, 0)


def test_a_listener_outside_of_the_slice_has_no_figure(task, evaluations, cards, user_ids):
    found = compare(task, *evaluations, cards, user_ids, KEYS, "recall@1/cold_content")
    assert found.listeners["before"].to_pylist() == [None, 0, 0, None]
    assert {change.user for change in found.gained} == {"u101", "u102"}
