"""Raw tables in a database: runs the SQL files on an engine, and reads the results back as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.data import raw
from towers.data.engines.engine import BATCH_ROWS, Database, Unreadable
from towers.data.event_times import EARLIEST, LATEST
from towers.data.sources.tables import RawTables
from towers.features.settings import FeatureSettings
from towers.manifest import digest_of_file

SQL = Path(__file__).parent / "sql"
OF_EVENTS = ("listeners", "events", "arrivals", "rejected_events", "impressions", "earlier_parts")
"""SQL files that decide what of the raw events and impressions is kept."""


def sql_digests(names: Sequence[str] | None = None) -> list[str]:
    """Returns digests of SQL files, which decide a store as settings do; null: of all of them."""
    paths = SQL.glob("*.sql") if names is None else [SQL / f"{name}.sql" for name in names]
    return [digest_of_file(path) for path in sorted(paths)]


class Tables:
    """The raw tables in a database, and the clean ones that the SQL files make of them.

    Args:
        database: an engine's, without tables.
        tables: the raw files; of events only those that are still to be read.
        features: settings that name the columns of listeners to keep.
    """

    def __init__(self, database: Database, tables: RawTables, features: FeatureSettings):
        self._database = database
        self._tables = tables
        self._features = features

    def open(self, files: Mapping[str, int]) -> None:
        """Makes the raw tables known.

        Args:
            files: the number of each raw file of events in order of arrival, by the file's name in the database.

        Raises:
            UserError: a bad file or column.
        """
        raw.check_user_columns(self._features)
        extra = {schema.USERS: raw.columns_to_keep(self._tables, self._features)}
        for table in schema.TABLES:
            self.define(raw.select_raw(self._tables, table, extra.get(table, ())), f"raw_{table}")
        self.put("files", {"filename": pa.array(files, pa.string()), "file": pa.array(files.values(), pa.int32())})

    def read_lists(self, asked_to_forget: Sequence[str]) -> None:
        """Reads and judges listeners, contents and playlists.

        Raises:
            UserError: a bad file.
        """
        self.put("kinds", {"kind": pa.array(schema.KIND_CODES), "kind_code": pa.array(schema.KIND_CODES.values())})
        self.put("asked_to_forget", {"user_id": pa.array(asked_to_forget, pa.string())})
        self.run("listeners")
        self.run("listed")
        self.run("rejected_lists")

    def read_events(self, until_file: Mapping[str, int]) -> None:
        """Reads the listeners and contents that events name.

        Args:
            until_file: file number by listener; events of that listener in files of a lower number are not read. It
                comes on top of listeners who are to be forgotten.

        Raises:
            UserError: a bad file.
        """
        self.put(
            "returned",
            {"user_id": pa.array(until_file, pa.string()), "until_file": pa.array(until_file.values(), pa.int32())},
        )
        actions = {
            "action": pa.array(schema.ACTIONS),
            "action_code": pa.array(np.arange(len(schema.ACTIONS), dtype=np.int8)),
            "needs_content": pa.array([action not in schema.ACTIONS_WITHOUT_CONTENT for action in schema.ACTIONS]),
        }
        self.put("actions", actions)
        bounds = {"earliest_us": [_microseconds(EARLIEST)], "latest_us": [_microseconds(LATEST)]}
        self.put("settings", {name: pa.array(value, pa.int64()) for name, value in bounds.items()})
        self.run("events")

    def put(self, name: str, columns: Mapping[str, pa.Array | np.ndarray | list[int]]) -> None:
        """Makes a table of columns; rows whose first column is null are left out."""
        given = pa.table(dict(columns))
        self._database.put(name, given.filter(given.column(0).is_valid()) if given.column(0).null_count else given)

    def define(self, view: raw.RawView, name: str) -> None:
        """Makes a raw table known under a name; its files are opened.

        Raises:
            UserError: the raw data cannot be read.
        """
        with self._told():
            view.define(self._database, name)

    def scan(self, name: str, paths: Sequence[Path], like: pa.Schema, *, with_places: bool = True) -> None:
        """Makes files known that were written by an earlier run; see `Database.scan`.

        Args:
            name: name of the view.
            paths: paths of the files; without any the view is empty.
            like: the columns to read.
            with_places: see `Database.scan`.
        """
        if paths:
            self._database.scan(name, paths, like.names, with_places=with_places)
            return
        places = [("filename", pa.string()), ("file_row_number", pa.int64())] if with_places else []
        self._database.put(name, pa.schema([*like, *places]).empty_table())

    def row(self, name: str) -> dict[str, Any]:
        """Returns the single row of a view, by column."""
        (row,) = self.table(name).to_pylist()
        return row

    def texts(self, name: str, order: Sequence[str] = ()) -> list[str]:
        """Returns the first column of a view, of text."""
        return self.table(name, order).column(0).to_pylist()

    def column(self, name: str, column: str, order: Sequence[str] = ()) -> pa.Array:
        """Returns one column of a view."""
        return self.table(name, order)[column].combine_chunks()

    def count(self, name: str) -> int:
        """Returns the number of rows of a view."""
        with self._told():
            return self._database.count(name)

    def table(self, name: str, order: Sequence[str] = ()) -> pa.Table:
        """Returns all rows of a view, in memory; see `Database.table`."""
        with self._told():
            return self._database.table(name, order)

    def batches(
        self,
        name: str,
        order: Sequence[str] = (),
        num_rows: int = BATCH_ROWS,
        *,
        where: Mapping[str, int] | None = None,
        is_sorted: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a view in bounded memory; see `Database.batches`."""
        with self._told():
            yield from self._database.batches(name, order, num_rows, where=where, is_sorted=is_sorted)

    def run(self, name: str) -> None:
        """Runs an SQL file.

        Raises:
            UserError: the raw data cannot be read.
        """
        with self._told():
            self._database.run(SQL / f"{name}.sql")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns the database's errors about raw data into an error that names the file."""
        try:
            yield
        except Unreadable as error:
            raise raw.unreadable(self._tables, str(error), self._database.fault_of) from error


def _microseconds(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000
