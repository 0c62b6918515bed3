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
    """Tables and views by name. All SQL that is handed over is DuckDB's; an engine with another dialect turns it.

    Raises:
        Unreadable: from any method, where raw data that it reads cannot be read.
    """

    def scan(self, name: str, paths: Sequence[RawPath], columns: Sequence[str], *, with_places: bool = True) -> None:
        """Makes a view of Parquet files; a column that only some of the files have is null in the others.

        Args:
            name: of the view.
            paths: of the files, which have equal types in `columns`; all on a disk, or all in a store.
            columns: to read; a file may have others.
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
            name: of the table or view.
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
            name: of the table or view.
            order: see `table`.
            num_rows: of a batch; a batch may have fewer.
            where: numbers that columns must have in the rows.
            is_sorted: whether the view only reads one file, in whose order its rows are to come; `order` says the same.
        """
        ...

    def count(self, name: str) -> int:
        """Returns the number of rows of a table or view."""
        ...

    def fault_of(self, path: RawPath) -> str | None:
        """Reads a scanned file to its end, in the columns that were asked for; says what is wrong with it, null where
        nothing is."""
        ...


@runtime_checkable  # for the tests, which check annotations at run time
class Engine(Protocol):
    """Runs the SQL files. Which one does so decides nothing of a store: all give the same bytes."""

    def open(self, folder: Path, spill: Path | None) -> AbstractContextManager[Database]:
        """Returns a database without tables, which goes when the block ends.

        Args:
            folder: an empty one for temporary files.
            spill: where what does not fit into memory is written; null: below `folder`.
        """
        ...
