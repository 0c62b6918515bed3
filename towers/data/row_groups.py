"""Writes Parquet files whose bytes depend on their rows alone, not on the pieces that they were written in."""

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 8_192
"""Number of rows in a row group. It is small, since a row may hold a list of a thousand ids."""


class GroupWriter:
    """Writes one Parquet file in row groups of equal size. A context manager.

    Args:
        path: the file to write.
        schema: the schema of the rows.
    """

    def __init__(self, path: Path, schema: pa.Schema):
        self._writer = pq.ParquetWriter(path, schema)
        self._waiting = schema.empty_table()
        self.num_rows = 0
        """Rows written so far."""

    def __enter__(self) -> "GroupWriter":
        return self

    def write(self, rows: pa.Table) -> None:
        """Writes the next rows; columns must be in the order of the schema."""
        self.num_rows += len(rows)
        self._waiting = pa.concat_tables([self._waiting, rows])
        while len(self._waiting) >= ROWS:
            self._flush(ROWS)

    def _flush(self, num_rows: int) -> None:
        self._writer.write_table(self._waiting.slice(0, num_rows).combine_chunks())
        self._waiting = self._waiting.slice(num_rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and len(self._waiting):
                self._flush(len(self._waiting))
        finally:
            self._writer.close()
