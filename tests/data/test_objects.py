"""Objects of a store where no server is needed: fsspec's filesystem in memory holds them."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.data import raw_set
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.sources.remote import RemotePath, StoreError


class Store(MemoryFileSystem):
    """Counts what it is asked for, and fails once after a number of answers."""

    cachable = False  # codespell:ignore cachable
    answers_left = 10**9

    def cat_file(self, path, start=None, end=None, **others):
        self.answers_left -= 1
        if self.answers_left == -1:
            raise TimeoutError("no answer")
        return super().cat_file(path, start, end, **others)


@pytest.fixture
def store():
    yield Store()
    MemoryFileSystem.store.clear()  # all of them share it


def put(store, name, path, version="1"):
    """Puts a file into the store under a name."""
    content = path.read_bytes()
    store.pipe_file(f"/{name}", content)
    return RemotePath(f"s3://plays/{name}", store, f"/{name}", len(content), version)


def test_a_read_that_fails_once_is_no_damaged_file(store, tmp_path):
    """While a view is made, and while damage is looked for."""
    local = raw_set.write_part(tmp_path, "events", raw_set.event_table(raw_set.EVENTS))
    path, other = put(store, "a.parquet", local), put(store, "b.parquet", local)
    with DuckDbEngine().open(tmp_path, None) as database:
        store.answers_left = 0
        with pytest.raises(StoreError, match=r"^s3://plays/a\.parquet: cannot be read .no answer.$"):
            database.scan("events", [path], ["user_id"])
        store.answers_left = 0
        with pytest.raises(StoreError, match="no answer"):
            database.fault_of(other)
        assert database.fault_of(other) is None
        database.scan("events", [path], ["user_id"])
        assert database.count("events") == len(raw_set.EVENTS)
