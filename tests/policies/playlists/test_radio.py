"""The contents that a radio plays."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.features.content_facts import ContentFacts
from towers.policies.listener import Listener
from towers.policies.playlists.hearing import vector_after
from towers.policies.playlists.radio import RadioSettings, _pieces, radio
from towers.retrieval.export import Export
from towers.retrieval.query import Query

TRACKS, ARTIST = 40, 40
PLAIN: dict[str, Any] = {"listened": 0.0, "popularity": 0.0, "hearing": 0.0}


class MeanTower:
    """A user tower in the place of the export's: the mean of the history, in which the last content weighs as much as
    all others.
    """

    def __init__(self, vectors: np.ndarray):
        self._vectors = vectors

    def encode(self, events, codes) -> np.ndarray:
        rows = events.content_row.astype(int)
        mean = self._vectors[rows[:-1]].mean(axis=0) + self._vectors[rows[-1]]
        assert (np.diff(events.timestamp_us) >= 0).all()
        return (mean / np.linalg.norm(mean)).astype(np.float32)


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    """Forty tracks of four artists, the first of whom has a row, and two listeners."""
    vectors = np.random.default_rng(0).normal(size=(TRACKS + 1, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [content(f"c{row}", artist_ids=[f"a{row % 4}"]) for row in range(TRACKS)]
    contents.append(content("a0", kind="artist", artist_ids=["a0"]))
    folder = tmp_path_factory.mktemp("radio") / "export"
    found = small_export(folder, contents, vectors, {"u": [1, 2, 2, 2, 9], "v": [30, 31]})
    found.__dict__["encoder"] = MeanTower(vectors)
    return found


def test_a_radio_for_nobody_that_stays_plays_what_is_nearest(export):
    staying = RadioSettings(**PLAIN, drift=0, max_in_row=TRACKS)
    found = radio(export, np.array([5]), query=Query(k=10), settings=staying)
    nearest = [row for row in np.argsort(-(export.vectors[:TRACKS] @ export.vectors[5])).tolist() if row != 5]
    assert found.rows.tolist() == nearest[:10]
    assert (found.reasons[0].kind, found.reasons[0].because) == ("near", 5)


def test_a_radio_that_only_drifts_goes_on_from_the_last_piece(export):
    walking = RadioSettings(**PLAIN, drift=1, max_in_row=TRACKS)
    found = radio(export, np.array([5]), query=Query(k=6), settings=walking).rows.tolist()
    before, left = 5, [row for row in range(TRACKS) if row != 5]
    for row in found:
        assert row == max(left, key=lambda one: export.vectors[one] @ export.vectors[before])
        left.remove(row)
        before = row


def test_what_follows_the_last_piece_more_than_the_seed_says_so(export):
    walking = RadioSettings(**PLAIN, drift=1, max_in_row=TRACKS)
    found = radio(export, np.array([5]), query=Query(k=3), settings=walking)
    assert found.reasons[0].because == 5
    for place in (1, 2):
        row, last = export.vectors[found.rows[place]], export.vectors[found.rows[place - 1]]
        is_after = row @ last > row @ export.vectors[5]
        assert (found.reasons[place].kind, found.reasons[place].because) == (
            ("after", found.rows[place - 1]) if is_after else ("near", 5)
        )


def test_for_a_listener_comes_what_they_like_of_what_is_near(export):
    listener = Listener.of_row(export, 0)
    settings_ = RadioSettings(**PLAIN, drift=0, closeness=2, first_closeness=1, max_in_row=TRACKS)
    found = radio(export, np.array([5]), listener=listener, query=Query(k=5, include_heard=True), settings=settings_)
    rows = np.array([row for row in range(TRACKS) if row != 5])
    score = 3 * listener.affinity(rows) + 2 * export.vectors[rows] @ export.vectors[5]
    assert found.rows.tolist() == rows[np.argsort(-score)][:5].tolist()
    assert found.scores == pytest.approx(np.sort(score)[::-1][:5], abs=1e-5)


def test_the_first_piece_is_the_nearest_where_closeness_counts_enough(export):
    settings_ = RadioSettings(first_closeness=1_000)
    nearest = max((row for row in range(TRACKS) if row != 5), key=lambda row: export.vectors[row] @ export.vectors[5])
    for user in (0, 1):
        assert (
            radio(export, np.array([5]), listener=Listener.of_row(export, user), settings=settings_).rows[0] == nearest
        )


def test_hearing_the_seeds_moves_the_listener(export):
    listener = Listener.of_row(export, 0)
    played = np.array([7])
    mean = export.vectors[[1, 2, 2, 2, 9]].mean(axis=0) + export.vectors[7]
    assert vector_after(listener, played) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    only = {**PLAIN, "closeness": 0.0, "drift": 0.0, "max_in_row": TRACKS}
    still, moved = (
        radio(export, played, listener=listener, settings=RadioSettings(**{**only, "hearing": weight})).scores
        for weight in (0.0, 100.0)
    )
    assert moved[0] > still[0]


def test_an_artist_is_a_seed_through_their_most_played_pieces(export, monkeypatch):
    plays = np.zeros(TRACKS + 1, np.int64)
    plays[[4, 8, 5]] = 3, 2, 9  # the last is by another artist
    monkeypatch.setitem(export.__dict__, "facts", ContentFacts(artists=export.facts.artists, recent_positives=plays))
    found = radio(export, np.array([ARTIST]), listener=Listener.of_row(export, 0))
    assert len(found) == 25
    assert (export.kinds[found.rows] == 0).all()
    assert _pieces(export, np.array([ARTIST])).tolist()[:2] == [4, 8]
    assert (_pieces(export, np.array([ARTIST])) % 4 == 0).all()


def test_of_a_recording_one_piece_comes_and_not_that_of_a_seed(export, monkeypatch):
    recordings = np.arange(TRACKS + 1)
    recordings[20:40] = np.arange(20)
    monkeypatch.setitem(export.__dict__, "recordings", recordings)
    found = radio(export, np.array([5]), query=Query(k=40))
    assert sorted(recordings[found.rows].tolist()) == [row for row in range(20) if row != 5]


@given(
    seed=st.integers(0, TRACKS - 1), most=st.integers(1, 3), k=st.integers(1, 45), user=st.sampled_from([None, 0, 1])
)
@settings(max_examples=40, deadline=None)
def test_an_artist_never_comes_more_often_in_a_row_and_no_seed_comes(export, seed, most, k, user):
    listener = None if user is None else Listener.of_row(export, user)
    query = Query(k=k, include_heard=True)
    found = radio(export, np.array([seed]), listener=listener, query=query, settings=RadioSettings(max_in_row=most))
    artists = (found.rows % 4).tolist()
    assert not any(len(set(artists[at : at + most + 1])) == 1 for at in range(len(artists) - most))
    assert seed not in found.rows
    assert len(found) <= k
    assert bool(found.remark) == (len(found) < k)
    assert len(found.reasons) == len(found)


def test_of_one_artist_alone_the_list_ends_early_and_says_so(export):
    found = radio(
        export, np.array([1]), query=Query(k=5, among=np.array([0, 4, 8])), settings=RadioSettings(max_in_row=2)
    )
    assert len(found) == 2
    assert found.remark == "2 of 5 places are filled: no other piece is allowed to follow"


def test_where_nothing_may_come_the_list_says_so(export):
    found = radio(export, np.array([1]), query=Query(among=np.array([1])))
    assert found.remark == "no allowed pieces are left"


def test_a_radio_starts_from_something(export):
    with pytest.raises(UserError, match="seeds"):
        radio(export, np.zeros(0, np.int64))


@pytest.mark.parametrize("wrong", [{"closeness": -1}, {"drift": 1.5}, {"max_in_row": 0}, {"hearing": float("nan")}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        RadioSettings(**wrong)
