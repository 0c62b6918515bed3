"""A Parquet file of events with columns of other names, and what they say of contents."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from towers.errors import UserError


def read_columns(path: Path, wanted: Mapping[str, str | None]) -> pa.Table:
    """The columns `wanted` (new name -> name in the file, null for none), renamed.

    Raises:
        UserError: not Parquet, or a column is missing.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error
    columns = {name: column for name, column in wanted.items() if column is not None}
    for column in columns.values():
        if column not in table.column_names:
            raise UserError(f"{path}: no column {column!r}; it has {', '.join(table.column_names)}")
    return pa.table({name: table[column] for name, column in columns.items()})


def contents_of(events: pa.Table) -> pa.Table:
    """One row a content, with the artist and album of its first event; negative numbers are unknown."""
    names = [name for name in ("artist", "album") if name in events.column_names]
    first = events.group_by("content", use_threads=False).aggregate([(name, "first") for name in names])
    columns = {"content_id": first["content"].cast(pa.string())}
    if "artist" in names:
        known = _text_or_null(first["artist_first"], "artist-")
        columns["artist_ids"] = pa.array([None if a is None else [a] for a in known], pa.list_(pa.string()))
    if "album" in names:
        columns["album_id"] = pa.array(_text_or_null(first["album_first"], "album-"), pa.string())
    return pa.table(columns)


def write_part(table: pa.Table, folder: Path) -> Path:
    """Writes one part file of a table below the staging folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "part-0.parquet"
    pq.write_table(table, path)
    return path


def _text_or_null(column: pa.ChunkedArray, prefix: str) -> list[str | None]:
    """Ids as text, prefixed so that an artist's number is never taken for a track's; negative numbers are unknown."""
    return [
        None if value is None or (isinstance(value, int) and value < 0) else f"{prefix}{value}"
        for value in column.to_pylist()
    ]
