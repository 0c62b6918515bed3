"""Discover Weekly keeps its rules for any history."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.somebody import somebody
from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.errors import UserError
from towers.policies.playlists.discover_weekly import DiscoverWeekly, new_to
from towers.policies.request import Request, Shared
from towers.retrieval.export import Export
from towers.retrieval.long_term import LongTerm

CONTENTS, ARTISTS = 60, 20
UNRELEASED = 7
ACTIONS = (schema.PLAY, schema.SKIP, schema.LIKE, schema.DISLIKE, schema.SAVE, schema.ACTION_CODES["browse"])
HISTORIES = st.lists(st.tuples(st.integers(0, 14), st.sampled_from(ACTIONS)), max_size=20)
KIND = DiscoverWeekly(k=10)


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    contents = [
        content(
            f"c{row}",
            artist_ids=[f"a{row % ARTISTS}"],
            release_date=date(2030, 1, 1) if row == UNRELEASED else date(2020, 1, 1),
        )
        for row in range(CONTENTS)
    ]
    vectors = np.random.default_rng(0).normal(size=(CONTENTS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = small_export(tmp_path_factory.mktemp("weekly") / "export", contents, vectors, {"u": [0]})
    found.__dict__["until_us"] = 1_700_000_000_000_000
    return found


def asked(export: Export, history: list[tuple[int, int]], shown: tuple[int, ...] = ()) -> Request:
    listener = somebody(export, history, np.asarray(export.vectors[3]))
    return Request(shared=Shared(export), listeners=(listener,), shown=np.array(shown, np.int64))


@given(history=HISTORIES, shown=st.sets(st.integers(15, CONTENTS - 1), max_size=20))
def test_the_promises_hold_for_any_history(export, history, shown):
    request = asked(export, history, tuple(shown))
    found = KIND.make(request)
    rows = found.rows.tolist()
    met = {row for row, _ in history}
    assert not met & set(rows)
    assert not shown & set(rows)
    assert UNRELEASED not in rows
    artists = [row % ARTISTS for row in rows]
    assert max(artists.count(artist) for artist in artists) <= KIND.max_per_artist
    met_artists = {row % ARTISTS for row in met}
    assert sum(artist not in met_artists for artist in artists) >= KIND.new_artists * len(rows)
    assert len(found.reasons) == len(rows)
    assert KIND.make(request).rows.tolist() == rows


def test_a_list_that_cannot_be_filled_is_shorter_and_says_why(export):
    request = asked(export, [(0, schema.PLAY)], tuple(range(8, CONTENTS)))
    found = KIND.make(request)
    assert 0 < len(found) < KIND.k
    assert "places are filled" in found.remark


def test_what_is_asked_for_beats_the_kinds_own_length(export):
    assert len(KIND.make(replace(asked(export, []), asked={"k": 4}))) == 4


def test_a_dial_has_no_place_in_it(export):
    with pytest.raises(UserError, match="playlist=mix has a dial"):
        KIND.make(replace(asked(export, []), asked={"familiar": 0.5}))


def test_one_listener_is_asked_for(export):
    with pytest.raises(UserError, match="user: this kind of list is for one listener, and 0 are given"):
        KIND.make(Request(shared=Shared(export)))


def test_artists_of_whatever_was_met_are_not_new(export):
    listener = somebody(export, [(0, schema.SKIP)], np.asarray(export.vectors[3]))
    assert new_to(listener, np.array([0, 1, ARTISTS])).tolist() == [False, True, False]


def test_what_is_come_back_to_may_count(export, tmp_path):
    """The list ranks by the chance of a listen times the expected return; without expected returns it is refused."""
    history = [(3, schema.PLAY)]
    weighed = replace(KIND, long_term=1.0)
    with pytest.raises(UserError, match="does not say what a listen is worth later"):
        weighed.make(asked(export, history))
    returning = Export(export.folder)
    returning.__dict__["until_us"] = export.until_us
    expected = np.ones(CONTENTS, np.float32)
    returning.__dict__["long_term"] = LongTerm(
        expected=expected, deviation=expected, days=59, returns_to="artist", intercept=1.0, slope=np.zeros(8),
        prior_deviation=1.0, fitted={},
    )  # fmt: skip
    plain = KIND.make(asked(returning, history))
    assert weighed.make(asked(returning, history)).rows.tolist() == plain.rows.tolist()
    left = next(row for row in range(15, CONTENTS) if row not in plain.rows)
    expected[left] = 1_000.0
    found = weighed.make(asked(returning, history))
    assert left in found.rows
    assert found.scores[found.rows == left] == pytest.approx(
        asked(returning, history).listener.utility(np.array([left])) + np.log(1_000)
    )
    with pytest.raises(UserError, match="long_term=-1"):
        replace(KIND, long_term=-1)
