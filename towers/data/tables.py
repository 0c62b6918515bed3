"""Raw tables in a database: runs the SQL files on DuckDB, out of core, and reads the results back as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.data import raw
from towers.data.event_times import EARLIEST, LATEST
from towers.data.memory import memory_bytes
from towers.data.sources.tables import RawTables
from towers.disk import is_full
from towers.errors import UserError
from towers.features.settings import FeatureSettings
from towers.manifest import digest_of_file

SQL = Path(__file__).parent / "sql"
BATCH_ROWS = 200_000
MEMORY_GB = 2.0
"""Upper bound of the database's default memory, in 10^9 bytes."""
DATA_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)


OF_EVENTS = ("listeners", "events", "arrivals", "impressions")
"""SQL files that decide what of the raw events and impressions is kept."""


def sql_digests(names: Sequence[str] | None = None) -> list[str]:
    """Returns digests of SQL files, which decide a store as settings do; null: of all of them."""
    paths = SQL.glob("*.sql") if names is None else [SQL / f"{name}.sql" for name in names]
    return [digest_of_file(path) for path in sorted(paths)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spill:
    """How much memory the database may take, and where it writes what does not fit.

    Args:
        memory_gb: in 10^9 bytes; null for a quarter of the memory of the machine or the process's control group, at
            most `MEMORY_GB`, since arrays and Python itself need room as well.
        folder: for what does not fit into memory; null for a folder beside the store.

    Raises:
        UserError: an amount that is not above 0.
    """

    memory_gb: float | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise UserError(f"data.memory_gb={self.memory_gb}: must be above 0, or null for the default")

    @property
    def bytes(self) -> int:
        """The amount of memory in bytes."""
        if self.memory_gb is not None:
            return int(self.memory_gb * 1e9)
        return int(min(MEMORY_GB * 1e9, memory_bytes() / 4))


@contextmanager
def database(folder: Path, spill: Spill) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB file below `folder` that may spill to disk.

    Raises:
        UserError: a question mark in the folder's path, behind which DuckDB looks for settings.
    """
    path = str(folder.absolute() / "work.duckdb")  # whole, or `a:b` would be read as a kind of database
    if "?" in path:
        raise UserError(f"{folder.absolute().parent}: a store cannot be made below a folder with a `?` in its name")
    connection = duckdb.connect(path)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")  # whatever needs an order is sorted
        connection.execute(f"SET memory_limit = '{spill.bytes}B'")
        connection.execute("SET temp_directory = $1", [str(((spill.folder or folder) / "spill").absolute())])
        yield connection
    finally:
        connection.close()


class Tables:
    """The raw tables in a database, and the clean ones that the SQL files make of them.

    Args:
        connection: the connection that `database` yields.
        tables: the raw files; of events only those that are still to be read.
        features: which listener columns to carry.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: RawTables, features: FeatureSettings):
        self._connection = connection
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
            self.view(f"raw_{table}", raw.select_raw(self._tables, table, extra.get(table, ())))
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

    def read_events(self, until_file: Mapping[str, int]) -> None:
        """Reads whom and what events name.

        Args:
            until_file: listeners of whom nothing is read in files of a lower number, beside those who are forgotten.

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
        self._connection.register("given", given)
        self._connection.execute(
            f'CREATE TABLE {name} AS SELECT * FROM given WHERE "{given.column_names[0]}" IS NOT NULL'
        )
        self._connection.unregister("given")

    def view(self, name: str, query: str) -> None:
        """Makes a view of a query; files of which it reads are opened.

        Raises:
            UserError: the raw data cannot be read.
        """
        with self._told():
            self._connection.execute(f"CREATE VIEW {name} AS {query}")

    def row(self, query: str) -> dict[str, Any]:
        """The single row that `query` gives, by column."""
        (row,) = self.table(query).to_pylist()
        return row

    def texts(self, query: str) -> list[str]:
        """The single column of `query`, of text."""
        return self.table(query).column(0).to_pylist()

    def count(self, query: str) -> int:
        """The single number that `query` gives."""
        ((number,),) = self._connection.execute(query).fetchall()  # a result left half read blocks the connection
        return int(number or 0)

    def table(self, query: str) -> pa.Table:
        """The whole result, in memory."""
        with self._told():
            return self._connection.sql(query).to_arrow_table()

    def batches(self, query: str, num_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Yields the result in batches of `num_rows` rows, in bounded memory."""
        with self._told():
            yield from self._connection.sql(query).to_arrow_reader(num_rows)

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """While the block runs, a query that only reads one file returns the rows in the file's order."""
        self._connection.execute("SET preserve_insertion_order = true")
        try:
            yield
        finally:
            self._connection.execute("SET preserve_insertion_order = false")

    def column(self, query: str) -> pa.Array:
        """The single column of `query`."""
        return self.table(query).column(0).combine_chunks()

    def run(self, name: str) -> None:
        """Runs an SQL file.

        Raises:
            UserError: the raw data cannot be read.
        """
        with self._told():
            self._connection.execute((SQL / f"{name}.sql").read_text())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns the database's errors about raw data into an error that names the file."""
        try:
            yield
        except duckdb.Error as error:
            # What Parquet's own decoder throws has no class of its own.
            if is_full(error):
                raise
            if type(error) is not duckdb.Error and not isinstance(error, DATA_ERRORS):
                raise
            raise raw.unreadable(self._tables, " ".join(str(error).split())) from error


def _microseconds(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000
