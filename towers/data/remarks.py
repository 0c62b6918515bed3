"""Remarks on raw data that is allowed but probably not meant, one line each; too much of some of it is refused."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towers.contract import schema
from towers.contract.tables import CONTRACT, near_column
from towers.data.event_times import taken_as_utc
from towers.data.histories_writer import Seen
from towers.data.raw import columns_left_behind, reading
from towers.data.sources.footers import Footer
from towers.data.sources.remote import opened
from towers.data.sources.tables import RawTables
from towers.errors import UserError
from towers.features.settings import FeatureSettings

MANY = 0.5
"""Share of a table's numbers from which on a mistake in their unit is told."""

LONGEST = 60
"""Signs of an id that a line shows."""


def remarks_on_files(tables: RawTables, features: FeatureSettings) -> Iterator[str]:
    """Yields lines about columns: named nearly as the contract's, null in every row, left behind, times without a zone.

    They come from the schemas and statistics of the part files; no column is read.
    """
    if tables.origin is not None:  # the source wrote these files itself
        return
    with reading(tables):
        yield from _on_columns(tables, features)


def _on_columns(tables: RawTables, features: FeatureSettings) -> Iterator[str]:
    empty = []
    for table, paths in tables.files.items():
        yield from _near_columns(tables, table, features)
        names = (*CONTRACT[table], *(features.user_columns if table == schema.USERS else ()))
        files = [tables.footers.of(path) for path in paths]
        if null := [name for name in names if _is_null(files, name)]:
            empty.append(f"{', '.join(null)} of {table}/")
    if empty:
        yield f"null or empty in every row: {'; '.join(empty)}"
    for name, reason in sorted(columns_left_behind(tables, features).items()):
        yield f"users/: column {name!r} is left out: {reason}"
    for table in (schema.EVENTS, schema.IMPRESSIONS):
        if line := _without_zone(tables, table):
            yield line


def remarks_on_rows(ask: Callable[[str], dict[str, Any]], max_unlisted_fraction: float) -> Iterator[str]:
    """Yields lines about tables that do not fit each other, and about numbers that look to be in another unit.

    Args:
        ask: function that returns the single row of a view of `remarks.sql`, by column.
        max_unlisted_fraction: greatest share that is allowed of events whose content is not listed, and of entries of
            playlists that are no content.

    Raises:
        UserError: a share is greater.
    """

    def held(line: str, found: int, total: int) -> str:
        if found > max_unlisted_fraction * total:
            raise UserError(
                f"{line}; these are {found / total:.1%}, over data.max_unlisted_fraction={max_unlisted_fraction}: mend "
                "the ids, or raise the limit (1: any number)"
            )
        return line

    events, entries = ask("unlisted_events"), ask("unknown_entries")
    if events["listed"] and events["found"]:
        yield held(_unlisted(events), events["found"], events["total"])
    if entries["found"]:
        yield held(_unknown(entries), entries["found"], entries["total"])
    users = ask("users_with_events")
    if users["total"] and not users["found"]:
        yield (
            f"users/: none of its {users['total']:,} listeners, such as {_named(users['example'])}, is in events/, "
            f"whose listeners are called like {_named(users['heard_example'])}"
        )
    short = ask("short_contents")
    if short["found"] > MANY * short["total"]:
        yield _short("contents/: duration_ms", short["found"], short["total"], short["number"], short["id"])


def remarks_on_plays(seen: Seen, content_ids: pa.Array, features: FeatureSettings) -> Iterator[str]:
    """Yields lines about suspicious played times.

    Args:
        seen: counts made while the histories were written.
        content_ids: id of each content row.
        features: the settings that say which plays are positive.
    """
    if seen.short_play is not None and seen.short_plays > MANY * seen.timed_plays:
        row, played_ms = seen.short_play
        example = content_ids[row].as_py()
        yield _short("events/: played_ms of plays", seen.short_plays, seen.timed_plays, played_ms, example)
    if seen.plays and not seen.positive_plays:
        longest = "None" if seen.longest is None else f"{seen.longest:.1%}"
        yield (
            f"events/: none of {seen.plays:,} plays is positive, the longest was {longest} of its "
            f"content, below features.min_played_fraction={features.min_played_fraction}; likes and saves alone count"
        )


def _short(name: str, found: int, total: int, number: int, content_id: str) -> str:
    return (
        f"{name} is below 1,000 in {found:,} of {total:,} rows, such as {number} of {_named(content_id)}; the column "
        "is in milliseconds, and these look like seconds"
    )


def _near_columns(tables: RawTables, table: str, features: FeatureSettings) -> Iterator[str]:
    """Yields a line for each column of the contract that a file lacks while it has one of nearly this name."""
    found: dict[tuple[str, str], str] = {}
    named = features.user_columns if table == schema.USERS else ()
    for path in tables.files[table]:
        own = tables.part(table, path).schema.names
        beside = tables.values_beside(table, path)
        others = [name for name in (*own, *beside) if name not in named]
        for name in CONTRACT[table].keys() - set(own):
            near = near_column(table, name, others)
            if near is not None:
                where = "" if near in own else " of its folders' names"
                found.setdefault((name, f"{near!r}{where}"), path.name)
    for (name, near), file in sorted(found.items()):
        yield f"{table}/, {file}: no column {name!r}, and {near} is not read; rename it if it is meant"


def _is_null(files: list[Footer], name: str) -> bool:
    """Returns whether a column is in some of the files and all its values are known to be null, or lists without an
    entry."""
    told = [file for file in files if name in file.told]
    return bool(told) and all(name in file.empty for file in told)


def _without_zone(tables: RawTables, table: str) -> str | None:
    """Returns a line about the first file of a table whose times have no zone; null where all have one."""
    for path in tables.files.get(table, []):
        footer = tables.footers.of(path)
        if not footer.num_rows or "timestamp" not in footer.schema.names:
            continue
        if footer.schema.field("timestamp").type.tz is not None:
            continue
        rows = next(pq.ParquetFile(opened(path)).iter_batches(1, columns=["timestamp"]))
        if line := taken_as_utc(f"{table}/, {path.name}", rows.column(0)):
            return line
    return None


def _named(name: str) -> str:
    """Returns an id as text for a line; a long one is cut."""
    return repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}…")


def _unlisted(events: dict[str, Any]) -> str:
    return (
        f"events/: {events['found']:,} of {events['total']:,} events are of {events['contents']:,} contents that "
        f"contents/ does not list, for example {_named(events['example'])}; they are known by their ids alone"
    )


def _unknown(entries: dict[str, Any]) -> str:
    none = ""
    if entries["empty"]:
        none = f"; none is known of {entries['empty']:,} playlists, such as {_named(entries['empty_example'])}"
    return (
        f"playlists/: {entries['found']:,} of {entries['total']:,} entries, in {entries['playlists']:,} of "
        f"{entries['all_playlists']:,} playlists, are neither in contents/ nor in events/, for example "
        f"{_named(entries['example'])} of {_named(entries['playlist'])}{none}"
    )
