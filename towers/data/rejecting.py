"""Rows that are left out: written with their reasons, counted, and too many of them refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towers.contract import schema
from towers.data.event_times import described_time
from towers.data.sources.tables import Origin
from towers.errors import UserError

JUDGED = {table: f"judged_{table}" for table in schema.TABLES}
DUPLICATE = "duplicate"
"""The reason of a row that says the same as one before it; any other reason is a fault."""
IS_BAD = f"reason <> '{DUPLICATE}'"
_OURS = ("row_hash", "dates_lost", "has_timestamp")
"""Columns of a judged table that say nothing to a reader."""


class TooManyRejected(UserError):
    """More rows of a table are left out than a limit allows; all of them are written by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of the raw data may be left out.

    Args:
        max_rejected_fraction: share of bad rows above which the run fails, 0 to 1.
        max_duplicate_fraction: share of rows that say the same as one before them, likewise.
        max_rejected_sounds_fraction: share of the sounds that contents name, without a record, likewise.
        max_unlisted_fraction: share of the events whose content contents/ does not list, and of the playlists' entries
            that name no content, likewise.

    Raises:
        UserError: a limit that is no share.
    """

    max_rejected_fraction: float
    max_duplicate_fraction: float
    max_rejected_sounds_fraction: float
    max_unlisted_fraction: float

    def __post_init__(self) -> None:
        for each in fields(self):
            limit = getattr(self, each.name)
            if not 0 <= limit <= 1:
                raise UserError(f"data.{each.name}={limit}: must lie in 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejecting:
    """Writes the rows that are left out, and holds their number against the limits.

    Args:
        count: the single number that a query gives.
        batches: a query's rows, piece by piece.
        limits: how many there may be.
        origin: the caller's file where the tables were converted from one; null where they are the caller's own.
    """

    count: Callable[[str], int]
    batches: Callable[[str], Iterator[pa.RecordBatch]]
    limits: Limits
    origin: Origin | None

    def write(self, folder: Path) -> None:
        """Writes a Parquet file for every table that lost a row: its columns, where it stood, and the reason.

        Raises:
            TooManyRejected: over a limit; names the first row of the first such table.
        """
        folder.mkdir(parents=True)
        for table, judged in JUDGED.items():
            rows = f"SELECT * FROM {judged} WHERE reason IS NOT NULL ORDER BY filename, file_row_number"
            if self.count(f"SELECT COUNT(*) FROM {judged} WHERE reason IS NOT NULL"):
                _write(folder / f"{table}.parquet", self.batches(rows))
        faults = (fault for table in JUDGED for fault in (self._bad(table), self._repeated(table)))
        fault = next((fault for fault in faults if fault is not None), None)
        if fault is not None:
            raise TooManyRejected(fault)

    def _bad(self, table: str) -> str | None:
        return self._over(table, IS_BAD, "bad", "max_rejected_fraction")

    def _repeated(self, table: str) -> str | None:
        return self._over(table, f"NOT {IS_BAD}", "duplicates", "max_duplicate_fraction")

    def _over(self, table: str, condition: str, words: str, limit: str) -> str | None:
        """What to say of a table that has more rows of a condition than a limit allows; null where it has not."""
        judged, allowed = JUDGED[table], getattr(self.limits, limit)
        total = self.count(f"SELECT COUNT(*) FROM {judged}")
        found = self.count(f"SELECT COUNT(*) FROM {judged} WHERE {condition}")
        if not total or found / total <= allowed:
            return None
        first = f"SELECT * FROM {judged} WHERE {condition} ORDER BY filename, file_row_number LIMIT 1"
        (row,) = (row for batch in self.batches(first) for row in batch.to_pylist())
        return (
            f"{table}/: {found / total:.1%} of the rows are {words} ({found:,} of {total:,}), over "
            f"data.{limit}={allowed}; the first is {row['filename']}, row {row['file_row_number']}: {self._reason(row)}"
        )

    def _reason(self, row: dict[str, Any]) -> str:
        """The reason; the caller's own name of the column, and what a time that is out of range looks like."""
        reason = " ".join(row["reason"].split())
        own = None if self.origin is None else self.origin.columns.get(reason.partition(" ")[0])
        shown = reason if own is None else f"{reason} (column {own!r})"
        time_us = row.get("timestamp_us")
        if not reason.startswith("timestamp out of range") or time_us is None:
            return shown
        return f"{shown}: {described_time(time_us)}"


def _write(path: Path, batches: Iterator[pa.RecordBatch]) -> None:
    first = next(batches)
    names = [name for name in first.schema.names if name not in _OURS]
    with pq.ParquetWriter(path, first.select(names).schema) as writer:
        for batch in chain([first], batches):
            writer.write_batch(batch.select(names))
