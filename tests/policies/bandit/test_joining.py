"""Outcomes from the event log: plays of the card's contents, by the same listener, after it was shown, in the
session.
"""

import datetime as dt
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.raw_set import at
from towers.contract.durations import MINUTE_US
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.contract.schema import PLAY, SAVE, SKIP
from towers.features.ragged import Ragged
from towers.policies.bandit.joining import Shown, Told, filled, joined
from towers.policies.bandit.store_outcomes import impressions_with_outcomes

ALBUM, TRACK, OTHER = 0, 1, 2
MEMBERS = Ragged.from_lists([[TRACK, OTHER], [], [], []])


def told(*events):
    """Makes events of (user, minute, content, action, seconds or None, session)."""
    events = [(*event, *(None, -1)[len(event) - 4 :]) if len(event) < 6 else event for event in events]
    columns = list(zip(*events, strict=True)) if events else [()] * 6
    seconds = [-1 if one is None else one for one in columns[4]]
    return Told(
        user=np.array(columns[0], np.int64),
        timestamp_us=np.array([int(minute * MINUTE_US) for minute in columns[1]], np.int64),
        content_row=np.array(columns[2], np.int64),
        action=np.array(columns[3], np.int8),
        played_ms=np.array([-1 if one < 0 else 1_000 * one for one in seconds], np.int64),
        played_fraction=np.array([-1 if one < 0 else one / 200 for one in seconds], float),
        session=np.array(columns[5], np.int64),
    )


def shown(*cards):
    """Makes shown cards of (user, minute, content)."""
    columns = list(zip(*cards, strict=True))
    times = np.array([int(minute * MINUTE_US) for minute in columns[1]], np.int64)
    return Shown(user=np.array(columns[0]), content_row=np.array(columns[2]), timestamp_us=times)


def found(cards, *events):
    return joined(shown(*cards), told(*events), MEMBERS)


class TestOneCard:
    def test_a_play(self):
        one = found([(7, 10, TRACK)], (7, 12, TRACK, PLAY, 50))
        assert (one.is_met[0], one.played_ms[0], one.skipped[0], one.finished[0], one.saved[0]) == (
            True, 50_000, False, False, False,
        )  # fmt: skip

    def test_to_the_end_and_saved(self):
        one = found([(7, 10, TRACK)], (7, 12, TRACK, PLAY, 198), (7, 13, TRACK, SAVE))
        assert (one.finished[0], one.saved[0], one.played_ms[0]) == (True, True, 198_000)

    def test_a_play_of_which_nothing_is_known_is_whole(self):
        one = found([(7, 10, TRACK)], (7, 12, TRACK, PLAY, None))
        assert (one.is_met[0], one.played_ms[0], one.finished[0]) == (True, -1, True)

    def test_what_went_on_longest_decides(self):
        assert found([(7, 10, TRACK)], (7, 11, TRACK, SKIP, 5), (7, 12, TRACK, PLAY, 50)).skipped.tolist() == [False]
        assert found([(7, 10, TRACK)], (7, 11, TRACK, PLAY, 5), (7, 12, TRACK, SKIP, 50)).skipped.tolist() == [True]

    @pytest.mark.parametrize(
        "event",
        [
            (7, 9.9, TRACK, PLAY, 50),  # before
            (8, 12, TRACK, PLAY, 50),  # another listener
            (7, 12, OTHER, PLAY, 50),  # something else
            (7, 12, -1, PLAY, 50),
            (7, 41, TRACK, PLAY, 50),  # another session
        ],
    )
    def test_what_does_not_count(self, event):
        one = found([(7, 10, TRACK)], event)
        assert (one.is_met[0], one.played_ms[0], one.skipped[0], one.finished[0], one.saved[0]) == (
            False, 0, False, False, False,
        )  # fmt: skip

    def test_without_events_and_unknown_listeners(self):
        assert not found([(7, 10, TRACK), (-1, 10, TRACK)]).is_met.any()
        assert not found([(7, 10, -1)], (7, 12, -1, PLAY, 50)).is_met.any()


class TestCardsWithMembers:
    def test_a_play_of_any_member_counts(self):
        one = found([(7, 10, ALBUM)], (7, 11, TRACK, SKIP, 2), (7, 12, OTHER, PLAY, 60))
        assert (one.played_ms[0], one.skipped[0]) == (60_000, False)

    def test_and_a_member_is_not_its_card(self):
        assert not found([(7, 10, TRACK)], (7, 12, ALBUM, PLAY, 60)).is_met.any()

    def test_one_play_may_speak_for_one_card_alone(self):
        """It counts for the card shown last."""
        one = found([(7, 10, ALBUM), (7, 12, TRACK), (7, 14, ALBUM)], (7, 13, TRACK, PLAY, 60))
        assert one.is_met.tolist() == [False, True, False]


