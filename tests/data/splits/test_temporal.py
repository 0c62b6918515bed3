"""Temporal splits: the same two instants for all listeners, with a gap before each or without."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.raw_set import MICROSECOND, TEST_START, VALIDATION_START, at
from tests.data.splits.some_listeners import histories, lengths, listeners
from towers.contract.durations import DAY_US
from towers.data.splits.carrying_out import ends_at
from towers.data.splits.split import Cuts, ListenersEvents
from towers.data.splits.temporal import GlobalTemporal
from towers.errors import UserError


def parts(store, user_id):
    """Returns the numbers of a listener's events in training, validation and test."""
    histories, row = store.histories, store.user_ids.tolist().index(user_id)
    cuts = [histories.offsets[row], histories.train_end[row], histories.test_start[row], histories.offsets[row + 1]]
    return np.diff(cuts).tolist()


@pytest.fixture
def prepared(tmp_path, make_builder):
    def prepare(events, split):
        raw_set.write_events(tmp_path / "raw", events)
        contents = [{"content_id": "a1", "kind": "track", "duration_ms": 100_000}]
        raw_set.write_part(tmp_path / "raw", "contents", raw_set.content_table(contents))
        raw_set.write_part(tmp_path / "raw", "users", raw_set.pa.Table.from_pylist(raw_set.USERS))
        return make_builder(tmp_path / "raw", tmp_path / "stores", split=split).build()[0]

    return prepare


class TestGlobalTemporal:
    def test_parts_by_hand(self, store):
        assert parts(store, "ann") == [7, 2, 2]
        assert parts(store, "ben") == [4, 1, 0]
        assert parts(store, "dee") == [0, 0, 1]
        assert parts(store, "eve") == [0, 0, 0]

    def test_the_cut_itself_belongs_to_what_follows(self, prepared):
        """Events lie one microsecond before the cut, at it, and after it: off by one either way fails."""
        around = [-MICROSECOND, timedelta(0), MICROSECOND]
        times = [at(0), *(VALIDATION_START + step for step in around), *(TEST_START + step for step in around)]
        events = [("ann", "a1", time, "play", 100_000, None) for time in times]
        store = prepared(events, GlobalTemporal("2026-01-25", "2026-02-04"))
        assert parts(store, "ann") == [2, 3, 2]

    def test_no_event_stands_on_the_wrong_side(self, world_store):
        histories = world_store.histories
        place, users = (
            np.arange(len(histories.timestamp_us)),
            np.repeat(np.arange(histories.num_users), np.diff(histories.offsets)),
        )
        times = np.asarray(histories.timestamp_us)
        is_train, is_test = place < histories.train_end[users], place >= histories.test_start[users]
        t1, t2 = world_store.manifest["validation_start_us"], world_store.manifest["test_start_us"]
        np.testing.assert_array_equal(is_train, times < t1)
        np.testing.assert_array_equal(is_test, times >= t2)
        assert is_train.any()
        assert is_test.any()
        assert (~is_train & ~is_test).any()

    def test_periods_count_back_from_the_last_positive_event(self):
        cuts = GlobalTemporal(validation_days=2.0, test_days=3.0).cuts(0, 10 * DAY_US, True)
        # The last event belongs to the test period, which is three days long and ends just after it.
        assert cuts.test_start_us == 7 * DAY_US + 1
        assert cuts.validation_start_us == 5 * DAY_US + 1

    @pytest.mark.parametrize(("span", "each"), [(400, 14.0), (120, 14.0), (30, 4.5), (10, 1.5), (5, 1.0), (2, 0.5)])
    def test_the_default_follows_from_the_span(self, span, each):
        cuts = GlobalTemporal().cuts(0, span * DAY_US - 1, True)
        assert cuts.test_start_us == (span - each) * DAY_US
        assert cuts.validation_start_us == (span - 2 * each) * DAY_US

    @given(span_us=st.integers(1_000, 10**16), share=st.floats(0.01, 0.25), days=st.floats(0, 1000))
    def test_training_keeps_half_whatever_the_span(self, span_us, share, days):
        cuts = GlobalTemporal(share=share, min_days=days, max_days=1000.0).cuts(0, span_us - 1, True)
        assert cuts.validation_start_us >= span_us // 2

    def test_no_test_trains_on_everything(self, prepared):
        events = [("ann", "a1", at(day), "play", 100_000, None) for day in range(20)]
        store = prepared(events, GlobalTemporal(test_days=0.0))
        assert parts(store, "ann")[2] == 0
        assert store.trained_until("test").train_positives.sum() == 20

    @pytest.mark.parametrize(
        "wrong", [{"validation_days": 0.0}, {"test_days": -1.0}, {"share": 0.3}, {"share": 0.0}, {"min_days": 20.0}]
    )
    def test_a_length_that_cannot_be_is_refused_with_its_key(self, wrong):
        (key,) = wrong
        with pytest.raises(UserError, match=rf"data\.split\.{key}="):
            GlobalTemporal(**wrong)

    def test_a_given_time_without_a_zone_is_in_utc(self):
        cuts = GlobalTemporal("1970-01-03T12:00", "1970-01-05T02:00+02:00").cuts(0, 10 * DAY_US, True)
        assert cuts.validation_start_us == 2.5 * DAY_US
        assert cuts.test_start_us == 4 * DAY_US

    @pytest.mark.parametrize(
        ("validation_start", "test_start"),
        [
            ("1970-01-05", "1970-01-05"),  # no validation
            ("1970-01-06", "1970-01-05"),  # the wrong way round
            ("1970-01-01", "1970-01-05"),  # no training
            ("1970-01-05", "1980-01-01"),  # no test
        ],
    )
    def test_an_empty_period_is_refused(self, validation_start, test_start):
        with pytest.raises(UserError, match=r"data\.split") as raised:
            GlobalTemporal(validation_start, test_start).cuts(0, 10 * DAY_US, True)
        assert validation_start in str(raised.value)
        assert test_start in str(raised.value)

    def test_longer_periods_than_the_data_are_refused(self):
        with pytest.raises(UserError, match=r"data\.split"):
            GlobalTemporal(validation_days=6.0, test_days=6.0).cuts(0, 10 * DAY_US, True)

    def test_the_last_instant_may_be_the_test(self):
        GlobalTemporal("1970-01-03", "1970-01-11").cuts(0, 10 * DAY_US, True)

    def test_an_unreadable_time_is_refused(self):
        with pytest.raises(UserError, match=r"data\.split\.test_start=tomorrow"):
            GlobalTemporal(None, "tomorrow").cuts(0, 10 * DAY_US, True)

    def test_data_without_a_clock_is_refused(self):
        with pytest.raises(UserError, match="leave_one_out"):
            GlobalTemporal().cuts(0, 10 * DAY_US, False)


