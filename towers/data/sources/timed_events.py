"""Public listening data that knows when: one Parquet file of events."""

from pathlib import Path

import pyarrow as pa

from towers import schema
from towers.data.sources.columns import contents_of, read_columns, write_part
from towers.data.sources.tables import RawTables
from towers.errors import UserError


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
        self._path = Path(path)
        self._columns = {"user": user, "content": content, "timestamp": timestamp, "artist": artist, "album": album}

    def inputs(self) -> tuple[Path, list[Path]]:
        """The one file."""
        if not self._path.is_file():
            raise UserError(f"data.root={self._path}: no such file; give the events as data.root=FILE")
        return self._path.parent, [self._path]

    def tables(self, staging: Path) -> RawTables:
        """Converts to the contract."""
        self.inputs()
        table = read_columns(self._path, self._columns)
        times = self._times(table["timestamp"])
        events = pa.table({"user_id": table["user"], "content_id": table["content"], "timestamp": times})
        files = {schema.EVENTS: [write_part(events, staging / schema.EVENTS)]}
        if {"artist", "album"} & set(table.column_names):
            files[schema.CONTENTS] = [write_part(contents_of(table), staging / schema.CONTENTS)]
        return RawTables(root=self._path.parent, files=files, has_clock=True)

    def _times(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            if pa.types.is_integer(column.type):
                column = column.cast(pa.timestamp("s"))
            return column.cast(pa.timestamp("us", tz="UTC"))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(
                f"{self._path}: column {self._columns['timestamp']!r} must hold timestamps or whole seconds ({error})"
            ) from error
