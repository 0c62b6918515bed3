"""Forgotten listeners are found in and removed from rows, stores and exports; all other listeners stay as they are."""

import json
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.raw_set import at
from tests.data.read_back import histories_by_id
from tests.lifecycle.naming import naming
from towers.data.store import Store
from towers.errors import UserError
from towers.lifecycle import forgetting_evaluations as evaluations
from towers.lifecycle import forgetting_exports as exports
from towers.lifecycle import forgetting_rows as rows
from towers.lifecycle import forgetting_stores as stores
from towers.lifecycle.forgetting import Record, Trace
from towers.manifest import point_to, same_file
from towers.retrieval.export import Export
from towers.retrieval.verify import problems

GOLDEN = Path(__file__).parents[1] / "golden"


class TestRows:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
    def test_what_is_kept_is_what_a_loop_keeps(self, tmp_path_factory, lengths, data):
        gone = data.draw(st.sets(st.integers(0, len(lengths) - 1)))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = np.arange(2 * offsets[-1], dtype=np.int16).reshape(-1, 2)
        spans = rows.spans_of(offsets, np.array(sorted(gone), np.int64))
        folder = tmp_path_factory.mktemp("kept")
        np.save(folder / "values.npy", values)
        rows.write_kept(folder / "values.npy", folder / "kept.npy", spans)
        lists = [[] if one in gone else values[offsets[one] : offsets[one + 1]].tolist() for one in range(len(lengths))]
        kept = np.load(folder / "kept.npy")
        assert kept.dtype == values.dtype
        assert kept.tolist() == [*chain.from_iterable(lists)]
        assert rows.places_without(offsets, spans).tolist() == [0, *np.cumsum([len(one) for one in lists])]

    def test_a_hole_says_nothing_and_has_no_bytes(self, tmp_path):
        table = pa.table({
            "user_id": ["ann", "ben"], "content_row": [0, 1], "num_events": [3, 4], "is_withdrawn": [True, True],
            "age": [30, 40], "genres": [["folk"], ["jazz"]],
        })  # fmt: skip
        found = rows.blanked(table, np.array([0]))
        assert found.to_pylist()[0] == {"user_id": None, "content_row": 0, "num_events": 0, "is_withdrawn": False,
                                        "age": None, "genres": None}  # fmt: skip
        assert found.to_pylist()[1] == table.to_pylist()[1]
        same_file(Path(__file__), tmp_path / "another" / "name")
        with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, found.schema) as writer:
            writer.write_table(found)
        assert naming(tmp_path, "ann", "folk") == [tmp_path / "another" / "name"]

    def test_a_callers_own_columns_may_be_called_anything(self):
        table = pa.table({"user_id": ["ann", "ben"], "num_kids": ["no", "no"], "is_old": [1, 2], "content_row": [1, 2]})
        found = rows.blanked(table, np.array([0]), is_ours=False).to_pylist()
        assert found == [dict.fromkeys(table.column_names), table.to_pylist()[1]]

    def test_rows_go_and_the_file_stays_as_it_was(self, tmp_path):
        path = tmp_path / "lists.parquet"
        table = pa.table({"user_id": ["a", "b", None, "a"], "owner_id": [None, None, "a", "b"], "n": [1, 2, 3, 4]})
        table = table.replace_schema_metadata({"signature": "s"})
        pq.write_table(table, path, row_group_size=2, compression="zstd")
        assert rows.count_in(path, ["a", "nobody"]) == 3
        rows.drop_rows(path, ["a"])
        assert rows.count_in(path, ["a"]) == 0
        assert pq.read_table(path)["n"].to_pylist() == [2]
        assert pq.read_schema(path).metadata == {b"signature": b"s"}
        assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"

    def test_rows_of_the_store_are_theirs_too(self, tmp_path):
        path = tmp_path / "listeners.parquet"
        pq.write_table(pa.table({"user_row": [4, 5, 4]}), path)
        assert (rows.count_in(path, ["a"]), rows.count_in(path, ["a"], {4, 9})) == (0, 2)
        rows.drop_rows(path, ["a"], {4})
        assert pq.read_table(path)["user_row"].to_pylist() == [5]

    def test_a_damaged_table_is_said(self, tmp_path):
        (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
        with pytest.raises(UserError, match=r"x\.parquet: cannot be read .* the listeners in it are unknown"):
            rows.count_in(tmp_path / "x.parquet", ["a"])


class TestStores:
    @pytest.fixture
    def place(self, raw, tmp_path, make_builder):
        """A store in which ben has events, a row that was rejected and a playlist of his own."""
        table = pa.table({
            "playlist_id": ["own-1"], "title": ["Mine alone"], "owner_id": ["ben"], "content_ids": [["a1", "a2"]],
            "curator": ["listener"], "created": [at(1)],
        })  # fmt: skip
        pq.write_table(table, raw / "playlists" / "part-9.parquet")
        make_builder(raw, tmp_path / "stores" / "set", max_rejected_fraction=1.0).build()
        return tmp_path / "stores"

    def version(self, place):
        (folder,) = stores.versions_in(place)
        return folder

    def test_holes_and_everybody_else_as_before(self, place):
        folder = self.version(place)
        before = Store(folder)
        told, counts, ended = histories_by_id(before), before.manifest["counts"], before.histories.test_start.tolist()
        found = stores.held(folder, ["ben", "nobody"])
        assert found.num_events == len(told["ben"]) > 0
        assert found.playlist_ids == ("own-1",)
        assert naming(folder, "ben")
        stores.replace_version(found, ["ben", "nobody"])
        after = Store(folder)
        assert naming(folder, "ben", "Mine alone") == []
        assert histories_by_id(after) == {user: events for user, events in told.items() if user != "ben"} | {None: []}
        row = int(found.rows[0])
        assert after.user_codes[row].tolist() == [0]
        lengths = np.diff(after.histories.offsets)
        assert (after.histories.test_start <= after.histories.offsets[1:]).all()
        left = [end - start for end, start in zip(ended, before.histories.offsets[:-1].tolist(), strict=True)]
        left[row] = 0
        assert (after.histories.test_start - after.histories.offsets[:-1]).tolist() == left
        assert after.manifest["counts"]["events"] == counts["events"] - found.num_events == lengths.sum()
        assert after.manifest["counts"]["positives"] == int(np.sum(after.histories.is_positive))
        assert after.manifest["counts"]["forgotten_users"] == counts["forgotten_users"] + 1
        assert after.fingerprint == folder.name
        assert stores.held(folder, ["ben"]).told == ""
        assert [path.name for path in folder.parent.iterdir() if path.name.startswith(f".{folder.name}")] == []

    def test_files_that_are_open_are_read_on(self, place):
        folder = self.version(place)
        histories = Store(folder).histories
        before = np.array(histories.content_row)
        stores.replace_version(stores.held(folder, ["ben"]), ["ben"])
        assert np.array_equal(histories.content_row, before)

    @pytest.mark.parametrize("killed_at", range(3))
    def test_a_kill_between_two_names(self, place, monkeypatch, killed_at):
        """The version exists, or exists again after the next start."""
        folder, rename, renamed = self.version(place), Path.rename, []

        def dying(path, target):
            if len(renamed) == killed_at:
                raise KeyboardInterrupt
            renamed.append(target)
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            stores.replace_version(stores.held(folder, ["ben"]), ["ben"])
        monkeypatch.undo()
        stores.finish_swaps(place)
        found = stores.held(folder, ["ben"])
        if found.told:
            stores.replace_version(found, ["ben"])
        assert naming(folder, "ben") == []
        assert [path.name for path in place.glob("set/.*") if folder.name in path.name] == []
        assert "ann" in Store(folder).user_ids

    def test_rows_by_fingerprint_know_refreshed_stores(self, place):
        folder = self.version(place)
        found = stores.held(folder, ["ben"])
        later = shutil.copytree(folder, folder.with_name("later"))
        gone = stores.rows_by_fingerprint([found, stores.held(later, ["ben"])])
        theirs = {int(found.rows[0])}
        assert gone[folder.name] == gone["later"] == theirs
        assert gone[stores.refreshed_fingerprint(folder.name, "later")] == theirs
        assert stores.rows_by_fingerprint([stores.held(folder, ["nobody"])]) == {}


class TestExports:
    @pytest.fixture(params=[2, 3, 4])
    def place(self, request, tmp_path):
        """Exports with one version, which is current."""
        target = tmp_path / "exports" / "20260101-001-abc"
        shutil.copytree(GOLDEN / f"format-{request.param}" / "export", target)
        point_to(target.parent / "current", target)
        return target.parent

    def test_a_version_without_them_takes_the_place(self, place):
        before = Export((place / "current").resolve())
        gone, others = before.user_ids[0], before.user_ids[1:]
        vectors, events = before.user_vectors[1:].copy(), [len(before.events(row)) for row in range(1, len(others) + 1)]
        found = exports.exported(before.folder, [gone])
        assert found.told
        target = exports.replace_export(place, found, [gone])
        assert [path.name for path in sorted(place.iterdir())] == ["20260101-001-abc-1", "current"]
        after = Export(place / "current")
        assert after.folder == target.resolve()
        assert list(problems(after, 0.9)) == []
        assert naming(place, gone) == []
        assert after.user_ids[:] == others
        assert np.array_equal(after.user_vectors, vectors)
        assert [len(after.events(row)) for row in range(len(others))] == events
        assert after.space_id == before.space_id
        assert after.version == target.name

    def test_who_is_in_no_export(self, place):
        assert exports.exported(place / "20260101-001-abc", ["nobody"]).told == ""

    def test_numbers_go_on_and_a_kill_is_made_good(self, place, monkeypatch):
        first, second = Export(place / "current").user_ids[:2]
        folder = place / "20260101-001-abc"
        monkeypatch.setattr(exports, "remove", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            exports.replace_export(place, exports.exported(folder, [first]), [first])
        monkeypatch.undo()
        assert folder.exists()
        exports.finish_replacing(place, list(exports.versions_in(place)))
        (left,) = exports.versions_in(place)
        assert left.name == "20260101-001-abc-1" == (place / "current").resolve().name
        exports.replace_export(place, exports.exported(left, [second]), [second])
        assert [path.name for path in exports.versions_in(place)] == ["20260101-001-abc-2"]
        assert naming(place, first, second) == []

    def test_what_is_not_sound_is_not_put_there(self, place, monkeypatch):
        gone = Export(place / "current").user_ids[0]
        monkeypatch.setattr(exports, "problems", lambda *given: ["a fault"])
        with pytest.raises(UserError, match=r"a version without them would be damaged .a fault."):
            exports.replace_export(place, exports.exported(place / "20260101-001-abc", [gone]), [gone])
        assert [path.name for path in sorted(place.iterdir())] == ["20260101-001-abc", "current"]


def test_a_playlist_of_theirs_is_withdrawn(tmp_path):
    target = tmp_path / "exports" / "v"
    shutil.copytree(GOLDEN / "format-4" / "export", target)
    with pa.memory_map(str(target / "playlists.arrow")) as file:
        owned = [row for row in pa.ipc.open_file(file).read_all().to_pylist() if row["owner_id"] is not None]
    assert owned, "the golden export has a playlist of a listener's"
    owner = owned[0]["owner_id"]
    title = Export(target).contents["title"][owned[0]["content_row"]].as_py()
    assert naming(target, title)
    exports.replace_export(target.parent, exports.exported(target, [owner]), [owner])
    after = Export(tmp_path / "exports" / "v-1")
    row = after.contents.slice(owned[0]["content_row"], 1).to_pylist()[0]
    assert (row["title"], row["is_withdrawn"]) == (None, True)
    assert sum(after.contents["is_withdrawn"].to_pylist()) == sum(one["owner_id"] == owner for one in owned)
    assert naming(tmp_path, owner, title) == []


def test_a_page_that_shows_them_goes_and_is_made_again(tmp_path):
    folder = tmp_path / "run" / "evaluation-test"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"metadata": {"store": "s", "fingerprint": "f"}, "rankers": {}}))
    (folder / "report.html").write_text("<b>a&amp;b</b> and ann2")
    pq.write_table(pa.table({"user_row": [1, 2], "user_id": ["ann", "a&b"]}), folder / "profiles.parquet")
    pq.write_table(pa.table({"user_row": [2, 1, 2]}), folder / "lists.parquet")
    assert list(evaluations.evaluations_in(tmp_path)) == [folder]
    found = evaluations.judged(folder, ["ann"], {})
    assert (found.told, found.rows) == ("lists.parquet, profiles.parquet", {1})
    evaluations.clear_evaluation(found, ["ann"])
    assert (folder / "report.html").exists()
    found = evaluations.judged(folder, ["a&b"], {})
    assert found.told == "lists.parquet, profiles.parquet, report.html"
    evaluations.clear_evaluation(found, ["a&b"])
    assert not (folder / "report.html").exists()
    assert json.loads((folder / "metrics.json").read_text())["metadata"] == {"store": "s", "fingerprint": None}
    assert evaluations.judged(folder, ["ann", "a&b"], {"s": {1, 2}}).told == ""


def test_texts_that_have_the_id_as_a_word(tmp_path):
    for name, text in {"a.log": "said user=ann.", "b.log": "annette", "c.npy": "ann", "d.json": '["ann", 42]'}.items():
        (tmp_path / name).write_text(text)
    assert [path.name for path in evaluations.mentions([tmp_path], ["ann", "42"])] == ["a.log", "d.json"]
    assert list(evaluations.mentions([tmp_path], ["42"])) == []


def test_the_record_is_added_to_while_things_go(tmp_path):
    trace = Trace(kind="export", path=Path("exports/v1"), told="1 listener", fate="goes", erase=lambda: None)
    for _ in range(2):
        record = Record(tmp_path / "forgotten.json", "towers forget remove=true", 3)
        record.add(trace)
        record.write(is_finished=True)
    entries = json.loads((tmp_path / "forgotten.json").read_text())["forgotten"]
    assert [(entry["listeners"], entry["finished"], len(entry["removed"])) for entry in entries] == [(3, True, 1)] * 2
    assert entries[0]["removed"] == [{"kind": "export", "path": "exports/v1", "done": "goes"}]
