"""Where the data is cut: by two instants for everybody, or by each listener's last two positives."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.raw_set import MICROSECOND, TEST_START, VALIDATION_START, at
from towers.data.split import DAY_US, GlobalTemporal, LeaveOneOut
from towers.errors import UserError


def parts(store, user_id):
    """How many events a listener has in training, validation and test."""
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
        """One microsecond before the cut, at it, and after it: off by one either way fails."""
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
        assert store.trained_until_test().train_positives.sum() == 20

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


class TestLeaveOneOut:
    def test_by_hand(self, prepared):
        def history(user_id, actions):
            played = {"+": ("play", 100_000), "-": ("skip", 1_000)}
            return [(user_id, "a1", at(day), *played[action], None) for day, action in enumerate(actions)]

        store = prepared(
            history("three", "+++")
            + history("two", "+-+")
            + history("none", "--")
            + history("skips-last", "++-+--")
            + history("skips-between", "-+-+--+-+"),
            LeaveOneOut(),
        )
        assert parts(store, "three") == [1, 1, 1]
        assert parts(store, "two") == [3, 0, 0]  # too few positives
        assert parts(store, "none") == [2, 0, 0]
        assert parts(store, "skips-last") == [1, 2, 3]  # validation: + -, test: + - -
        assert parts(store, "skips-between") == [6, 2, 1]
        assert parts(store, "eve") == [0, 0, 0]

    def test_needs_no_clock(self):
        cuts = LeaveOneOut().cuts(0, 1, False)
        assert cuts.validation_start_us is None
        assert cuts.test_start_us is None