class TestGap:
    def test_by_hand(self):
        split = GlobalTemporal("1970-01-05", "1970-01-09", gap_days=1.0)
        cuts = split.cuts(0, 10 * DAY_US, True)
        assert (cuts.validation_start_us, cuts.test_start_us, cuts.gap_us) == (4 * DAY_US, 8 * DAY_US, DAY_US)
        # The 4th and the 8th of January are in gaps.
        every_half_day = [(half / 2, True, -1) for half in range(20)]
        events = listeners(every_half_day, [(3.0, True, -1), (7.5, True, -1)], [], [(2.9, True, -1), (8.0, True, -1)])
        assert lengths(split.ends(events, cuts), events) == [
            [6, 2, 6, 2, 4], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]
        ]  # fmt: skip

    @given(found=histories, start=st.integers(0, 10), validation=st.integers(0, 10), gap=st.integers(0, 6))
    def test_is_what_a_loop_finds(self, found, start, validation, gap):
        test = start + validation
        cuts = Cuts(validation_start_us=start * DAY_US, test_start_us=test * DAY_US, gap_us=gap * DAY_US)
        events = listeners(*found)
        ends = ends_at(events, cuts)
        for user, history in enumerate(found):
            times = [time for time, _, _ in history]
            for name, day in {
                "train_end": start - gap, "validation_start": start, "validation_end": test - gap, "test_start": test
            }.items():  # fmt: skip
                assert getattr(ends, name)[user] == sum(time < day for time in times)

    def test_is_taken_from_the_earlier_period(self):
        with_gap, without = (GlobalTemporal(gap_days=gap).cuts(0, 99 * DAY_US, True) for gap in (2.0, 0.0))
        assert with_gap.test_start_us == without.test_start_us
        assert with_gap.validation_start_us == without.validation_start_us

    def test_no_test_leaves_no_gap_before_it(self):
        cuts = GlobalTemporal(test_days=0.0, gap_days=2.0).cuts(0, 99 * DAY_US, True)
        assert cuts.test_start_us == 99 * DAY_US + 1 + cuts.gap_us

    @pytest.mark.parametrize("gap", [5.0, 14.0])
    def test_one_that_leaves_nothing_of_a_period_is_refused(self, gap):
        with pytest.raises(UserError, match=rf"beside the gap of data\.split\.gap_days={gap:g}"):
            GlobalTemporal("1970-01-16", "1970-01-20", gap_days=gap).cuts(0, 30 * DAY_US, True)

    def test_one_below_0_is_refused(self):
        with pytest.raises(UserError, match=r"data\.split\.gap_days=-1"):
            GlobalTemporal(gap_days=-1.0)


def test_a_store_is_cut_where_it_says(world_store):
    """The ends of a prepared store are those of its events."""
    found, manifest = world_store.histories, world_store.manifest
    events = ListenersEvents(
        offsets=np.asarray(found.offsets), timestamp_us=np.asarray(found.timestamp_us),
        is_positive=np.asarray(found.is_positive), session=np.asarray(found.session),
    )  # fmt: skip
    cuts = Cuts(validation_start_us=manifest["validation_start_us"], test_start_us=manifest["test_start_us"])
    ends = ends_at(events, cuts)
    for name in ("train_end", "validation_start", "validation_end", "test_start"):
        np.testing.assert_array_equal(getattr(ends, name) + found.offsets[:-1], getattr(found, name))
