"""Lines of a public set's files that are not rows: their places and reasons. Their text is not kept, as it may name
listeners."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towers.errors import UserError

LINES = "lines.parquet"
"""File beside the other tables' rejected rows."""
AT_ONCE = 10_000
"""Lines that are collected in memory before they are written."""
SCHEMA = pa.schema([("filename", pa.string()), ("line", pa.int64()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLines:
    """The lines of a set's files that were left out.

    Args:
        path: Parquet file with the bad lines.
        read: number of lines that were read.
        bad: number of lines that are not rows.
    """

    path: Path
    read: int
    bad: int

    def check(self, max_fraction: float) -> None:
        """Checks the share of bad lines against a limit.

        Raises:
            UserError: the share is above the limit; names the first file and line.
        """
        if self.read and self.bad / self.read > max_fraction:
            raise UserError(
                f"{self.told()}, over data.max_rejected_fraction={max_fraction}; all are named in {self.path}: mend "
                "the file or raise the limit"
            )

    def told(self) -> str:
        """Returns the first file and line with the reason, and how many lines there are; there must be one."""
        first = next(pq.ParquetFile(self.path).iter_batches(batch_size=1)).to_pylist()[0]
        place = f"{first['filename']}, line {first['line']}: {first['reason']}"
        return f"{place}; {self.bad:,} of {self.read:,} lines are no rows"


class LineWriter:
    """Writes bad lines to a Parquet file as they are found, and counts lines.

    Args:
        path: path of the Parquet file to write.
    """

    def __init__(self, path: Path):
        self._path = path
        self._writer = pq.ParquetWriter(path, SCHEMA)
        self._rows: list[dict[str, Any]] = []
        self.read = 0
        """Number of lines that were read, bad ones among them."""

    def __enter__(self) -> "LineWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def add(self, path: Path, line: int, reason: str) -> None:
        """Adds a bad line.

        Args:
            path: path of the text file.
            line: number of the line, from 1.
            reason: reason why it is not a row.
        """
        self._rows.append({"filename": str(path), "line": line, "reason": reason})
        if len(self._rows) >= AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
            self._rows = []
