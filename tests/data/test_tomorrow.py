"""A store as seen from an earlier night equals the store that a prepare would have cut there."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.data import raw_set
from tests.data.raw_set import at
from towers.contract.events import microseconds_of
from towers.data.splits.temporal import GlobalTemporal
from towers.data.tomorrow import tomorrow_of
from towers.errors import UserError
from towers.evaluation.from_store import all_histories, task_from_store

NIGHT, DAYS = at(29), 4.5
FIELDS = ("user_rows", "is_candidate", "is_cold", "train_counts", "kind_codes", "is_cold_user")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tomorrow") / "raw"
    more = [("ben", "b1", at(day), "play", 1_000, None) for day in (4, 28, 29, 31, 34)]
    raw_set.write_events(folder, [*raw_set.EVENTS, *more])
    raw_set.write_part(folder, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    raw_set.write_part(folder, "users", pa.Table.from_pylist(raw_set.USERS))
    return folder


@pytest.fixture(scope="module")
def whole(raw, make_builder):
    return make_builder(raw, raw.parent / "stores").build()[0]


class TestTomorrow:
    @pytest.mark.parametrize("night", [NIGHT, at(1) + timedelta(hours=12)], ids=["late", "within its training"])
    def test_is_the_validation_of_a_store_that_is_cut_there(self, whole, raw, make_builder, night):
        split = GlobalTemporal(night.isoformat(), (night + timedelta(days=DAYS)).isoformat())
        cut = make_builder(raw, raw.parent / "cut", split=split).build()[0]
        view = tomorrow_of(whole, microseconds_of(night), DAYS)
        ours, theirs = task_from_store(view, "test"), task_from_store(cut, "validation")
        assert len(ours.user_rows) >= 2
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        for mine, other in (
            (ours.histories, theirs.histories),
            (ours.targets, theirs.targets),
            (all_histories(view, "test"), all_histories(cut, "validation")),
        ):
            np.testing.assert_array_equal(mine.offsets, other.offsets)
            np.testing.assert_array_equal(mine.values, other.values)
        assert view.contents.equals(cut.contents)
        np.testing.assert_array_equal(view.first_heard_us, cut.first_heard_us)

    def test_leaves_the_store_as_it_is(self, whole):
        before = whole.contents, whole.histories.train_end.copy(), whole.fingerprint
        view = tomorrow_of(whole, microseconds_of(NIGHT), DAYS)
        assert view.fingerprint != whole.fingerprint
        assert whole.contents is before[0]
        np.testing.assert_array_equal(whole.histories.train_end, before[1])
        assert whole.fingerprint == before[2]

    def test_refuses_a_night_after_which_nothing_is_known(self, whole):
        with pytest.raises(UserError, match="nothing in it is from after 2026-03-"):
            tomorrow_of(whole, microseconds_of(at(60)), DAYS)
