"""The parts of the page of an evaluation: scores, contents, listeners, the map and the data."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.ranker import make_task
from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.report.data_profile import data_profile
from towers.evaluation.report.listener_examples import chosen, listener_examples
from towers.evaluation.report.score_calibration import NORMAL_95, score_groups
from towers.evaluation.report.space import examples, neighbourhoods, projected_contents
from towers.evaluation.report.training_rows import training_rows


def contents(*rows):
    """Content id, kind, title, artists, genres."""
    names = ("content_id", "kind", "title", "artist_ids", "genres")
    types = (pa.string(), pa.string(), pa.string(), pa.list_(pa.string()), pa.list_(pa.string()))
    columns = zip(names, types, zip(*rows, strict=True), strict=True)
    return pa.table({name: pa.array(values, kind) for name, kind, values in columns})


def tracks(number):
    return contents(*((f"t{row}", "track", f"Track {row}", None, None) for row in range(number)))


# --- the page


def test_training_rows_leave_out_what_was_not_taken(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,recall@20\n9,0.5,\n19,,0.25\n")
    assert training_rows(path) == ({"step": 9, "loss": 0.5}, {"step": 19, "recall@20": 0.25})
    assert training_rows(tmp_path / "none.csv") == ()


# --- what a score is worth


def test_shares_and_their_bounds_by_hand():
    # Low scores: 1 of 4 right, listeners 1 of 2 and 0 of 2. High scores: all right.
    task = make_task([[], []], [[0, 2, 3], [2, 3]], 5)
    rows = np.array([[2, 3, 0, 1], [2, 3, 0, 1]])
    scores = np.array([[0.9, 0.9, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]])
    low, high = score_groups(task, Ranked(rows=rows, scores=scores), num_groups=2)
    assert (low.share, low.pairs, high.share, high.pairs) == (1 / 4, 4, 1, 4)
    # Residuals (1 - 2/4) and (0 - 2/4): squares sum to 1/2, times 2 listeners over 1, the root over 4 pairs: 1/4.
    assert low.high == pytest.approx(1 / 4 + NORMAL_95 / 4)
    assert low.low == 0
    assert (high.low, high.high) == (1, 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 12))
def test_equal_scores_stay_together_and_none_is_lost(values, num_groups):
    count = len(values)
    ranked = Ranked(rows=np.arange(count)[None], scores=np.array([values], dtype=np.float64))
    groups = score_groups(make_task([[]], [[0]], count), ranked, num_groups)
    assert sum(group.pairs for group in groups) == count
    assert all(one.highest < other.lowest for one, other in pairwise(groups))
    assert sum(group.share * group.pairs for group in groups) == pytest.approx(1)


def test_nothing_recommended_has_no_groups():
    nothing = Ranked(rows=np.full((1, 2), -1), scores=np.full((1, 2), -np.inf))
    assert score_groups(make_task([[]], [[0]], 2), nothing) == ()


# --- contents and listeners


def test_examples_are_chosen_by_plays():
    task = make_task([[0]], [[3, 4]], 6, cold=(3, 4), train_counts=[1, 7, 3, 0, 0, 0])
    assert examples(task, np.array([0, 0, 0, 0, 0, 5])) == {"well known": 1, "middling": 2, "cold": 3, "artist": 5}
    assert examples(make_task([[]], [[0]], 1), np.zeros(1, dtype=int)) == {}


def test_artists_count_the_plays_of_what_can_be_played():
    table = contents(
        ("a", "artist", "Ann", ["a"], None),
        ("t1", "track", "One", ["a", "nobody"], ["folk"]),
        ("t2", "track", None, ["a"], None),
        ("p", "playlist", "Mix", ["a"], None),
    )
    task = make_task([[]], [[1]], 4, cold=(2,), train_counts=[9, 2, 3, 9])
    cards = ContentCards(table, task)
    assert cards.artist_plays.tolist() == [5, 0, 0, 0]
    assert cards[1].line == "One · Ann, nobody · track · folk"
    # Without a title an id; an artist is not told to be by itself.
    assert cards[2].line == "t2 · Ann · track · cold"
    assert cards[0].line == "Ann · artist"


def test_neighbours_are_the_nearest_of_their_like():
    task = make_task([[0]], [[1]], 4, train_counts=[5, 1, 1, 0])
    angles = np.array([0.0, 0.4, 0.1, 0.2])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = {one.role: one for one in neighbourhoods(task, vectors, ContentCards(tracks(4), task))}
    assert [card.content_id for card in found["well known"].neighbours] == ["t2", "t3", "t1"]
    assert found["well known"].similarities == pytest.approx([math.cos(angle) for angle in (0.1, 0.2, 0.4)])


@pytest.mark.parametrize(("number", "method"), [(0, "PCA"), (1, "PCA"), (12, "PCA"), (61, "t-SNE")])
def test_the_map_is_the_same_every_time(number, method):
    vectors = np.random.default_rng(0).normal(size=(number, 6))
    if number:
        vectors[0] = 0  # has no vector
    cards = ContentCards(tracks(max(number, 1)), make_task([[]], [[0]], max(number, 1)))
    one, other = (projected_contents(vectors, cards, seed=3) for _ in range(2))
    assert one.method == method
    assert len(one.cards) == max(number - 1, 0)
    assert np.isfinite(one.positions).all()
    np.testing.assert_array_equal(one.positions, other.positions)


def test_a_large_map_is_a_sample(monkeypatch):
    monkeypatch.setattr("towers.evaluation.report.space.MAX_POINTS", 5)
    cards = ContentCards(tracks(40), make_task([[]], [[0]], 40))
    found = projected_contents(np.eye(40), cards, seed=1)
    assert len({card.content_id for card in found.cards}) == 5


def test_a_listener_with_recent_contents_once_and_hits():
    # The listener heard 1 2 1; 4 and 0 are played afterwards, and 2 again.
    task = make_task([[1, 2, 1]], [[0, 2, 4]], 5)
    ranked = Ranked(rows=np.array([[3, 0, -1]]), scores=np.array([[2.0, 1.0, -np.inf]]))
    users = [f"user {row}" for row in range(101)]
    found = {one.role: one for one in listener_examples(task, ranked, ContentCards(tracks(5), task), users)}
    (one,) = found.values()
    assert (one.user, one.num_events, one.num_targets) == ("user 100", 3, 2)
    assert [card.content_id for card in one.recent] == ["t1", "t2"]
    assert [(place.card.content_id, place.score, place.is_hit) for place in one.recommended] == [
        ("t3", 2.0, False),
        ("t0", 1.0, True),
    ]


def test_listeners_are_drawn_by_the_length_of_their_history():
    task = make_task([[0] * 9, [], [0], [0] * 4], [[1]] * 4, 2)
    assert chosen(task) == {"a short history": 2, "a middling history": 3, "a long history": 0, "no history": 1}


# --- the data


def test_data_profile_of_a_store(store):
    found = data_profile(store)
    lengths = np.diff(store.histories.offsets)
    assert found.counts["users"] == len(lengths)
    assert sum(found.kinds.values()) == found.counts["contents"]
    assert found.history_lengths[1] == lengths.max()
    assert list(found.times) == ["first event", "validation begins", "test begins", "last event"]
    assert found.times["test begins"] == "2026-02-04 00:00 UTC"
    assert found.times["first event"] == "2026-01-05 00:00 UTC"


# --- drawing
