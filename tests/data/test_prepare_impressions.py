"""Tests of impressions in a prepared store: kept, reported when rejected, and not read again."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import at
from tests.data.read_back import FORGOTTEN, histories_by_id
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError


def shown(request_id, user_id, slot=0, **values):
    row = {"request_id": request_id, "user_id": user_id, "timestamp": at(31), "slot": slot, "propensity": 0.5}
    return {**dict.fromkeys(IMPRESSION_SCHEMA.names), **row, **values}


def write(raw, *rows, part=0):
    return raw_set.write_part(raw, "impressions", pa.Table.from_pylist(list(rows), IMPRESSION_SCHEMA), part)


@pytest.fixture
def raw(raw):
    """The hand-written set without sounds, and impressions of its listeners."""
    raw_set.write_part(raw, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    write(raw, shown("r1", "ann"), shown("r1", "ann", slot=1), shown("r2", FORGOTTEN), shown("r3", "new-one", slot=-1))
    return raw


def test_they_are_kept_beside_the_histories(raw, tmp_path, make_builder, store):
    made = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5).build()[0]
    assert made.impressions.to_table().to_pylist() == [shown("r1", "ann"), shown("r1", "ann", slot=1)]
    assert made.impressions.schema == IMPRESSION_SCHEMA
    assert made.rejected()["impressions"] == {"slot is below 0": 1}
    counts = made.manifest["counts"]
    assert (counts["impressions"], counts["rejected_impressions"], counts["duplicate_impressions"]) == (2, 1, 0)
    assert histories_by_id(made) == histories_by_id(store)
    assert made.fingerprint != store.fingerprint


def test_a_store_that_ends_earlier_has_those_of_before(raw, tmp_path, make_builder):
    write(raw, shown("r9", "ben", timestamp=at(33)), part=1)
    made = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5).build()[0]
    assert made.impressions.count_rows() == 3
    assert made.until(int(at(32).timestamp()) * 1_000_000).impressions.count_rows() == 2


def test_without_any(store):
    assert store.impressions.count_rows() == 0
    assert store.impressions.schema == IMPRESSION_SCHEMA


def test_too_many_bad_ones(raw, tmp_path, make_builder):
    words = (
        r"impressions/: 33.3% of the rows are bad \(1 of 3\), over data.max_rejected_fraction=0.1; .*slot is below 0"
    )
    with pytest.raises(UserError, match=words):
        make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.1).build()
    assert pq.read_table(tmp_path / "stores/rejected/impressions.parquet").num_rows == 1


class TestAnotherDay:
    @pytest.fixture
    def grown(self, raw, tmp_path, make_builder):
        """A store that grew by a day, and a function that makes another one of the same data."""
        builder = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5)
        before = builder.build()[0]
        write(raw, shown("r1", "ann"), shown("r5", "dee"), part=1)
        raw_set.write_part(raw, "events", raw_set.event_table([("dee", "a1", at(34), "play", 1, None)]), 2)
        return before, builder.build()[0]

    def test_it_is_what_reading_everything_gives(self, grown, raw, tmp_path, make_builder):
        whole = make_builder(raw, tmp_path / "other", max_rejected_fraction=0.5).build()[0]
        assert grown[1].impressions.to_table().equals(whole.impressions.to_table())
        assert grown[1].rejected() == whole.rejected()
        assert grown[1].rejected()["impressions"] == {"duplicate": 1, "slot is below 0": 1}

    def test_nothing_of_before_is_read_again(self, grown):
        (old,) = (grown[0].folder / "impressions").iterdir()
        assert (grown[1].folder / "impressions" / old.name).samefile(old)

    def test_who_leaves_then_is_in_no_new_part(self, grown, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "users", pa.table({"user_id": ["ann"], "deleted": [True]}), 1)
        after = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5).build()[0]
        assert after.impressions.to_table()["user_id"].to_pylist() == ["dee"]
        assert "impressions" in after.rejected()
        assert after.rejected()["impressions"] == {"slot is below 0": 1}


def test_a_folder_of_nearly_this_name_is_told(raw, tmp_path, make_builder):
    (raw / "impressions").rename(raw / "impression")
    builder = make_builder(raw, tmp_path / "stores")
    builder.build()
    assert any(f"call it {raw}/impressions/" in remark for remark in builder.remarks)


def test_times_without_a_zone_are_told(raw, tmp_path, make_builder):
    row = shown("r7", "ann")
    naive = pa.table({"request_id": ["r7"], "user_id": ["ann"], "timestamp": [row["timestamp"].replace(tzinfo=None)]})
    raw_set.write_part(raw, "impressions", naive, 1)
    builder = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5)
    assert row["timestamp"] in builder.build()[0].impressions.to_table()["timestamp"].to_pylist()
    assert any(remark.startswith("impressions/, part-1.parquet: timestamps have no time") for remark in builder.remarks)