class TestSessions:
    def test_it_goes_on_while_gaps_are_short(self):
        events = [(7, minute, OTHER, PLAY, 60) for minute in (20, 45, 70)]
        assert found([(7, 10, TRACK)], *events, (7, 95, TRACK, PLAY, 50)).is_met.tolist() == [True]
        assert found([(7, 10, TRACK)], *events, (7, 101, TRACK, PLAY, 50)).is_met.tolist() == [False]

    def test_a_named_one_may_have_long_gaps_and_ends_where_another_begins(self):
        events = [(7, 12, OTHER, PLAY, 60, 3), (7, 300, TRACK, PLAY, 50, 3)]
        assert found([(7, 10, TRACK)], *events).is_met.tolist() == [True]
        events = [(7, 12, OTHER, PLAY, 60, 3), (7, 13, TRACK, PLAY, 50, 4)]
        assert found([(7, 10, TRACK)], *events).is_met.tolist() == [False]

    def test_a_refreshed_page_takes_over(self):
        one = found([(7, 10, TRACK), (7, 15, TRACK)], (7, 16, TRACK, PLAY, 50))
        assert one.is_met.tolist() == [False, True]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_by_brute_force(seed):
    """The reference looks at each impression and each event."""
    draw = np.random.default_rng(seed)
    cards = [tuple(draw.integers([0, 0, -1], [3, 200, 4]).tolist()) for _ in range(8)]
    events = sorted(
        (*draw.integers([0, 0, -1], [3, 200, 4]).tolist(), draw.choice([PLAY, SKIP, SAVE]), int(draw.integers(99)))
        for _ in range(25)
    )
    expected = np.zeros(len(cards), bool)
    for event in events:
        takers = [place for place, card in enumerate(cards) if counts(card, event, events)]
        if takers:
            expected[max(takers, key=lambda place: (cards[place][1], -place))] = True
    assert found(cards, *events).is_met.tolist() == expected.tolist()


def counts(card, event, events):
    if card[0] != event[0] or event[1] < card[1] or card[2] < 0 or event[2] < 0:
        return False
    times = [card[1], *sorted(other[1] for other in events if other[0] == card[0] and card[1] <= other[1] <= event[1])]
    is_one_session = all(later - earlier <= 30 for earlier, later in pairwise(times))
    return is_one_session and (event[2] == card[2] or event[2] in MEMBERS[card[2]].tolist())


def test_rows_that_say_something_are_left_as_they_are():
    empty = dict.fromkeys(IMPRESSION_SCHEMA.names)
    rows = [empty, empty | {"clicked": True}, empty | {"played_ms": 3}]
    table = pa.Table.from_pylist(rows, IMPRESSION_SCHEMA)
    one = found([(7, 10, TRACK)] * 3, (7, 12, TRACK, PLAY, 50))
    told_now = filled(table, one).select(["clicked", "played_ms", "skipped", "finished", "saved"]).to_pylist()
    assert [[*row.values()] for row in told_now] == [
        [None, 50_000, False, False, False],
        [True, None, None, None, None],
        [None, 3, None, None, None],
    ]


def test_of_a_store(tmp_path, make_builder):
    """Raw impressions and events come in, rows with outcomes in time order out."""
    raw = tmp_path / "raw"
    raw.mkdir()
    raw_set.write_part(raw, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    raw_set.write_part(raw, "playlists", pa.Table.from_pylist(raw_set.PLAYLISTS))
    raw_set.write_part(raw, "users", pa.Table.from_pylist(raw_set.USERS))
    raw_set.write_events(raw, raw_set.EVENTS)
    moment = at(40)
    plays = [("ann", "a1", moment + dt.timedelta(minutes=5), "play", 60_000, None),
             ("ann", "a2", moment + dt.timedelta(minutes=9), "skip", 2_000, None)]  # fmt: skip
    raw_set.write_part(raw, "events", raw_set.event_table(plays), 7)
    nobody = dict.fromkeys(IMPRESSION_SCHEMA.names)
    rows = [
        nobody | {"request_id": "r2", "user_id": "ann", "timestamp": moment, "slot": 0, "chosen_id": "a1"},
        nobody | {"request_id": "r2", "user_id": "ann", "timestamp": moment, "slot": 1, "chosen_id": "a2"},
        nobody | {"request_id": "r1", "user_id": "new-one", "timestamp": at(39), "slot": 0, "chosen_id": "a1"},
    ]
    raw_set.write_part(raw, "impressions", pa.Table.from_pylist(rows, IMPRESSION_SCHEMA))
    store = make_builder(raw, tmp_path / "stores").build()[0]
    found_rows = impressions_with_outcomes(store).to_pylist()
    assert [(row["request_id"], row["slot"], row["skipped"]) for row in found_rows] == [
        ("r1", 0, False), ("r2", 0, False), ("r2", 1, True),
    ]  # fmt: skip
    assert [row["played_ms"] for row in found_rows] == [0, pytest.approx(60_000, abs=1), pytest.approx(2_000, abs=1)]
