"""A log read back: all that a server wrote, in order; and each kind of bad row by its file and its row."""

import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.contract.impressions import IMPRESSION_SCHEMA, Impression
from towers.errors import UserError
from towers.lifecycle.home.log import LOGGED_SCHEMA, numbered, read_log
from towers.service.home_log import CardIds, HomeLog, Outcome

CARDS = CardIds(["a", "b", "c"])
GOOD = {
    "request_id": "r1", "user_id": "u", "timestamp": 2_000_000, "candidate_ids": ["a", "b"], "chosen_id": "a",
    "slot": 0, "shelf": "picked", "propensity": 0.5, "policy_id": "home@000001", "space_id": "space",
}  # fmt: skip


def rows(*changes: dict) -> pa.Table:
    nobody = dict.fromkeys(IMPRESSION_SCHEMA.names)
    return pa.Table.from_pylist([nobody | GOOD | change for change in changes], IMPRESSION_SCHEMA)


def written(folder: Path, **tables: pa.Table) -> Path:
    (folder / "impressions").mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / "impressions" / f"part-{name}.parquet")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestWhatIsRead:
    def test_in_the_order_of_time_request_and_slot(self, tmp_path):
        late = rows({"request_id": "r0", "timestamp": 3_000_000, "slot": 1, "chosen_id": "b"})
        early = rows({"slot": 1, "candidate_ids": ["c"], "chosen_id": "c"}, {}, {"request_id": "r0", "slot": 3})
        early = early.set_column(2, "timestamp", pa.array([2, 2, 3]).cast(IMPRESSION_SCHEMA.field("timestamp").type))
        folder = written(tmp_path, b=early, a=late)
        found = read_log(folder)
        assert found.schema == LOGGED_SCHEMA
        told = [(row["request_id"], row["slot"], row["candidate_ids"]) for row in found.to_pylist()]
        assert told == [("r1", 0, ["a", "b"]), ("r1", 1, ["c"]), ("r0", 3, ["a", "b"]), ("r0", 1, ["a", "b"])]
        assert read_log(folder / "impressions").equals(found)
        assert [row["slot"] for row in read_log(folder, after_us=3).to_pylist()] == [1]
        assert len(read_log(folder, after_us=3_000_000)) == 0

    def test_numbers_of_ids_say_the_same_as_the_ids(self):
        table = rows({}, {"candidate_ids": None}, {"candidate_ids": ["c", None, "a"]}, {"candidate_ids": []})
        both = pa.concat_tables([table, table.slice(1, 2)])
        found = numbered(both)
        assert found.schema == LOGGED_SCHEMA
        assert found["candidate_ids"].to_pylist() == both["candidate_ids"].to_pylist()
        assert numbered(found) is found

    def test_raw_data_of_other_types_and_without_some_columns(self, tmp_path):
        table = rows({}).drop_columns(["saved", "shelf", "candidate_ids"])
        table = table.set_column(table.column_names.index("user_id"), "user_id", pa.array([7]))
        row = read_log(written(tmp_path, a=table)).to_pylist()[0]
        assert (row["user_id"], row["shelf"], row["saved"], row["candidate_ids"]) == ("7", None, None, None)

    def test_a_served_log_up_to_the_first_row_that_waits(self, tmp_path):
        """One card of the second page waits, so that a part has a page with a gap; the third is later."""
        log = HomeLog(tmp_path / "log")
        assert len(read_log(tmp_path / "log")) == 0
        bits = np.packbits([True, True, True]).tobytes()
        for page in range(3):
            for slot in range(2):
                shown = Impression(
                    request_id=f"r{page}", user_id="u", timestamp_us=1_000_000 * (page + 1), chosen_id="ab"[slot],
                    slot=slot, shelf="picked", propensity=0.5, policy_id="home@000001", space_id="space",
                )  # fmt: skip
                log.show([shown], CARDS, [bits])
                if (page, slot) != (1, 0):
                    log.tell(Outcome(request_id=f"r{page}", slot=slot, clicked=True), 1_000_001 * (page + 1))
        log.write_parts(5_000_000)
        found = read_log(tmp_path / "log").to_pylist()
        assert [(row["request_id"], row["slot"]) for row in found] == [("r0", 0), ("r0", 1)]
        assert found[0]["candidate_ids"] == ["a", "b", "c"]
        log.write_parts(6_000_000, everything=True)
        assert len(read_log(tmp_path / "log")) == 6
        log.close()


