"""Counts the rows of a caller's raw data that still name some listeners; changing them is left to the caller."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.sources.part_files import is_called_parquet, table_files
from towers.data.sources.remote import RawPath, RemotePath, opened
from towers.data.sources.remote_listing import objects_below
from towers.data.sources.tables import RawTables
from towers.errors import UserError
from towers.lifecycle.forgetting_rows import ID_COLUMNS, is_one_of

TABLES = ("events", "users", "playlists", "impressions")
"""Folders of raw tables that may name listeners."""


def rows_in(root: RawPath, user_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields (table, number of rows that name one of some listeners) for a folder of raw tables; nothing for others.

    A folder's name in a path (`user_id=ann/`) counts as naming a listener, too.

    Raises:
        UserError: a part file cannot be read.
    """
    for table in TABLES:
        found = table_files(root / table)
        tables = RawTables(root=root, files={table: found.parts}, has_clock=True, values=found.values)
        counts = (_count(path, user_ids, tables.values_beside(table, path)) for path in found.parts)
        if total := sum(counts):
            yield table, total


def unread_rows_in(root: RawPath, user_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Counts rows of listeners in the Parquet files below the tables' folders that are not read.

    These are files that the log of a Delta or Iceberg table calls dead, and files that a writer has hidden. The
    yielded values are as for `rows_in`.

    A file that cannot be read there is not Parquet, or not yet complete, and is left out.

    Raises:
        UserError: a folder cannot be listed, or a store does not answer.
    """
    for table in TABLES:
        parts = {*table_files(root / table).parts}
        tables = RawTables(root=root, files={}, has_clock=True)
        total = 0
        for path in sorted({*_parquet_below(root / table)} - parts):
            try:
                total += _count(path, user_ids, tables.values_beside(table, path))
            except UnreadableFile:
                continue
        if total:
            yield table, total


class UnreadableFile(UserError):
    """A file that is not Parquet, or is damaged."""


def _parquet_below(folder: RawPath) -> Iterator[RawPath]:
    if isinstance(folder, RemotePath):
        paths: Iterator[RawPath] = iter(objects_below(folder).values())
    else:
        paths = (path for path in folder.rglob("*") if path.is_file())
    return (path for path in paths if is_called_parquet(path))


def _count(path: RawPath, user_ids: Sequence[str], beside: Mapping[str, str | None]) -> int:
    """Returns the number of rows of a file that name one of the listeners.

    Args:
        path: path of the file.
        user_ids: ids of the listeners.
        beside: columns whose only value stands outside the file, such as in a folder's name.
    """
    try:
        file = pq.ParquetFile(opened(path))
        names = [name for name in ID_COLUMNS if name in file.schema_arrow.names]
        if any(
            name.lower() in ID_COLUMNS and name.lower() not in names and beside[name] in user_ids for name in beside
        ):
            return file.metadata.num_rows
        if not names:
            return 0
        batches = file.iter_batches(columns=names)
        return sum(int(_names(batch, user_ids).sum()) for batch in batches)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{path}: cannot be read ({' '.join(str(error).split())})") from error


def _names(batch: pa.RecordBatch, user_ids: Sequence[str]):
    table = pa.Table.from_batches([batch])
    found = [is_one_of(table[name], user_ids) for name in table.column_names]
    return sum(found[1:], found[0])
