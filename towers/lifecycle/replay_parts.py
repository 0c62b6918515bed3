"""Cuts raw tables by day: rows from before the first night, and rows of each day after it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.types as pt
from jaxtyping import Bool, Int

from towers.contract import schema
from towers.contract.arrow_types import id_texts
from towers.data.event_times import in_range
from towers.errors import UserError

PAST, DAYS, LATE = "past", "days", "late"
"""Folders of the result: a table's rows from before, its rows by day, and ids that came later with their dates."""
ID_OF: Mapping[str, str] = {schema.CONTENTS: "content_id", schema.USERS: "user_id", schema.PLAYLISTS: "playlist_id"}
DATE_OF: Mapping[str, str] = {schema.CONTENTS: "release_date", schema.PLAYLISTS: "created"}
"""Columns of lists with the date since which a row exists."""
A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = date(1970, 1, 1)
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFiles:
    """The part files of a data set's raw tables.

    Args:
        root: the data set's folder.
        files: part files of each table.
    """

    root: Path
    files: Mapping[str, Sequence[Path]]

    def named(self, table: str) -> list[tuple[Path, Path]]:
        """Returns the part files of a table, each after its path below the data set's folder."""
        return [(path.relative_to(self.root), path) for path in self.files.get(table, ())]

    def state(self) -> dict[str, list[int]]:
        """Returns size and modification time of every part file, by path."""
        paths = [each for table in self.files for each in self.named(table)]
        return {str(name): [path.stat().st_size, path.stat().st_mtime_ns] for name, path in paths}

    def read(self, table: str, *columns: str) -> Iterator[pa.RecordBatch]:
        """Streams some columns of a table, from those part files that have all of them."""
        for path in self.files.get(table, ()):
            file = pq.ParquetFile(path)
            if {*columns} <= {*file.schema_arrow.names}:
                yield from file.iter_batches(columns=list(columns))


def days_of(files: RawFiles) -> tuple[date, date]:
    """Returns the days, in UTC, of the first and the last event; invalid times, which a prepare rejects, do not count.

    Raises:
        UserError: there is no event with a time.
    """
    first, last = [], []
    for batch in files.read(schema.EVENTS, "timestamp"):
        if len(days := _days(batch.column("timestamp"))[0]):
            first.append(int(days.min()))
            last.append(int(days.max()))
    if not first:
        raise UserError(f"{files.root}/events: no event with a time; there is no night to replay")
    return EPOCH + timedelta(days=min(first)), EPOCH + timedelta(days=max(last))


def write_parts(files: RawFiles, nights: Sequence[date], folder: Path) -> None:
    """Lays out the data of nights: events and impressions by day, and the date since which each listed row exists.

    Args:
        files: files of the data set.
        nights: consecutive days; the first is the day before the first replayed one.
        folder: empty folder.
    """
    first = nights[0] + timedelta(days=1)
    for table in (schema.EVENTS, schema.IMPRESSIONS):
        for name, path in files.named(table):
            _write_past(path, folder / table / PAST / name.relative_to(table), first)
        for day in nights[1:]:
            _write_day(files.files.get(table, ()), folder / table / DAYS / f"{day}.parquet", day)
    (folder / LATE).mkdir(parents=True, exist_ok=True)
    for table, came in (
        (schema.CONTENTS, _contents(files, first)),
        (schema.USERS, _users(files)),
        (schema.PLAYLISTS, _dated(files, schema.PLAYLISTS)),
    ):
        late = {each: since for each, since in came.items() if first <= since}
        pq.write_table(_late(late), folder / LATE / f"{table}.parquet")


def is_one_of(ids: pa.Array | pa.ChunkedArray, texts: pa.Array) -> pa.Array | pa.ChunkedArray:
    """Returns whether each id is one of some that are given as text; false for null."""
    return pc.call_function("is_in", [_texts(ids)], pc.SetLookupOptions(value_set=texts))


