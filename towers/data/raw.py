"""Raw tables as SQL: part files checked against the contract, and read with every column in the contract's type."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers.contract import schema
from towers.contract.arrow_types import id_texts, is_temporal
from towers.contract.tables import CONTRACT, DATE, MOMENT, NUMBER, OURS, SLOT, check_columns
from towers.data.engines.engine import Database, quoted
from towers.data.part_types import Group, become_one, groups_of, one_type
from towers.data.sources.footers import DAMAGE
from towers.data.sources.remote import RawPath, opened
from towers.data.sources.tables import RawTables
from towers.errors import UserError
from towers.features.settings import FeatureSettings

FIRST_DAY, LAST_DAY = "DATE '0001-01-01'", "DATE '9999-12-31'"
"""Range of days that Python can represent; others, and infinity, become unknown."""


def columns_of(tables: RawTables, table: str, extra: Sequence[str] = ()) -> dict[str, list[pa.DataType]]:
    """Returns the columns that `table` has in any part file, each with the types that it has there, all checked.

    An optional column that a part file lacks is null there.

    Args:
        tables: the files.
        table: a name of `schema.RAW_TABLES`.
        extra: columns beside the contract that are looked for in folders' names, too.

    Raises:
        UserError: a file that is not Parquet or is cut short, a column of a type that Arrow lacks, a required column
            missing, a column of a wrong type. The message names the file and the column.
    """
    present: dict[str, list[pa.DataType]] = {}
    checked: set[pa.Schema] = set()  # most files have the same
    paths = tables.files.get(table, [])
    tables.footers.read(paths)
    for path in paths:
        if not tables.footers.of(path).schema.names:  # so pandas writes a table of no rows
            continue
        columns = tables.part(table, path, extra).schema
        if columns in checked:
            continue
        checked.add(columns)
        check_columns(path, table, columns)
        for column in columns:
            present.setdefault(column.name, []).append(column.type)
    return present


def check_not_empty(tables: RawTables) -> None:
    """Checks that there is at least one event.

    Raises:
        UserError: there is none.
    """
    paths = tables.files[schema.EVENTS]
    if not any(tables.footers.of(path).num_rows for path in paths):
        where = tables.origin.path if tables.origin else paths[0].parent
        raise UserError(f"{where}: the events table is empty; there is nothing to learn from")


def check_user_columns(features: FeatureSettings) -> None:
    """Checks that the columns of users/ that the features name cannot be confused with others.

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

    Evaluation divides listeners by any of them. Names that SQL cannot tell from each other or from ours stay behind,
    and so do `columns_left_behind`.

    Raises:
        UserError: as `columns_of`, for a feature of lists or structs, and for one that is left behind.
    """
    kinds = columns_of(tables, schema.USERS, features.user_columns)
    for name in features.user_columns:
        if nested := next(filter(pt.is_nested, kinds.get(name, [])), None):
            raise UserError(f"features.user_columns: {name!r} of users/ is {nested}, must hold one value a listener")
    left = columns_left_behind(tables, features)
    for name in features.user_columns:
        if name in left:
            raise UserError(f"features.user_columns: {name!r} of users/ cannot be read: {left[name]}")
    kept = list(features.user_columns)
    taken = {name.lower() for name in (*kept, *CONTRACT[schema.USERS], *OURS)}
    for name in sorted(kinds):
        is_nested = any(pt.is_nested(kind) for kind in kinds[name])
        if name and name.lower() not in taken and '"' not in name and not is_nested and name not in left:
            taken.add(name.lower())
            kept.append(name)
    return tuple(kept)


def columns_left_behind(tables: RawTables, features: FeatureSettings) -> dict[str, str]:
    """Returns the columns of users/ beyond the contract that cannot be read for sure, each with the reason.

    SQL would read `age` of a file where it is asked for `Age` of the same file; and where part files have types that
    become one as text alone, each engine writes floats, times and bytes in its own way.

    Raises:
        UserError: as `columns_of`.
    """
    found: dict[str, str] = {}
    for name, kinds in columns_of(tables, schema.USERS, features.user_columns).items():
        if name not in CONTRACT[schema.USERS] and not any(map(pt.is_nested, kinds)) and not become_one(kinds):
            shown = sorted({str(kind) for kind in kinds if not pt.is_null(kind)})
            found[name] = f"its part files have it as {' and as '.join(shown)}; write it in one type"
    for path in tables.files.get(schema.USERS, []):
        bearers: dict[str, list[str]] = {}
        for name in tables.part(schema.USERS, path, features.user_columns).schema.names:
            bearers.setdefault(name.lower(), []).append(name)
        for names in bearers.values():
            if len(names) > 1:
                shown = " and ".join(map(repr, names))
                found |= dict.fromkeys(names, f"columns {shown} of {path} are one to SQL; rename one of them")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RawView:
    """A raw table as SQL.

    Args:
        query: reads the scans.
        scans: part files of equal types, by the name of their scan.
    """

    query: str
    scans: Mapping[str, Group]

    def define(self, database: Database, name: str) -> None:
        """Makes the view known to a database.

        Raises:
            Unreadable: a file is damaged.
        """
        for scan, group in self.scans.items():
            database.scan(scan, group.paths, group.columns)
        database.view(name, self.query)


def select_raw(tables: RawTables, table: str, extra: tuple[str, ...] = (), name: str | None = None) -> RawView:
    """SQL that reads `table` with all contract columns in their types, absent ones as null.

    Beside them stand `row_hash`, equal for rows that say the same; `dates_lost`, how many days or instants of the row
    are none that Python can tell, and null; and where the row is found: `filename` (the caller's) and
    `file_row_number`.

    Args:
        tables: the files.
        table: a name of `schema.RAW_TABLES`.
        extra: columns beyond the contract to carry along as they are.
        name: beginning of the scans' names; null for `table`.

    Raises:
        UserError: as `columns_of`, and for an extra column that is not there.
    """
    kinds = columns_of(tables, table, extra)
    contract = CONTRACT[table]
    dates = [each for each, column in contract.items() if column in (DATE, MOMENT) and each in kinds]
    known = [each for each in (*contract, *extra) if each in kinds]
    joined = {each: one_type(kinds[each], contract.get(each)) for each in known}
    read_as = {each: kind for each, (kind, _) in joined.items()}
    columns = [sql for each in contract for sql in _columns_in_sql(table, each, read_as.get(each))]
    for each in extra:
        if each not in kinds:
            raise UserError(f"features.user_columns: {table}/ has no column {each!r}; it has {sorted(kinds)}")
        is_dated = is_temporal(read_as[each])
        columns.append(f"{_told(quoted(each))} AS {quoted(each)}" if is_dated else quoted(each))
        dates += [each] if is_dated else []
    columns.append(f"{' + '.join(map(_is_lost, dates)) or 'CAST(0 AS INTEGER)'} AS dates_lost")
    if not kinds:
        places = "CAST(0 AS BIGINT) AS row_hash, '' AS filename, CAST(0 AS BIGINT) AS file_row_number"
        return RawView(query=f"SELECT {', '.join(columns)}, {places} WHERE FALSE", scans={})
    filename = f"{_text(str(tables.origin.path))} AS filename" if tables.origin else "filename"
    casts = {each: sql for each, (_, sql) in joined.items() if sql is not None}
    parts = [tables.part(table, path, extra) for path in tables.files[table]]
    scans = {f"{name or table}_{place}": group for place, group in enumerate(groups_of(parts, known))}
    joined_parts = " UNION ALL ".join(group.in_sql(f"scan_{scan}", casts) for scan, group in scans.items())
    # Lists are marked as such for engines that hash them otherwise; of other tables a column `genres` may be text.
    lists = {each for each, column in contract.items() if column.sql.endswith("[]")}
    hashed = [f"CAST({quoted(each)} AS VARCHAR[])" if each in lists else quoted(each) for each in known]
    return RawView(
        query=f"SELECT {', '.join(columns)}, HASH({', '.join(hashed)}) AS row_hash, {filename}, "
        f"file_row_number FROM ({joined_parts}) AS parts",
        scans={f"scan_{scan}": group for scan, group in scans.items()},
    )


def _columns_in_sql(table: str, name: str, kind: pa.DataType | None) -> list[str]:
    """Returns the column in its type; beside a number, what is wrong with it where it cannot be had in that type.

    Args:
        table: a name of `schema.RAW_TABLES`.
        name: name of the column.
        kind: the type that it is read in; null where no file has it.
    """
    column = CONTRACT[table][name]
    source = "NULL" if kind is None else quoted(name)
    if column in (DATE, MOMENT) and kind is not None:
        return [f"CAST({_told(source)} AS {column.sql}) AS {quoted(name)}"]
    if column not in (NUMBER, SLOT):
        return [f"CAST({source} AS {column.sql}) AS {quoted(name)}"]
    value = f"TRY_CAST({_whole(source, kind)} AS {column.sql})"
    fault = (
        f"CASE WHEN {source} IS NULL OR {value} IS NOT NULL THEN NULL "
        f"WHEN ISFINITE(CAST({source} AS DOUBLE)) THEN 'out of range' ELSE 'not finite' END"
    )
    return [f"{value} AS {quoted(name)}", f'CAST({fault} AS VARCHAR) AS "{name}_fault"']


def _whole(source: str, kind: pa.DataType | None) -> str:
    """Returns SQL that rounds a number, as a cast does in one engine and not in another: a float half to even, a
    decimal half away from 0."""
    if kind is not None and pt.is_floating(kind):
        return f"ROUND_EVEN(CAST({source} AS DOUBLE), 0)"
    return f"ROUND({source}, 0)" if kind is not None and pt.is_decimal(kind) and kind.scale > 0 else source


def _told(source: str) -> str:
    """Returns SQL of a day or an instant; null outside of the years 1 to 9999."""
    return f"CASE WHEN CAST({source} AS DATE) BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN {source} END"


def _is_lost(name: str) -> str:
    """Returns SQL that is 1 where `_told` turns a value into null, else 0."""
    source = quoted(name)
    return f"CASE WHEN CAST({source} AS DATE) NOT BETWEEN {FIRST_DAY} AND {LAST_DAY} THEN 1 ELSE 0 END"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def audio_paths(tables: RawTables) -> tuple[list[str], list[str]]:
    """Returns ids and audio paths of all contents that name a sound, in the order of the files."""
    named: dict[str, str] = {}
    for path in tables.files.get(schema.CONTENTS, []):
        footer, part = tables.footers.of(path), tables.part(schema.CONTENTS, path)
        if not footer.schema.names or "audio" not in part.schema.names:
            continue
        own = [name for name in ("content_id", "audio") if name not in part.constants]
        texts = {name: [part.constants[name].text] * footer.num_rows for name in part.constants}
        if own:
            with reading(tables):
                # A ParquetFile knows nothing of its folders' names.
                table = pq.ParquetFile(opened(path)).read(columns=own)
                texts |= {name: id_texts(table[name]) for name in own}
        for content_id, audio in zip(texts["content_id"], texts["audio"], strict=True):
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


def unreadable(tables: RawTables, reason: str, fault_of: Callable[[RawPath], str | None] | None = None) -> UserError:
    """Returns the error for data that looked like Parquet until it was read. It names the file that is damaged or holds
    a time that is out of range; if there is none, it gives `reason`.

    Args:
        tables: the files.
        reason: the reader's message.
        fault_of: function that reads a file as the reader did and returns its fault, null for a sound one; null if
            pyarrow was the reader.
    """
    paths = [path for paths in tables.files.values() for path in paths]
    for path in paths:
        try:
            file = pq.ParquetFile(opened(path))
            for group in range(file.num_row_groups):
                file.read_row_group(group).validate(full=True)
            endless = _endless_time(file)
        except DAMAGE as error:
            return _damaged(path, str(error))
        if endless is not None:
            return UserError(f"{path}: {endless}; mend the value or leave the row out")
    for path in paths:
        if fault_of is not None and (fault := fault_of(path)) is not None:
            return _damaged(path, fault)
    return UserError(f"the raw data cannot be read: {' '.join(reason.split())}")


def _damaged(path: RawPath, reason: str) -> UserError:
    return UserError(f"{path}: damaged ({' '.join(reason.split())}); write it again, or move it out of the folder")


def _endless_time(file: pq.ParquetFile) -> str | None:
    """Returns the first time that microseconds cannot hold, which no engine reads: its column, row and value."""
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
