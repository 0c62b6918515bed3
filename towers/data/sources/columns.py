"""A Parquet file of events with columns of other names, and what they say of contents."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from towers.contract.arrow_types import ID_WORDS, id_texts, is_id, is_number
from towers.errors import UserError

IDS = ("user", "content", "artist", "album")
"""The columns of `read_columns` that hold ids."""


def read_columns(path: Path, wanted: Mapping[str, str | None]) -> pa.Table:
    """The columns `wanted` (new name -> name in the file, null for none), renamed.

    Raises:
        UserError: not Parquet, a column is missing, or one that holds ids (listener, content, artist, album) is of
            another type.
    """
    try:
        table = pq.ParquetFile(path).read()  # knows nothing of its folders' names
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())})") from error
    columns = {name: column for name, column in wanted.items() if column is not None}
    for name, column in columns.items():
        if column not in table.column_names:
            raise UserError(f"{path}: no column {column!r}; it has {', '.join(table.column_names)}")
        if table.column_names.count(column) > 1:
            raise UserError(f"{path}: column {column!r} is there twice; keep one of them")
        if name in IDS and not is_id(table[column].type):
            raise UserError(f"{path}: column {column!r} is {table[column].type}, must be {ID_WORDS}")
    return pa.table({name: table[column] for name, column in columns.items()})


def whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers, decimals among them, as int64.

    Raises:
        pa.ArrowException: a number that is not whole, or that int64 cannot hold.
    """
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.decimal128(38, 0))
    return column.cast(pa.int64())


def contents_of(events: pa.Table) -> pa.Table:
    """Returns a row for each content, with the artist and album of its first event; negative numbers are unknown."""
    names = [name for name in ("artist", "album") if name in events.column_names]
    texts = pa.table({name: pa.array(id_texts(events[name]), pa.string()) for name in ("content", *names)})
    listed = texts.filter(texts["content"].is_valid())
    first = listed.group_by("content", use_threads=False).aggregate([(name, "first") for name in names])
    columns = {"content_id": first["content"]}
    if "artist" in names:
        known = _prefixed(first["artist_first"], "artist-", is_number(events["artist"].type))
        columns["artist_ids"] = pa.array([None if a is None else [a] for a in known], pa.list_(pa.string()))
    if "album" in names:
        known = _prefixed(first["album_first"], "album-", is_number(events["album"].type))
        columns["album_id"] = pa.array(known, pa.string())
    return pa.table(columns)


def write_part(table: pa.Table, folder: Path) -> Path:
    """Writes one part file of a table below the staging folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "part-0.parquet"
    pq.write_table(table, path)
    return path


def _prefixed(column: pa.ChunkedArray, prefix: str, is_numbered: bool) -> list[str | None]:
    """Ids, prefixed so that an artist's number is never taken for a track's; negative numbers are unknown."""
    texts = column.to_pylist()
    return [None if text is None or (is_numbered and text.startswith("-")) else prefix + text for text in texts]
