"""Rows that are left out: written with their reasons, counted, and too many of them refused."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.data.event_times import described_time
from towers.data.row_groups import GroupWriter
from towers.data.sources.tables import Origin
from towers.data.tables import Tables
from towers.errors import UserError

LISTS = tuple(table for table in schema.TABLES if table != schema.EVENTS)
"""Tables that are judged as a whole; events are judged as they arrive."""
DUPLICATE = "duplicate"
"""The reason of a row that says the same as one before it; any other reason is a fault."""
_OURS = "file"
"""The column of rejected events that says nothing to a reader."""


class TooManyRejected(UserError):
    """More rows of a table are left out than a limit allows; all of them are written by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on how much of the raw data may be left out.

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
class Losses:
    """Number of rows of a table that are left out.

    Args:
        rows: number of rows that were read.
        bad: number of rows with a fault.
        repeated: number of rows that are duplicates of an earlier one.
    """

    rows: int = 0
    bad: int = 0
    repeated: int = 0

    def plus(self, other: "Losses") -> "Losses":
        """Returns the sum of both."""
        return Losses(rows=self.rows + other.rows, bad=self.bad + other.bad, repeated=self.repeated + other.repeated)

    def minus(self, other: "Losses") -> "Losses":
        """Returns the difference."""
        return Losses(rows=self.rows - other.rows, bad=self.bad - other.bad, repeated=self.repeated - other.repeated)

    def to_json(self) -> dict[str, int]:
        """Returns the three numbers by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejecting:
    """Writes the rows that are left out, and holds their number against the limits.

    Args:
        clean: the database, in which the lists are judged.
        limits: limits on the rows that may be left out.
        origin: the caller's file where the tables were converted from one; null where they are the caller's own.
    """

    clean: Tables
    limits: Limits
    origin: Origin | None

    def write(self, folder: Path) -> dict[str, Losses]:
        """Writes a Parquet file for every judged table that lost a row: its columns, where it stood, and the reason."""
        folder.mkdir(parents=True)
        losses = dict.fromkeys(LISTS, Losses())
        for found in self.clean.table("counted_lists").to_pylist():
            name, lost = found["table_name"], found["num_bad"] + found["num_repeated"]
            losses[name] = Losses(rows=found["num_rows"], bad=found["num_bad"], repeated=found["num_repeated"])
            if lost:
                rows = self.clean.batches(f"rejected_{name}", ("filename", "file_row_number"))
                write_rejected(folder / f"{name}.parquet", rows)
        return losses

    def check(self, losses: dict[str, Losses], folder: Path) -> None:
        """Checks the numbers of all tables against the limits.

        Args:
            losses: the losses of each table.
            folder: folder of the rejected rows.

        Raises:
            TooManyRejected: over a limit; names the first row of the first such table.
        """
        for table in schema.RAW_TABLES:
            for condition, words, limit in (
                (pc.field("reason") != DUPLICATE, "bad", "max_rejected_fraction"),
                (pc.field("reason") == DUPLICATE, "duplicates", "max_duplicate_fraction"),
            ):
                found = losses[table].bad if words == "bad" else losses[table].repeated
                total, allowed = losses[table].rows, getattr(self.limits, limit)
                if total and found / total > allowed:
                    row = _first(folder / f"{table}.parquet", condition)
                    raise TooManyRejected(
                        f"{table}/: {found / total:.1%} of the rows are {words} ({found:,} of {total:,}), over "
                        f"data.{limit}={allowed}; the first is {row['filename']}, row {row['file_row_number']}: "
                        f"{self._reason(row)}"
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


def write_rejected(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Writes rejected rows; no file where there is no row."""
    rows = (pa.Table.from_batches([batch]) for batch in batches if len(batch))
    first = next(rows, None)
    if first is None:
        return
    names = [name for name in first.column_names if name != _OURS]
    with GroupWriter(path, first.select(names).schema) as writer:
        for each in chain([first], rows):
            writer.write(each.select(names))


def _first(path: Path, condition: pc.Expression) -> dict[str, Any]:
    """Reads the first row of a file for which a condition holds."""
    for batch in pq.ParquetFile(path).iter_batches():
        found = pa.Table.from_batches([batch]).filter(condition)
        if len(found):
            return found.slice(0, 1).to_pylist()[0]
    raise RuntimeError(f"{path}: no such row")
