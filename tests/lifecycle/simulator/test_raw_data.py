import shutil
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.simulation.listeners.logs import EXPORT, logged
from towers.data.store import Store
from towers.errors import UserError
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.raw_data import ABOUT, write_raw_data
from towers.manifest import read_json
from towers.retrieval.export import Export
from towers.simulation.listeners.export_space import space_of
from towers.simulation.listeners.raw_events import session_log

COLUMNS = (
    "listener", "content", "start_us", "session", "outcome", "fraction", "liked", "saved", "disliked", "context",
    "device",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(listened_world):
    return listened_world


@pytest.fixture(scope="module")
def space():
    return space_of(Export(EXPORT))


@pytest.fixture(scope="module")
def listened(small, space):
    return read_store(small.store, space)


def assert_same(log, other):
    assert log.user_ids == other.user_ids
    assert (log.contexts, log.devices) == (other.contexts, other.devices)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(log, name), getattr(other, name), err_msg=name)


def write(folder, log, space, small, **others):
    given = {"root": small.raw, "before": None, "impressions": (), "about": {}, **others}
    return write_raw_data(folder, log, space, **given)


def test_a_store_says_what_its_events_say(small, space, listened):
    """Deleted listeners are missing, and the order of listeners is the store's."""
    users = pq.read_table(small.raw / "users")
    gone = users.filter(users["deleted"])["user_id"]
    assert len(gone)
    kept = small.events.filter(pc.invert(pc.is_in(small.events["user_id"], gone)))
    log, left_out = session_log(logged(kept, space), space)
    assert sorted(listened.log.user_ids) == sorted(log.user_ids)
    assert listened.left_out == left_out
    assert left_out.without_content > 0
    for row, user_id in enumerate(listened.log.user_ids):
        is_theirs, is_same = listened.log.listener == row, log.listener == log.user_ids.index(user_id)
        for name in ("content", "start_us", "outcome", "fraction", "liked", "saved", "disliked", "position"):
            np.testing.assert_array_equal(getattr(listened.log, name)[is_theirs], getattr(log, name)[is_same])


def test_what_is_written_is_prepared_and_read_again(tmp_path, small, space, listened, make_builder):
    log = listened.log
    middle = int(np.median(log.start_us))
    before, after = log.between(0, middle), log.between(middle, 2**62)
    written = write(tmp_path / "out", after, space, small, before=before, about={"a": 1})
    assert make_builder(tmp_path / "out", tmp_path / "store").build()[0].has_clock
    again = read_store(tmp_path / "store", space)
    assert_same(again.log, log)
    assert again.root == str(tmp_path / "out")
    assert written.events + written.events_before == sum(
        pq.read_metadata(path).num_rows for path in (tmp_path / "out" / "events").iterdir()
    )
    assert read_json(tmp_path / "out" / ABOUT)["a"] == 1


def test_each_simulated_day_has_a_part(tmp_path, small, space, listened):
    write(tmp_path / "out", listened.log, space, small)
    for path in (tmp_path / "out" / "events").iterdir():
        days = pq.read_table(path)["timestamp"].cast("date32").unique().to_pylist()
        assert [day.isoformat() for day in days] == [path.stem]


def test_lists_and_sounds_go_along(tmp_path, world_folder, space, small, listened):
    """They are links to the same files, where the disk allows it."""
    written = write(tmp_path / "out", listened.log, space, small, root=world_folder)
    assert written.sounds == 28
    for path in (*world_folder.glob("audio/*"), *world_folder.glob("[cup]*/*.parquet")):
        assert (tmp_path / "out" / path.relative_to(world_folder)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("missing", ["root", "nothing"])
def test_what_cannot_be_written_leaves_nothing(tmp_path, small, space, listened, missing):
    if missing == "root":
        with pytest.raises(UserError, match=r"^root=.*nowhere: no such folder"):
            write(tmp_path / "out", listened.log, space, small, root=tmp_path / "nowhere")
    else:
        (tmp_path / "out").mkdir()
        with pytest.raises(UserError, match=r"^run.out=.*: exists; give another folder"):
            write(tmp_path / "out", listened.log, space, small)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class TestRefusals:
    def test_no_session_ids(self, tmp_path, small, space, make_builder):
        raw = tmp_path / "raw"
        shutil.copytree(small.raw, raw)
        pq.write_table(small.events.drop_columns(["session_id"]), raw / "events" / "part-0.parquet")
        make_builder(raw, tmp_path / "store").build()
        with pytest.raises(UserError, match=r"^store=.*: none of its 1,976 plays names a session; write session_id"):
            read_store(tmp_path / "store", space)

    def test_no_clock(self, tmp_path, small, space, monkeypatch):
        monkeypatch.setattr(Store, "has_clock", False)
        with pytest.raises(UserError, match=r"^store=.*: knows only the order of events, not their times"):
            read_store(small.store, space)

    def test_other_contents(self, small, space):
        others = replace(space, content_ids=tuple(f"other-{content_id}" for content_id in space.content_ids))
        with pytest.raises(UserError, match=r"^store=.*: has no play of a content of the export"):
            read_store(small.store, others)

    def test_no_store(self, tmp_path, space):
        with pytest.raises(UserError, match="no prepared store here"):
            read_store(tmp_path, space)
