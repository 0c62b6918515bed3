"""DuckDB, in this process: the default engine."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from towers.data.engines.engine import BATCH_ROWS, PLACES, Unreadable, quoted
from towers.data.memory import memory_bytes
from towers.data.sources.remote import RawPath, RemotePath
from towers.disk import is_full
from towers.errors import UserError

MEMORY_GB = 2.0
"""Upper bound of the database's default memory, in 10^9 bytes."""
DATA_ERRORS = (duckdb.IOException, duckdb.InvalidInputException, duckdb.ConversionException)
ROWS_AT_ONCE = 100_000


class DuckDbEngine:
    """Runs the SQL files on DuckDB, out of core.

    Args:
        memory_gb: memory that the database may take, in 10^9 bytes; null for a quarter of the memory of the machine
            or the process's control group, at most `MEMORY_GB`, since arrays and Python itself need room as well.

    Raises:
        UserError: an amount that is not above 0.
    """

    def __init__(self, memory_gb: float | None = None):
        if memory_gb is not None and not memory_gb > 0:
            raise UserError(f"data.memory_gb={memory_gb}: must be above 0, or null for the default")
        self._bytes = int(min(MEMORY_GB * 1e9, memory_bytes() / 4) if memory_gb is None else memory_gb * 1e9)

    @contextmanager
    def open(self, folder: Path, spill: Path | None) -> "Iterator[DuckDbDatabase]":
        """See `Engine`.

        Raises:
            UserError: a question mark in the folder's path, behind which DuckDB looks for settings.
        """
        with self.connected(folder, spill) as connection:
            yield DuckDbDatabase(connection)

    @contextmanager
    def connected(self, folder: Path, spill: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yields a connection to a DuckDB file below `folder` that may spill to disk.

        Raises:
            UserError: as `open`.
        """
        path = str(folder.absolute() / "work.duckdb")  # whole, or `a:b` would be read as a kind of database
        if "?" in path:
            raise UserError(f"{folder.absolute().parent}: a store cannot be made below a folder with a `?` in its name")
        connection = duckdb.connect(path)
        try:
            connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # the file is thrown away
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET preserve_insertion_order = false")  # queries that need an order sort
            connection.execute(f"SET memory_limit = '{self._bytes}B'")
            connection.execute("SET temp_directory = $1", [str(((spill or folder) / "spill").absolute())])
            yield connection
        finally:
            connection.close()


class DuckDbDatabase:
    """Tables and views in DuckDB; see `Database`.

    Args:
        connection: connection to the database, whose time zone is UTC.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection
        self._stores: dict[str, Any] = {}

    def scan(self, name: str, paths: Sequence[RawPath], columns: Sequence[str], *, with_places: bool = True) -> None:
        """See `Database`.

        Raises:
            UserError: a path that DuckDB cannot open.
        """
        self._make_known(path for path in paths if isinstance(path, RemotePath))
        listed = ", ".join(map(path_in_sql, paths))
        places = ", filename = true, file_row_number = true" if with_places else ""
        shown = ", ".join(map(quoted, (*columns, *(PLACES if with_places else ()))))
        self.view(
            name,
            f"SELECT {shown} FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false{places})",
        )

    def put(self, name: str, rows: pa.Table) -> None:
        """See `Database`."""
        self._connection.register("given", rows)
        self._connection.execute(f"CREATE TABLE {name} AS SELECT * FROM given")
        self._connection.unregister("given")

    def view(self, name: str, query: str) -> None:
        """See `Database`."""
        with self._told():
            self._connection.execute(f"CREATE VIEW {name} AS {query}")

    def run(self, path: Path) -> None:
        """See `Database`."""
        with self._told():
            self._connection.execute(path.read_text())

    def table(self, name: str, order: Sequence[str] = ()) -> pa.Table:
        """See `Database`."""
        with self._told():
            return self._connection.sql(_query(name, order)).to_arrow_table()

    def batches(
        self,
        name: str,
        order: Sequence[str] = (),
        num_rows: int = BATCH_ROWS,
        *,
        where: Mapping[str, int] | None = None,
        is_sorted: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """See `Database`."""
        query = _query(name, () if is_sorted else order, where)
        with self._in_order(is_sorted), self._told():
            yield from self._connection.sql(query).to_arrow_reader(num_rows)

    def count(self, name: str) -> int:
        """See `Database`."""
        with self._told():
            # A result left half read blocks the connection.
            ((number,),) = self._connection.execute(f"SELECT COUNT(*) FROM {name}").fetchall()
        return int(number)

    def fault_of(self, path: RawPath) -> str | None:
        """See `Database`."""
        with duckdb.connect() as connection:
            other = DuckDbDatabase(connection)
            other._make_known([path] if isinstance(path, RemotePath) else [])
            try:
                for _ in connection.sql(f"FROM read_parquet({path_in_sql(path)})").to_arrow_reader(ROWS_AT_ONCE):
                    pass
            except duckdb.Error as error:
                other._raise_failure(error)
                return str(error).partition("\nLINE ")[0]  # without the query that found it
        return None

    def _make_known(self, objects: Iterable[RemotePath]) -> None:
        """Lets DuckDB read objects in a store, beside those that it knows."""
        for path in objects:
            from towers.data.sources.object_filesystem import ObjectFilesystem  # imports fsspec

            scheme = path.url.partition("://")[0]
            if scheme not in self._stores:
                self._stores[scheme] = ObjectFilesystem(scheme)
                self._connection.register_filesystem(self._stores[scheme])
            self._stores[scheme].add([path])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns the database's errors about raw data into `Unreadable`.

        Raises:
            StoreError: it was a store that failed, not the data.
        """
        try:
            yield
        except duckdb.Error as error:
            self._raise_failure(error)
            # What Parquet's own decoder throws has no class of its own.
            if is_full(error):
                raise
            if type(error) is not duckdb.Error and not isinstance(error, DATA_ERRORS):
                raise
            raise Unreadable(" ".join(str(error).split())) from error

    def _raise_failure(self, error: duckdb.Error) -> None:
        """Raises what a store failed with, if it was that which the database turned into an error of its own."""
        failures = [failure for store in self._stores.values() for failure in store.failures]
        for store in self._stores.values():
            store.failures.clear()
        if failures:
            raise failures[0] from error

    @contextmanager
    def _in_order(self, is_sorted: bool) -> Iterator[None]:
        """Makes a query that only reads one file return the rows in the file's order while the block runs."""
        self._connection.execute(f"SET preserve_insertion_order = {str(is_sorted).lower()}")
        try:
            yield
        finally:
            self._connection.execute("SET preserve_insertion_order = false")


def path_in_sql(path: RawPath) -> str:
    """Returns a path as DuckDB opens this very file: what is a sign of a pattern to it stands for itself.

    An object in a store is opened by `ObjectFilesystem`, which knows no patterns.

    >>> path_in_sql(Path("it's/run[1]/*.parquet"))
    "'it''s/run[[]1]/[*].parquet'"

    Raises:
        UserError: a backslash beside such a sign, which DuckDB has no writing for.
    """
    shown = str(path)
    if isinstance(path, RemotePath):
        return "'" + shown.replace("'", "''") + "'"
    pattern = re.sub(r"[\[*?]", lambda sign: f"[{sign[0]}]", shown)
    if pattern != shown and "\\" in shown:
        raise UserError(f"{shown}: a path with a backslash and one of [*? cannot be opened; rename the folder or file")
    return "'" + pattern.replace("'", "''") + "'"


def _query(name: str, order: Sequence[str], where: Mapping[str, int] | None = None) -> str:
    conditions = " AND ".join(f"{quoted(column)} = {number}" for column, number in (where or {}).items())
    ordered = ", ".join(f"{quoted(column)} ASC NULLS LAST" for column in order)
    return (
        f"SELECT * FROM {name}"
        + (f" WHERE {conditions}" if conditions else "")
        + (f" ORDER BY {ordered}" if ordered else "")
    )
