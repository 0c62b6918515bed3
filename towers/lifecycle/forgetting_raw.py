"""Counts the rows of a caller's raw data that still name some listeners; it is the caller's to change."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.sources.part_files import part_files
from towers.data.sources.remote import RawPath, opened
from towers.errors import UserError
from towers.lifecycle.forgetting_rows import ID_COLUMNS, is_one_of

TABLES = ("events", "users", "playlists", "impressions")
"""Folders of raw tables that may name listeners."""


def rows_in(root: RawPath, user_ids: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields (table, number of rows that name one of some listeners) for a folder of raw tables; nothing for others.

    Raises:
        UserError: a part file that cannot be read.
    """
    for table in TABLES:
        if found := sum(_count(path, user_ids) for path in part_files(root / table)[0]):
            yield table, found


def _count(path: RawPath, user_ids: Sequence[str]) -> int:
    try:
        file = pq.ParquetFile(opened(path))
        names = [name for name in ID_COLUMNS if name in file.schema_arrow.names]
        if not names:
            return 0
        batches = file.iter_batches(columns=names)
        return sum(int(_names(batch, user_ids).sum()) for batch in batches)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error


def _names(batch: pa.RecordBatch, user_ids: Sequence[str]):
    table = pa.Table.from_batches([batch])
    found = [is_one_of(table[name], user_ids) for name in table.column_names]
    return sum(found[1:], found[0])
