"""Public listening data with times: one Parquet file of events."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.contract.arrow_types import is_whole
from towers.data.event_times import in_range, is_of_another_unit, looks_like, taken_as_utc
from towers.data.sources.columns import contents_of, read_columns, whole_numbers, write_part
from towers.data.sources.tables import Origin, RawTables, literal
from towers.errors import UserError

FAR_S = 9_000_000_000_000
"""Seconds from 1970 to about the greatest time in microseconds; later times are set to it and stay out of range."""


class TimedEvents:
    """A Parquet file with a row a play.

    Args:
        path: the file.
        user: column of the listener.
        content: column of the content.
        timestamp: column of the time: timestamps (UTC where they name no zone), or whole seconds since 1970.
        artist: column of the content's artist, if there is one.
        album: column of the content's album, if there is one. In both, a negative number means unknown.
    """

    def __init__(
        self,
        path: str,
        user: str = "user",
        content: str = "content",
        timestamp: str = "timestamp",
        artist: str | None = None,
        album: str | None = None,
    ):
        self.root = path
        self._path = literal(path)
        self._columns = {"user": user, "content": content, "timestamp": timestamp, "artist": artist, "album": album}

    def settings(self) -> dict[str, Any]:
        """See `Part`."""
        return dict(self._columns)

    def inputs(self) -> tuple[Path, list[Path]]:
        """The one file."""
        if not self._path.is_file():
            raise UserError(f"data.root={self._path}: no such file; give the events as data.root=FILE")
        return self._path.parent, [self._path]

    def tables(self, staging: Path) -> RawTables:
        """Converts to the contract.

        Raises:
            UserError: no such file, not Parquet, a column that is missing or of another type, or times in another
                unit than seconds.
        """
        self.inputs()
        table = read_columns(self._path, self._columns)
        times = self._times(table["timestamp"])
        events = pa.table({"user_id": table["user"], "content_id": table["content"], "timestamp": times})
        files = {schema.EVENTS: [write_part(events, staging / schema.EVENTS)]}
        if {"artist", "album"} & set(table.column_names):
            files[schema.CONTENTS] = [write_part(contents_of(table), staging / schema.CONTENTS)]
        names = {"user_id": "user", "content_id": "content", "timestamp": "timestamp"}
        columns = {name: str(self._columns[own]) for name, own in names.items()}
        origin = Origin(path=self._path, columns=columns)
        remark = taken_as_utc(str(self._path), table["timestamp"].slice(0, 1))
        return RawTables(
            root=self._path.parent, files=files, has_clock=True, origin=origin, remarks=[remark] if remark else []
        )

    def _times(self, column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
        """Timestamps in UTC; whole seconds that are far out of range stay so, for their rows to be rejected."""
        name = self._columns["timestamp"]
        try:
            if is_whole(column.type):
                return self._of_seconds(whole_numbers(column))
            if pa.types.is_timestamp(column.type):
                return _microseconds(column)
            return column.cast(pa.timestamp("us", tz="UTC"))
        except (pa.ArrowException, ValueError) as error:
            raise UserError(
                f"{self._path}: column {name!r} must hold timestamps or whole seconds ({' '.join(str(error).split())})"
            ) from error

    def _of_seconds(self, column: pa.ChunkedArray) -> pa.Array:
        seconds, is_null = column.fill_null(0).to_numpy(), column.is_null().to_numpy()
        out = np.flatnonzero(~is_null & ~in_range(seconds))
        mistaken = out[is_of_another_unit(seconds[out])]
        if 2 * len(mistaken) > np.count_nonzero(~is_null):
            row, unit = mistaken[0], looks_like(float(seconds[mistaken[0]]))
            raise UserError(
                f"{self._path}: column {self._columns['timestamp']!r}, row {row}: {seconds[row]} must be whole seconds "
                f"since 1970; these look like {unit}: write them as seconds, or as timestamps"
            )
        return _microseconds(column.cast(pa.timestamp("s")))


def _microseconds(column: pa.ChunkedArray) -> pa.Array:
    """Timestamps of any unit in microseconds, UTC; finer ones are cut, far ones stay far."""
    a_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[column.type.unit]
    numbers, is_null = column.cast(pa.int64()).fill_null(0).to_numpy(), column.is_null().to_numpy()
    if a_second > 1_000_000:
        numbers = numbers // (a_second // 1_000_000)
    else:
        numbers = np.clip(numbers, -FAR_S * a_second, FAR_S * a_second) * (1_000_000 // a_second)
    return pa.array(numbers, pa.timestamp("us", tz="UTC"), mask=is_null)
