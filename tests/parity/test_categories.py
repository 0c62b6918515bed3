"""Columns of users/ of any type: serving looks up the values that `prepare` has put into the vocabulary."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import EVENTS, at
from tests.retrieval.small_export import content, small_export
from towers.errors import UserError
from towers.retrieval.raw_events import events_from_raw, user_codes_from_raw

COLUMNS = {
    "premium": pa.array([True, False, None, True], pa.bool_()),
    "age": pa.array([30, 41, None, 30], pa.int64()),
    "age_of_pandas": pa.array([30.0, 41.0, None, 30.0], pa.float64()),
    "score": pa.array([0.1, 2.5, float("nan"), 1e20], pa.float64()),
    "small": pa.array([0.1, 2.5, None, 3.0], pa.float32()),
    "born": pa.array([10_000, 0, None, 1], pa.date32()),
    "plan": pa.array(["True", "7.0", None, "None"], pa.string()),
}
USER_IDS = ["ann", "ben", "eve", "gus"]


@pytest.fixture
def users(raw):
    """Listeners with a column of every type; all but eve are in the training period."""
    users = pa.table({"user_id": USER_IDS, **COLUMNS})
    raw_set.write_part(raw, "users", users)
    raw_set.write_events(raw, [*EVENTS, ("gus", "a1", at(2), "play", 100_000, "home")])
    (raw / "events/part-1.parquet").unlink()
    return pq.read_table(raw / "users/part-0.parquet").to_pylist()


@pytest.fixture
def prepared(users, raw, tmp_path, make_builder, feature_settings):
    features = replace(feature_settings, user_columns=tuple(COLUMNS))
    return make_builder(raw, tmp_path / "stores", features=features).build()[0]


@pytest.fixture
def export(prepared, tmp_path):
    """An export that has the store's vocabularies and features."""
    folder = tmp_path / "export"
    contents = [content("None"), content("7"), content("a1")]
    export = small_export(folder, contents, np.eye(3, dtype=np.float32))
    (folder / "vocabularies").symlink_to(prepared.folder / "vocabularies")
    (folder / "features.json").write_text(json.dumps(prepared.features.to_dict()))
    return export


@pytest.mark.parametrize("played_ms", [-1, "long", [5]])
def test_played_times_that_are_none(export, played_ms):
    """A value below 0 is a fault, as in `prepare`, and not a play in full."""
    with pytest.raises(UserError, match=r"^played_ms=.*: must be a number of milliseconds"):
        events_from_raw(export, [{"content_id": "a1", "timestamp": at(2), "played_ms": played_ms}])


def test_listeners_have_the_codes_of_the_store(prepared, export, users):
    user_ids = prepared.user_ids.tolist()
    for user in users:
        expected = prepared.user_codes[user_ids.index(user["user_id"])]
        np.testing.assert_array_equal(user_codes_from_raw(export, user), expected)
        assert (expected > 0).all() == (user["user_id"] != "eve")


def test_a_whole_float_and_an_integer_are_one_category(export):
    one, other = ({"age": 30, "age_of_pandas": 30}, {"age": 30.0, "age_of_pandas": np.float32(30)})
    np.testing.assert_array_equal(user_codes_from_raw(export, one), user_codes_from_raw(export, other))


def test_an_event_without_content_is_not_that_of_a_content_called_none(export):
    rows = [{"content_id": None, "timestamp": at(0), "action": "search"}, {"timestamp": at(1), "action": "browse"},
            {"content_id": 7, "timestamp": at(2)}, {"content_id": "None", "timestamp": at(3)}]  # fmt: skip
    assert events_from_raw(export, rows).content_row.tolist() == [-1, -1, 1, 0]


def test_a_played_time_that_is_not_finite_is_unknown(export):
    rows = [{"content_id": "a1", "timestamp": at(0), "played_ms": float("nan")}]
    assert events_from_raw(export, rows).played_fraction.tolist() == [-1]
