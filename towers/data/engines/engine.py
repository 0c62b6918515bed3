"""The interface of an engine, which runs the SQL files, and of the tables that it holds while a store is made."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from towers.data.sources.remote import RawPath

PLACES = ("filename", "file_row_number")
"""Columns that a scan adds: the path of the part file as it was given, and the row within it, from 0."""
BATCH_ROWS = 200_000


def quoted(name: str) -> str:
    """Returns the name of a column in SQL."""
    return f'"{name}"'


class Unreadable(Exception):
    """An engine cannot read the raw data: a file is damaged, or holds what no type can."""


@runtime_checkable  # for the tests, which check annotations at run time
class Database(Protocol):
    """Tables and views by name. All SQL is DuckDB's; an engine with another dialect translates it.

    Raises:
        Unreadable: from any method, where raw data that it reads cannot be read.
    """

    def scan(self, name: str, paths: Sequence[RawPath], columns: Sequence[str], *, with_places: bool = True) -> None:
        """Makes a view of Parquet files; a column that only some of the files have is null in the others.

        Args:
            name: name of the view.
            paths: paths of the files, which have equal types in `columns`; all on a disk, or all in a store.
            columns: columns to read; a file may have others.
            with_places: whether the view has the columns `PLACES` as well.
        """
        ...

    def put(self, name: str, rows: pa.Table) -> None:
        """Makes a table of rows."""
        ...

    def view(self, name: str, query: str) -> None:
        """Makes a view of a query; files of which it reads are opened."""
        ...

    def run(self, path: Path) -> None:
        """Runs a file of statements `CREATE TABLE ... AS` and `CREATE VIEW ... AS`; rows of a table are computed
        once."""
        ...

    def table(self, name: str, order: Sequence[str] = ()) -> pa.Table:
        """Returns all rows of a table or view, in memory.

        Args:
            name: name of the table or view.
            order: columns to sort by, ascending, nulls last, text by its bytes; without any the order is arbitrary.
        """
        ...

    def batches(
        self,
        name: str,
        order: Sequence[str] = (),
        num_rows: int = BATCH_ROWS,
        *,
        where: Mapping[str, int] | None = None,
        is_sorted: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yields rows of a table or view in bounded memory.

        One result at a time: it is read to its end before anything else is asked of the database.

        Args:
            name: name of the table or view.
            order: see `table`.
            num_rows: greatest number of rows in a batch.
            where: numbers that rows must have in these columns.
            is_sorted: whether the view only reads one file whose rows stand in `order` already.
        """
        ...

    def count(self, name: str) -> int:
        """Returns the number of rows of a table or view."""
        ...

    def fault_of(self, path: RawPath) -> str | None:
        """Reads the scanned columns of a file to its end; returns the fault that is found, null if there is none."""
        ...


@runtime_checkable  # for the tests, which check annotations at run time
class Engine(Protocol):
    """Runs the SQL files. The choice of an engine does not change a store: all give the same bytes."""

    def open(self, folder: Path, spill: Path | None) -> AbstractContextManager[Database]:
        """Returns a context manager with a database without tables, which is removed when the block ends.

        Args:
            folder: an empty one for temporary files.
            spill: folder for data that does not fit into memory; null: below `folder`.
        """
        ...
