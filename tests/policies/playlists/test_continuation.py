"""Continuations of a playlist."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.policies.playlists.continuation import ContinuationSettings, KnownPlaylists, continuation
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.export import Export
from towers.retrieval.query import Query

TRACKS = 12
ALONE = {"closeness": 0.0, "listened": 0.0, "playlists": 0.0, "utility": 0.0}


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    vectors = np.random.default_rng(0).normal(size=(TRACKS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [content(f"c{row}") for row in range(TRACKS)]
    found = small_export(tmp_path_factory.mktemp("goes_on") / "export", contents, vectors, {"u": [11], "v": []})
    rows, weights = np.full((TRACKS, 2), -1, np.int32), np.zeros((TRACKS, 2), np.float32)
    rows[0], weights[0] = [5, 6], [0.9, 0.1]
    rows[1], weights[1] = [6, -1], [0.9, 0.0]
    found.co_listening = Neighbours(rows=rows, weights=weights)
    return found


@pytest.fixture(scope="module")
def playlists() -> KnownPlaylists:
    return KnownPlaylists(Ragged.from_lists([[0, 1, 7, 8], [0, 7, 7, 9], [10, 11], [0, 1, 2, 3]]), TRACKS)


def only(name: str) -> ContinuationSettings:
    return ContinuationSettings(**{**ALONE, name: 1.0})


def test_like_playlists_vote_by_their_cosines(playlists):
    like = playlists.like(np.array([0, 1]))
    cosines = [2 / np.sqrt(8), 2 / np.sqrt(8), 1 / np.sqrt(6)]
    assert like.cosines == pytest.approx(cosines)
    total = sum(cosines)
    assert like.shares(np.array([2, 7, 9, 10])) == pytest.approx(
        [cosines[1] / total, (cosines[0] + cosines[2]) / total, cosines[2] / total, 0]
    )


def test_a_playlist_does_not_learn_from_itself(playlists):
    assert playlists.like(np.array([0, 1]), without=3).shares(np.array([2, 3])).tolist() == [0, 0]


def test_only_the_nearest_playlists_are_asked():
    known = KnownPlaylists(Ragged.from_lists([[0, 1, 7, 8], [0, 1, 7]]), TRACKS, nearest=1)
    assert known.like(np.array([0, 1])).shares(np.array([7, 8])).tolist() == [1, 0]


def test_a_playlist_like_no_other_has_no_votes(playlists):
    assert playlists.like(np.array([4])).shares(np.array([5, 6])).tolist() == [0, 0]


def test_each_part_alone_decides(export, playlists):
    given_rows = np.array([0, 1])
    mean = export.vectors[given_rows].mean(axis=0)
    by_mean = [row for row in np.argsort(-(export.vectors @ mean)).tolist() if row > 1]
    assert continuation(export, given_rows, settings=only("closeness")).rows.tolist() == by_mean
    # The mean of 0.1 and 0.9 is above that of 0.9 and 0.
    assert continuation(export, given_rows, settings=only("listened")).rows[:2].tolist() == [6, 5]
    by_lists = continuation(export, given_rows, playlists=playlists, without=3, settings=only("playlists"))
    assert by_lists.rows[0] == 7
    assert by_lists.scores[0] == pytest.approx(1)
    owner = Listener.of_row(export, 0)
    query = Query(k=1, include_heard=True)
    of_owner = continuation(export, given_rows, listener=owner, query=query, settings=only("utility"))
    assert of_owner.rows.tolist() == [11]


def test_reasons_say_what_lifted_a_piece(export, playlists):
    weights = ContinuationSettings(**{**ALONE, "listened": 1.0, "closeness": 0.001})
    found = continuation(export, np.array([0, 1]), settings=weights)
    assert (found.reasons[0].kind, found.reasons[0].because) == ("listened_with", 1)
    by_lists = continuation(export, np.array([0, 1]), playlists=playlists, settings=ContinuationSettings(playlists=100))
    assert by_lists.reasons[0].kind == "in_playlists"


@given(rows=st.lists(st.integers(0, TRACKS - 1), min_size=1, max_size=8), k=st.integers(1, TRACKS))
@settings(max_examples=50, deadline=None)
def test_nothing_given_comes_and_nothing_twice(export, playlists, rows, k):
    found = continuation(export, np.array(rows), playlists=playlists, query=Query(k=k))
    assert not set(rows) & set(found.rows.tolist())
    assert len(found) == min(k, TRACKS - len(set(rows)))
    assert bool(found.remark) == (len(found) < k)
    assert (np.diff(found.scores) <= 0).all()


def test_where_nothing_may_come_the_list_says_so(export):
    found = continuation(export, np.array([0]), query=Query(k=3, among=np.array([0])))
    assert len(found) == 0
    assert found.remark == "no allowed pieces are left"


def test_something_has_to_be_given(export):
    with pytest.raises(UserError, match="at least one piece"):
        continuation(export, np.zeros(0, np.int64))


@pytest.mark.parametrize("wrong", [{"closeness": -1}, {"utility": float("nan")}, ALONE])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match="must be"):
        ContinuationSettings(**wrong)