def _write_past(path: Path, target: Path, until: date) -> None:
    """Writes the rows of a file from before a day, and those without a time; no file where there are none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    file_schema, rows = pq.read_schema(path), 0
    is_past = None
    if file_schema.names and pt.is_timestamp(kind := file_schema.field("timestamp").type):
        is_past = ds.field("timestamp").is_null() | (ds.field("timestamp") < _begin(until, kind))
    with pq.ParquetWriter(target, file_schema) as writer:
        for batch in ds.dataset(path, format="parquet").to_batches(filter=is_past):
            writer.write_batch(batch)
            rows += batch.num_rows
    if not rows:
        target.unlink()


def _write_day(paths: Sequence[Path], target: Path, day: date) -> None:
    """Writes the rows of a day from all part files, in their order; no file where there are none."""
    found = []
    for path in paths:
        file_schema = pq.read_schema(path)
        if not file_schema.names or not pt.is_timestamp(kind := file_schema.field("timestamp").type):
            continue
        is_then = (ds.field("timestamp") >= _begin(day, kind)) & (
            ds.field("timestamp") < _begin(day + timedelta(days=1), kind)
        )
        found.append(ds.dataset(path, format="parquet").to_table(filter=is_then))
    if not sum(map(len, found)):
        return
    try:
        rows = pa.concat_tables(found, promote_options="permissive")
    except pa.ArrowException as error:
        raise UserError(
            f"{paths[0].parent}: its part files have columns of types that do not go together, so a day's rows "
            f"cannot be put into one file ({' '.join(str(error).split())}); write them with one type"
        ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, target)


def _contents(files: RawFiles, first: date) -> dict[str, date]:
    """Returns the first day of each content released on a day or later: its release, or its first event if earlier."""
    came = {each: since for each, since in _dated(files, schema.CONTENTS).items() if since >= first}
    wanted = pa.array([*came], pa.string())
    batches = files.read(schema.EVENTS, "content_id", "timestamp")
    heard = _first_days(batch.filter(is_one_of(batch["content_id"], wanted)) for batch in batches)
    return came | {each: min(came[each], since) for each, since in heard.items()}


def _users(files: RawFiles) -> dict[str, date]:
    """Returns the first day of each listener who ever did something: that of the first event or impression."""
    seen = _first_days(files.read(schema.EVENTS, "user_id", "timestamp"))
    shown = _first_days(files.read(schema.IMPRESSIONS, "user_id", "timestamp"))
    return seen | {each: min(since, seen.get(each, since)) for each, since in shown.items()}


def _dated(files: RawFiles, table: str) -> dict[str, date]:
    """Returns the dates of a list's rows that have one, by id."""
    came = {}
    for batch in files.read(table, ID_OF[table], DATE_OF[table]):
        dates = batch[DATE_OF[table]].cast(pa.date32(), safe=False).to_pylist()
        ids = id_texts(batch[ID_OF[table]])
        came |= {each: since for each, since in zip(ids, dates, strict=True) if each is not None and since is not None}
    return came


def _first_days(batches: Iterator[pa.RecordBatch]) -> dict[str, date]:
    """Returns the day of the first row of each id, for batches with an id and a timestamp."""
    firsts = [pa.table({"id": pa.array([], pa.string()), "day_min": pa.array([], pa.int64())})]
    for batch in batches:
        days, is_known = _days(batch.column("timestamp"))
        rows = pa.table({"id": _texts(batch.column(0)).filter(pa.array(is_known)), "day": days})
        firsts.append(rows.filter(rows["id"].is_valid()).group_by("id").aggregate([("day", "min")]))
    first = pa.concat_tables(firsts).group_by("id").aggregate([("day_min", "min")])
    days = [EPOCH + timedelta(days=day) for day in first["day_min_min"].to_pylist()]
    return dict(zip(first["id"].to_pylist(), days, strict=True))


def _days(times: pa.Array) -> tuple[Int[np.ndarray, " known"], Bool[np.ndarray, " rows"]]:
    """Returns the days, since 1970 in UTC, of the rows with a valid time, and a mask of these rows."""
    if not pt.is_timestamp(times.type):
        return np.empty(0, dtype=np.int64), np.zeros(len(times), dtype=bool)
    seconds = times.cast(pa.int64()).fill_null(-1).to_numpy() // A_SECOND[times.type.unit]
    is_known = in_range(seconds)
    return seconds[is_known] // DAY_S, is_known


def _begin(day: date, kind: pa.TimestampType) -> pa.Scalar:
    """Returns the beginning of a day in UTC, in a column's own type; a type without a zone counts as UTC."""
    seconds = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return pa.scalar(seconds * A_SECOND[kind.unit], pa.int64()).cast(kind)


def _texts(ids: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns ids as text, as the store has them."""
    if pt.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if isinstance(ids.type, pa.BaseExtensionType):  # UUIDs
        return pa.array(id_texts(ids), pa.string())
    return ids.cast(pa.string())


def _late(came: Mapping[str, date]) -> pa.Table:
    ids = sorted(came)
    return pa.table({"id": pa.array(ids, pa.string()), "since": pa.array([came[each] for each in ids], pa.date32())})
