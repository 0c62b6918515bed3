"""The raw contract's columns: which must be there, of what type, and what stands in for those that are not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers import schema
from towers.data.sources.tables import RawTables
from towers.errors import UserError
from towers.features.settings import FeatureSettings


def _is_id(kind: pa.DataType) -> bool:
    return pt.is_string(kind) or pt.is_large_string(kind) or pt.is_integer(kind) or pt.is_dictionary(kind)


def _is_id_list(kind: pa.DataType) -> bool:
    return (pt.is_list(kind) or pt.is_large_list(kind)) and _is_id(kind.value_type)


def _is_date(kind: pa.DataType) -> bool:
    return pt.is_date(kind) or pt.is_timestamp(kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the contract: its test, that test in words, and its type in SQL."""

    accepts: Callable[[pa.DataType], bool]
    words: str
    sql: str
    is_required: bool = False

    def fits(self, kind: pa.DataType) -> bool:
        """Whether a Parquet column of this type will do; one that is null throughout fits any optional column."""
        return self.accepts(kind) or (pt.is_null(kind) and not self.is_required)


def _id(*, is_required: bool = False) -> Column:
    return Column(accepts=_is_id, words="a string or an integer", sql="VARCHAR", is_required=is_required)


_NUMBER = Column(
    accepts=lambda kind: pt.is_integer(kind) or pt.is_floating(kind), words="a number in milliseconds", sql="BIGINT"
)
_FLAG = Column(accepts=pt.is_boolean, words="a boolean", sql="BOOLEAN")
_LIST = Column(accepts=_is_id_list, words="a list of strings or integers", sql="VARCHAR[]")

READERS_OWN = ("filename", "file_row_number")
"""Columns that the reader adds, so that a rejected row can be found again; no table may bring its own."""

CONTRACT: dict[str, dict[str, Column]] = {
    schema.EVENTS: {
        "user_id": _id(is_required=True),
        "content_id": _id(is_required=True),
        "timestamp": Column(accepts=pt.is_timestamp, words="a timestamp in UTC", sql="TIMESTAMPTZ", is_required=True),
        "action": _id(),
        "played_ms": _NUMBER,
        "context": _id(),
    },
    schema.CONTENTS: {
        "content_id": _id(is_required=True),
        "kind": _id(),
        "title": _id(),
        "artist_ids": _LIST,
        "album_id": _id(),
        "genres": _LIST,
        "language": _id(),
        "release_date": Column(accepts=_is_date, words="a date", sql="DATE"),
        "duration_ms": _NUMBER,
        "explicit": _FLAG,
        "audio": _id(),
    },
    schema.USERS: {"user_id": _id(is_required=True), "deleted": _FLAG},
    schema.PLAYLISTS: {
        "playlist_id": _id(is_required=True),
        "title": _id(),
        "owner_id": _id(),
        "content_ids": Column(
            accepts=_is_id_list, words="a list of strings or integers", sql="VARCHAR[]", is_required=True
        ),
    },
}


def columns_of(tables: RawTables, table: str) -> set[str]:
    """The columns that `table` has in any part file, after checking types and presence.

    An optional column that a part file lacks is null there.

    Raises:
        UserError: a file that is not Parquet or is cut short, a required column missing, a column of a wrong type,
            no row at all. The message names the file and the column.
    """
    present: set[str] = set()
    rows = 0
    for path in tables.files.get(table, []):
        file_schema, file_rows = _open(path)
        _check(path, table, file_schema)
        rows += file_rows
        present |= set(file_schema.names)
    if table == schema.EVENTS and rows == 0:
        raise UserError(f"{tables.files[table][0].parent}: the events table is empty; there is nothing to learn from")
    return present


def check_user_columns(features: FeatureSettings) -> None:
    """Whether the columns of users/ that the features name can be told from all others.

    Raises:
        UserError: a name that is there twice, is the contract's or the reader's, is a feature of contents or events
            (a vocabulary stands under its feature's name), or cannot be a file's.
    """
    taken = (*features.content_parts, "context")
    for place, name in enumerate(features.user_columns):
        if name.lower() in READERS_OWN or name.lower() in CONTRACT[schema.USERS]:
            fault = f"is no feature of a listener; {', '.join((*CONTRACT[schema.USERS], *READERS_OWN))} cannot be"
        elif name in features.user_columns[:place]:
            fault = "is there twice"
        elif name in taken:
            fault = f"is also a feature of contents or events ({', '.join(taken)}); call the column of users/ otherwise"
        elif not name or set(name) & set('/\\"\0'):
            fault = "cannot be a file's name; call the column of users/ otherwise"
        else:
            continue
        raise UserError(f"features.user_columns: {name!r} {fault}")


