"""Lays raw data out again as it was on past nights, so that a cycle can be run as on those nights."""

import shutil
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.data.raw import columns_of
from towers.data.sources.parquet_folder import ParquetFolder
from towers.errors import UserError
from towers.lifecycle.replay_parts import DAYS, ID_OF, LATE, PAST, RawFiles, days_of, is_one_of, write_parts
from towers.manifest import atomic_directory, atomic_file, digest_of, same_file

FORMAT = 1
BY_DAY = (schema.EVENTS, schema.IMPRESSIONS)
"""Tables that get a file each day."""


class Replay:
    """The raw data of a folder as it was on its last nights.

    Only rows with a date can be left out of an earlier night: events and impressions of later days; contents whose
    `release_date` is later and that no listener had heard by then; listeners whose first event or impression is later,
    as a service learns of listeners when they come; playlists whose `created` is later. Everything else exists from the
    first night on: contents without a date, artists among them; playlists without one, with their members of today;
    listeners without any event; and all sound, of which only that of listed contents is read.

    Args:
        root: folder in the raw data contract.
        folder: folder to lay the data out in, about as large as the events; `raw/` in it is the data set of the night.
        days: number of nights to replay, each at the end of a calendar day in UTC.
        until: day of the last night; null: the last day of the events.

    Raises:
        UserError: there is no raw data that can be prepared, or no event before the first of the nights.
    """

    def __init__(self, root: Path, folder: Path, days: int, until: date | None = None):
        if days < 1:
            raise UserError(f"days={days}: must be at least 1")
        tables = ParquetFolder(str(root)).tables(folder)
        for table in tables.files:
            columns_of(tables, table)
        files = {table: [path for path in paths if isinstance(path, Path)] for table, paths in tables.files.items()}
        for table, paths in files.items():
            for path in paths:
                if missing := tables.part(table, path).constants:
                    raise UserError(
                        f"{path}: column {next(iter(missing))!r} stands in the folder's name alone; a replay cuts "
                        "files, so write it into them as well"
                    )
        self._files = RawFiles(root=root, files=files)
        self._folder = folder
        self._days = days
        first, last = days_of(self._files)
        self._last = until or last
        if not first <= self.nights[0]:
            raise UserError(
                f"days={days}: no event before {self.nights[1]}, the first of the nights, so there is nothing to "
                f"train a first model on; {root}/events goes from {first} to {last}"
            )
        self.raw = folder / "raw"
        """Folder of the data set of the night that `advance` was last called for."""

    @property
    def nights(self) -> list[date]:
        """Days at whose ends the nights are; the first, number 0, is the day before the first replayed one: on it a
        first model is trained."""
        return [self._last - timedelta(days=self._days - night) for night in range(self._days + 1)]

    def end_us(self, night: int) -> int:
        """Returns the end of a night's day in microseconds since 1970, UTC; all data of that night is from before."""
        following = self.nights[night] + timedelta(days=1)
        return int(datetime(following.year, following.month, following.day, tzinfo=UTC).timestamp()) * 1_000_000

    def advance(self, night: int) -> date:
        """Makes `raw` what it was at the end of a night's day, and returns that day.

        Event files of the night before stay untouched, so that a prepare reads only the new day. A list is written only
        if it changes. After a kill, the same call completes the work.

        Args:
            night: number of the night, from 0 to the number of days.
        """
        day, parts = self.nights[night], self._parts
        for table in schema.RAW_TABLES:
            arrived = self._arrived(parts / table, day) if table in BY_DAY else {}
            listed = {} if table in BY_DAY else {path: self.raw / name for name, path in self._files.named(table)}
            _remove_others(self.raw / table, {*arrived, *listed.values()})
            for target, source in arrived.items():
                _put(source, target)
            for source, target in listed.items():
                _put_listed(source, target, table, parts / LATE / f"{table}.parquet", day)
        for path in sorted(self._files.root.iterdir()):
            if path.name not in schema.RAW_TABLES and path.name[0] not in "._":
                _put_all(path, self.raw / path.name)
        return day

    @cached_property
    def _parts(self) -> Path:
        """Folder of what is laid out once: events by day, and the dates of contents, listeners and playlists that came
        later."""
        asked = {"format": FORMAT, "days": self._days, "until": str(self._last), "files": self._files.state()}
        parts = self._folder / f"parts-{digest_of(asked)[:12]}"
        if not parts.exists():
            for other in (self.raw, *self._folder.glob("parts-*")):
                shutil.rmtree(other, ignore_errors=True)
            with atomic_directory(parts) as temporary:
                write_parts(self._files, self.nights, temporary)
        return parts

    def _arrived(self, parts: Path, day: date) -> dict[Path, Path]:
        """Returns the files of a table in `raw` that had arrived by the end of a day, with their sources."""
        past = {self.raw / parts.name / path.relative_to(parts): path for path in _files_in(parts / PAST)}
        days = {self.raw / parts.name / path.name: path for path in _files_in(parts / DAYS) if path.stem <= str(day)}
        return past | days


def _put_listed(source: Path, target: Path, table: str, late: Path, day: date) -> None:
    """Puts a part file of a list into `raw`, without the rows that did not exist yet on that day."""
    came, name = pq.ParquetFile(late).read(), ID_OF[table]
    absent = came.filter(pc.field("since") > pa.scalar(day))["id"].combine_chunks()
    if not len(absent) or name not in pq.read_schema(source).names:
        return _put(source, target)
    rows = pq.ParquetFile(source).read()
    kept = rows.filter(pc.call_function("invert", [is_one_of(rows[name], absent)]))
    if target.exists() and pq.ParquetFile(target).read().equals(kept):
        return None
    with atomic_file(target) as following:
        pq.write_table(kept, following)
    return None


def _put(source: Path, target: Path) -> None:
    """Links a file, unless that is done already."""
    stat = source.stat()
    if target.exists() and (target.stat().st_size, target.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        return
    target.unlink(missing_ok=True)
    same_file(source, target)


def _put_all(source: Path, target: Path) -> None:
    """Links a file, or all files of a folder, unless that is done already."""
    if source.is_file():
        _put(source, target)
    elif not target.exists():
        with atomic_directory(target) as folder:
            for path in _files_in(source):
                same_file(path, folder / path.relative_to(source))


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _remove_others(folder: Path, wanted: set[Path]) -> None:
    for path in _files_in(folder):
        if path not in wanted:
            path.unlink()
