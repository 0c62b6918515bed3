"""On repeat: contents that a listener plays again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlists.on_repeat import OnRepeatSettings, on_repeat
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export
from towers.retrieval.query import Query, Standing


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    contents = [content(f"c{row}", artist_ids=["a" if row < 4 else f"b{row}"]) for row in range(8)]
    vectors = np.eye(8, dtype=np.float32)
    return small_export(tmp_path_factory.mktemp("repeat") / "export", contents, vectors, {"u": [0]})


def listener(export: Export, plays: Mapping[int, Sequence[float]], disliked: tuple[int, ...] = ()) -> Listener:
    """Returns a listener who played contents so many days ago, and disliked some last."""
    done = sorted((-age, row, schema.PLAY) for row, ages in plays.items() for age in ages)
    done += [(0.0, row, schema.DISLIKE) for row in disliked]
    now_us = 1_000 * DAY_US
    action = np.array([action for *_, action in done], np.int64)
    events = Events(
        content_row=np.array([row for _, row, _ in done], np.int64),
        action=action,
        timestamp_us=np.array([now_us + int(when * DAY_US) for when, *_ in done], np.int64),
        played_fraction=np.ones(len(done)),
        context=np.zeros(len(done), np.int64),
        is_positive=action == schema.PLAY,
    )
    return replace(Listener.of_row(export, 0), standing=Standing.of(events, now_us))


def test_what_was_played_most_and_latest_comes_first(export):
    found = on_repeat(listener(export, {4: [9, 8], 5: [3, 2, 1], 6: [2, 1]}))
    assert found.rows.tolist() == [5, 6, 4]
    # The logarithm of the sum of age to the power of -1/2 (ACT-R).
    assert found.scores[2] == pytest.approx(np.log(9**-0.5 + 8**-0.5))
    assert {reason.kind for reason in found.reasons} == {"often"}
    assert found.remark == "only 3 pieces are played again and again lately"


def test_what_was_played_once_or_long_ago_does_not_come(export):
    plays = {4: [1], 5: [40, 50], 6: [5, 400], 7: [1, 2]}
    assert on_repeat(listener(export, plays), settings=OnRepeatSettings(days=30)).rows.tolist() == [7, 6]


def test_nothing_disliked_comes(export):
    assert on_repeat(listener(export, {4: [1, 2], 5: [1, 2]}, disliked=(4,))).rows.tolist() == [5]


def test_an_artist_has_so_many_places_at_most(export):
    plays = {row: [1.0, 2.0 + row] for row in range(6)}
    found = on_repeat(listener(export, plays), settings=OnRepeatSettings(max_per_artist=2))
    assert found.rows.tolist() == [0, 1, 4, 5]


def test_a_query_says_what_may_come(export):
    found = on_repeat(listener(export, {4: [1, 2], 5: [1, 2]}), query=Query(include_heard=True, deny=np.array([5])))
    assert found.rows.tolist() == [4]


def test_who_played_nothing_gets_an_empty_list(export):
    assert len(on_repeat(listener(export, {}))) == 0


@pytest.mark.parametrize("wrong", [{"k": 0}, {"min_times": 0}, {"max_per_artist": 0}, {"days": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}="):
        OnRepeatSettings(**wrong)
