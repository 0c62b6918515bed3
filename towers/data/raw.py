"""Raw tables as SQL: part files checked against the contract, and read with every column in the contract's type."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers.contract import schema
from towers.contract.arrow_types import id_texts, is_temporal
from towers.contract.tables import CONTRACT, DATE, MOMENT, NUMBER, OURS, SLOT, check_columns
from towers.data.part_types import read_in_sql
from towers.data.sources.tables import RawTables
from towers.errors import UserError
from towers.features.settings import FeatureSettings

DAMAGE = (pa.ArrowException, OSError, ValueError)
"""Errors that pyarrow raises for a damaged file; text that is no UTF-8 is a ValueError."""
ROWS_AT_ONCE = 100_000
FIRST_DAY, LAST_DAY = "DATE '0001-01-01'", "DATE '9999-12-31'"
"""What Python can tell; days beyond, and infinity, are unknown."""


def columns_of(tables: RawTables, table: str) -> dict[str, list[pa.DataType]]:
    """The columns that `table` has in any part file, each with its types there, after checking types and presence.

    An optional column that a part file lacks is null there.

    Raises:
        UserError: a file that is not Parquet or is cut short, a column of a type that Arrow lacks, a required column
            missing, a column of a wrong type. The message names the file and the column.
    """
    present: dict[str, list[pa.DataType]] = {}
    for path in tables.files.get(table, []):
        file_schema = _open(path)[0]
        if not file_schema.names:  # so pandas writes a table of no rows
            continue
        check_columns(path, table, file_schema, tables.folders(table, path))
        for column in file_schema:
            present.setdefault(column.name, []).append(column.type)
    return present


def check_not_empty(tables: RawTables) -> None:
    """Checks that there is at least one event.

    Raises:
        UserError: there is none.
    """
    paths = tables.files[schema.EVENTS]
    if not any(_open(path)[1] for path in paths):
        where = tables.origin.path if tables.origin else paths[0].parent
        raise UserError(f"{where}: the events table is empty; there is nothing to learn from")


def check_user_columns(features: FeatureSettings) -> None:
    """Whether the columns of users/ that the features name can be told from all others.

    Raises:
        UserError: a name that is there twice, is the contract's or the reader's, is a feature of contents or events
            (a vocabulary stands under its feature's name), or cannot be a file's.
    """
    taken = (*features.content_parts, *schema.EVENT_VOCABULARIES)
    for place, name in enumerate(features.user_columns):
        if name.lower() in OURS or name.lower() in CONTRACT[schema.USERS]:
            fault = f"is no feature of a listener; {', '.join((*CONTRACT[schema.USERS], *OURS))} cannot be"
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
        UserError: as `columns_of`, and for a feature of lists or structs.
    """
    kinds = columns_of(tables, schema.USERS)
    for name in features.user_columns:
        if nested := next(filter(pt.is_nested, kinds.get(name, [])), None):
            raise UserError(f"features.user_columns: {name!r} of users/ is {nested}, must hold one value a listener")
    kept = list(features.user_columns)
    taken = {name.lower() for name in (*kept, *CONTRACT[schema.USERS], *OURS)}
    for name in sorted(kinds):
        is_nested = any(pt.is_nested(kind) for kind in kinds[name])
        if name and name.lower() not in taken and '"' not in name and not is_nested:
            taken.add(name.lower())
            kept.append(name)
    return tuple(kept)


def select_raw(tables: RawTables, table: str, extra: tuple[str, ...] = ()) -> str:
    """SQL that reads `table` with all contract columns in their types, absent ones as null.

    Beside them stand `row_hash`, equal for rows that say the same; `dates_lost`, how many days or instants of the row
    are none that Python can tell, and null; and where the row is found: `filename` (the caller's) and
    `file_row_number`.

    Args:
        tables: the files.
        table: a name of `schema.RAW_TABLES`.
        extra: columns beyond the contract to carry along as they are.

    Raises:
        UserError: as `columns_of`, for an extra column that is not there, and for a path that DuckDB cannot open.
    """
    kinds = columns_of(tables, table)
    dates = [name for name, column in CONTRACT[table].items() if column in (DATE, MOMENT) and name in kinds]
    columns = [sql for name in CONTRACT[table] for sql in _columns_in_sql(table, name, name in kinds)]
    for name in extra:
        if name not in kinds:
            where = _in_a_folder(tables, table, name) or f"; it has {sorted(kinds)}"
            raise UserError(f"features.user_columns: {table}/ has no column {name!r}{where}")
        is_dated = all(is_temporal(kind) or pt.is_null(kind) for kind in kinds[name])
        columns.append(f"{_told(_quoted(name))} AS {_quoted(name)}" if is_dated else _quoted(name))
        dates += [name] if is_dated else []
    known = [_quoted(name) for name in (*CONTRACT[table], *extra) if name in kinds]
    columns.append(f"{' + '.join(map(_is_lost, dates)) or 'CAST(0 AS INTEGER)'} AS dates_lost")
    if not kinds:
        places = "CAST(0 AS UBIGINT) AS row_hash, '' AS filename, CAST(0 AS BIGINT) AS file_row_number"
        return f"SELECT {', '.join(columns)}, {places} WHERE FALSE"
    filename = f"{_text(str(tables.origin.path))} AS filename" if tables.origin else "filename"
    files = {path: path_in_sql(path) for path in tables.files[table]}
    return (
        f"SELECT {', '.join(columns)}, HASH({', '.join(known)}) AS row_hash, {filename}, file_row_number "
        f"FROM {read_in_sql(files, CONTRACT[table], extra)} AS parts"
    )


def path_in_sql(path: Path) -> str:
    """A path as DuckDB opens this very file: what is a sign of a pattern to it stands for itself.

    >>> path_in_sql(Path("it's/run[1]/*.parquet"))
    "'it''s/run[[]1]/[*].parquet'"

    Raises:
        UserError: a backslash beside such a sign, which DuckDB has no writing for.
    """
    shown = str(path)
    pattern = re.sub(r"[\[*?]", lambda sign: f"[{sign[0]}]", shown)
    if pattern != shown and "\\" in shown:
        raise UserError(f"{shown}: a path with a backslash and one of [*? cannot be opened; rename the folder or file")
    return _text(pattern)


def _columns_in_sql(table: str, name: str, is_present: bool) -> list[str]:
    """The column in its type; beside a number, what is wrong with it where it cannot be had in that type."""
    column = CONTRACT[table][name]
    source = _quoted(name) if is_present else "NULL"
    if column in (DATE, MOMENT) and is_present:
        return [f"CAST({_told(source)} AS {column.sql}) AS {_quoted(name)}"]
    if column not in (NUMBER, SLOT):
        return [f"CAST({source} AS {column.sql}) AS {_quoted(name)}"]
    value = f"TRY_CAST({source} AS {column.sql})"
    fault = (
        f"CASE WHEN {source} IS NULL OR {value} IS NOT NULL THEN NULL "
        f"WHEN ISFINITE(CAST({source} AS DOUBLE)) THEN 'out of range' ELSE 'not finite' END"
    )
    return [f"{value} AS {_quoted(name)}", f'CAST({fault} AS VARCHAR) AS "{name}_fault"']


def _told(source: str) -> str:
    """A day or an instant; null where it lies outside of the years 1 to 9999."""
    return f"CASE WHEN CAST({source} AS DATE) BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN {source} END"


def _is_lost(name: str) -> str:
    """1 where `_told` makes null of something, else 0."""
    source = _quoted(name)
    return f"CASE WHEN CAST({source} AS DATE) NOT BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN 1 ELSE 0 END"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _in_a_folder(tables: RawTables, table: str, name: str) -> str:
    """What to say of a column that the files lack and their folders' names have; else nothing."""
    folders = {part.partition("=")[0] for path in tables.files.get(table, []) for part in tables.folders(table, path)}
    return ", but in the folders' names; write it into the files as well" if name in folders else ""


def audio_paths(tables: RawTables) -> tuple[list[str], list[str]]:
    """Content ids and audio paths of all contents that name one, in the order of the files."""
    named: dict[str, str] = {}
    for path in tables.files.get(schema.CONTENTS, []):
        if "audio" not in _open(path)[0].names:
            continue
        with reading(tables):
            table = pq.ParquetFile(path).read(columns=["content_id", "audio"])  # knows nothing of its folders' names
            pairs = zip(id_texts(table["content_id"]), id_texts(table["audio"]), strict=True)
        for content_id, audio in pairs:
            if content_id is not None and audio is not None:
                named.setdefault(content_id, audio)
    return list(named), list(named.values())


@contextmanager
def reading(tables: RawTables) -> Iterator[None]:
    """Turns errors of reading part files, which were opened without error, into one that names the file.

    Raises:
        UserError: one is damaged.
    """
    try:
        yield
    except DAMAGE as error:
        raise unreadable(tables, str(error)) from error


def unreadable(tables: RawTables, reason: str) -> UserError:
    """What to say of data that passed for Parquet until it was read: the file that is damaged or holds a time that
    nobody can tell, else `reason`."""
    paths = [path for paths in tables.files.values() for path in paths]
    for path in paths:
        try:
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                file.read_row_group(group).validate(full=True)
            endless = _endless_time(file)
        except DAMAGE as error:
            return _damaged(path, error)
        if endless is not None:
            return UserError(f"{path}: {endless}; mend the value or leave the row out")
    with duckdb.connect() as connection:
        for path in paths:
            try:
                for _ in connection.sql(f"FROM read_parquet({path_in_sql(path)})").to_arrow_reader(ROWS_AT_ONCE):
                    pass
            except duckdb.Error as error:
                return _damaged(path, error)
    return UserError(f"the raw data cannot be read: {' '.join(reason.split())}")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).partition("\nLINE ")[0].split())  # without the query that found it
    return UserError(f"{path}: damaged ({reason}); write it again")


def _endless_time(file: pq.ParquetFile) -> str | None:
    """The first time that microseconds cannot hold, which DuckDB does not read: its column, row and value."""
    for column in file.schema_arrow:
        if pt.is_timestamp(column.type) and column.type.unit in ("s", "ms"):
            times = file.read([column.name]).column(0)
            limit = 2**63 // {"s": 1_000_000, "ms": 1_000}[column.type.unit]
            numbers = times.cast(pa.int64()).fill_null(0).to_numpy()
            out = np.flatnonzero((numbers >= limit) | (numbers <= -limit))
            if len(out):
                unit = {"s": "seconds", "ms": "milliseconds"}[column.type.unit]
                return f"column {column.name!r}, row {out[0]}: {numbers[out[0]]} {unit} since 1970 is no time"
    return None


def _open(path: Path) -> tuple[pa.Schema, int]:
    try:
        file = pq.ParquetFile(path)
        columns = file.schema_arrow
        str(columns)  # names are decoded only when somebody asks
        return columns, file.metadata.num_rows
    except pa.ArrowNotImplementedError as error:
        raise UserError(f"{path}: a column of a type that cannot be read ({error}); write it as another") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable Parquet file, perhaps cut short ({reason}); write it again") from error