BAD = {
    "no propensity": ({"propensity": None}, "row 1: has no propensity"),
    "a propensity of 0": ({"propensity": 0.0}, r"row 1: propensity must be above 0 and at most 1, got 0\.0"),
    "a propensity above 1": ({"propensity": 1.3}, r"row 1: propensity must be above 0 and at most 1, got 1\.3"),
    "no number": ({"propensity": float("nan")}, "row 1: propensity must be above 0"),
    "a slot twice": ({"slot": 0}, r"row 1: slot 0 of request r1 occurs twice, see .*part-a.parquet, row 0"),
    "another listener": ({"user_id": "v"}, "row 1: request r1 names another listener"),
    "no candidate": ({"chosen_id": "z"}, "row 1: chosen_id 'z' is not among the 2 candidate_ids"),
    "of no candidates": ({"candidate_ids": []}, "row 1: chosen_id 'a' is not among the 0 candidate_ids"),
    "a slot below 0": ({"slot": -1}, "row 1: slot must be 0 or more"),
    "no slot": ({"slot": None}, "row 1: has no slot"),
    "nothing chosen": ({"chosen_id": None}, "row 1: has no chosen_id"),
    "no request": ({"request_id": None}, "row 1: has no request_id"),
    "no listener": ({"user_id": None}, "row 1: has no user_id"),
    "no time": ({"timestamp": None}, "row 1: has no timestamp"),
    "a time below 0": ({"played_ms": -1}, "row 1: played_ms must be 0 or more"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row(tmp_path, case):
    change, said = BAD[case]
    folder = written(tmp_path, a=rows({}, {"slot": 1} | change), b=rows({"request_id": "r2"}))
    before = bytes_of(tmp_path)
    with pytest.raises(UserError, match=f"part-a.parquet, {said}") as caught:
        read_log(folder)
    assert "nothing was changed" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bytes_of(tmp_path) == before


def test_a_slot_that_stands_in_two_files(tmp_path):
    folder = written(tmp_path, a=rows({}), b=rows({"request_id": "r2"}, {}))
    with pytest.raises(UserError, match=r"part-b.parquet, row 1: slot 0 of request r1 occurs twice, see .*part-a"):
        read_log(folder)


class TestFiles:
    def test_no_log(self, tmp_path):
        with pytest.raises(UserError, match=r"there is no log; give the folder of home\.log"):
            read_log(tmp_path / "nowhere")
        with pytest.raises(UserError, match="has no Parquet file"):
            read_log(tmp_path)

    def test_a_damaged_file(self, tmp_path):
        folder = written(tmp_path, a=rows({}))
        (folder / "impressions" / "part-b.parquet").write_bytes(b"PAR1 and no more")
        with pytest.raises(UserError, match=r"part-b\.parquet: cannot be read"):
            read_log(folder)

    def test_a_column_of_another_kind(self, tmp_path):
        table = rows({}).set_column(7, "propensity", pa.array(["half"]))
        with pytest.raises(UserError, match="column propensity is string, must be double"):
            read_log(written(tmp_path, a=table))

    def test_a_damaged_database(self, tmp_path):
        folder = written(tmp_path, a=rows({}))
        (folder / "open.sqlite").write_bytes(b"no database at all" * 100)
        with pytest.raises(UserError, match=r"open\.sqlite: cannot be read"):
            read_log(folder)
        (folder / "open.sqlite").unlink()
        sqlite3.connect(folder / "open.sqlite").close()
        with pytest.raises(UserError, match="no such table"):
            read_log(folder)