def columns_to_keep(tables: RawTables, features: FeatureSettings) -> tuple[str, ...]:
    """The columns of users/ beyond the contract: the features, then all others that hold one value a listener.

    Evaluation divides listeners by any of them. Names that SQL cannot tell from each other or from ours stay behind.

    Raises:
        UserError: as `columns_of`.
    """
    kinds: dict[str, list[pa.DataType]] = {}
    columns_of(tables, schema.USERS)
    for path in tables.files.get(schema.USERS, []):
        for field in _open(path)[0]:
            kinds.setdefault(field.name, []).append(field.type)
    kept = list(features.user_columns)
    taken = {name.lower() for name in (*kept, *CONTRACT[schema.USERS], *READERS_OWN, "reason", "fault")}
    for name in sorted(kinds):
        is_nested = any(pt.is_nested(kind) for kind in kinds[name])
        if name and name.lower() not in taken and '"' not in name and not is_nested:
            taken.add(name.lower())
            kept.append(name)
    return tuple(kept)


def select_raw(tables: RawTables, table: str, extra: tuple[str, ...] = ()) -> str:
    """SQL that reads `table` with all contract columns in their types, absent ones as null.

    Args:
        tables: the files.
        table: a name of `schema.TABLES`.
        extra: columns beyond the contract to carry along as they are.

    Raises:
        UserError: as `columns_of`, and for an extra column that is not there.
    """
    present = columns_of(tables, table)
    for name in extra:
        if name not in present:
            raise UserError(f"features.user_columns: {table}/ has no column {name!r}; it has {sorted(present)}")
    columns = [sql for name in CONTRACT[table] for sql in _columns_in_sql(table, name, name in present)]
    columns += [f'"{name}"' for name in extra]
    if not tables.files.get(table):
        return f"SELECT {', '.join(columns)}, '' AS filename, CAST(0 AS BIGINT) AS file_row_number WHERE FALSE"
    files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in tables.files[table])
    return (
        f"SELECT {', '.join(columns)}, filename, file_row_number FROM read_parquet([{files}], union_by_name = true, "
        "hive_partitioning = false, filename = true, file_row_number = true)"
    )


def _columns_in_sql(table: str, name: str, is_present: bool) -> list[str]:
    """The column in its type; beside a number, what is wrong with it where it cannot be had in that type."""
    column = CONTRACT[table][name]
    source = f'"{name}"' if is_present else "NULL"
    if column is not _NUMBER:
        return [f'CAST({source} AS {column.sql}) AS "{name}"']
    value = f"TRY_CAST({source} AS {column.sql})"
    fault = (
        f"CASE WHEN {source} IS NULL OR {value} IS NOT NULL THEN NULL "
        f"WHEN ISFINITE(CAST({source} AS DOUBLE)) THEN 'out of range' ELSE 'not finite' END"
    )
    return [f'{value} AS "{name}"', f'CAST({fault} AS VARCHAR) AS "{name}_fault"']


def audio_paths(tables: RawTables) -> tuple[list[str], list[str]]:
    """Content ids and audio paths of all contents that name one, in the order of the files."""
    named: dict[str, str] = {}
    for path in tables.files.get(schema.CONTENTS, []):
        if "audio" not in _open(path)[0].names:
            continue
        try:
            table = pq.ParquetFile(path).read(columns=["content_id", "audio"])  # knows nothing of its folders' names
        except (pa.ArrowException, OSError) as error:
            raise unreadable(tables, str(error)) from error
        for content_id, audio in zip(table["content_id"].to_pylist(), table["audio"].to_pylist(), strict=True):
            if content_id is not None and audio is not None:
                named.setdefault(str(content_id), str(audio))
    return list(named), list(named.values())


def unreadable(tables: RawTables, reason: str) -> UserError:
    """What to say of data that passed for Parquet until it was read: the file that is damaged, else `reason`."""
    for path in (path for paths in tables.files.values() for path in paths):
        try:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                file.read_row_group(group)
        except (pa.ArrowException, OSError) as error:
            return UserError(f"{path}: damaged ({' '.join(str(error).split())}); write it again")
    return UserError(f"the raw data cannot be read: {reason}")


def _open(path: Path) -> tuple[pa.Schema, int]:
    try:
        file = pq.ParquetFile(path)
        return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable Parquet file, perhaps cut short ({reason}); write it again") from error


def _check(path: Path, table: str, file_schema: pa.Schema) -> None:
    for name in file_schema.names:
        if name.lower() in READERS_OWN:
            raise UserError(f"{path}: column {name!r} has a name that is taken; call it otherwise")
    in_folders = {part.partition("=")[0] for part in path.parts[:-1] if "=" in part}
    for name in (in_folders & CONTRACT[table].keys()) - set(file_schema.names):
        raise UserError(f"{path}: column {name!r} stands in the folder's name alone; write it into the file as well")
    for name, column in CONTRACT[table].items():
        if name not in file_schema.names:
            if column.is_required:
                raise UserError(f"{path}: no column {name!r}, which {table}/ must have ({column.words})")
            continue
        kind = file_schema.field(name).type
        if not column.fits(kind):
            raise UserError(f"{path}: column {name!r} is {kind}, must be {column.words}")
