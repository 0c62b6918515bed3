"""Columns that stand in folders' names alone, as Hive, Spark and Delta write them: `action=play/part-0.parquet`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import unquote

import pyarrow as pa

from towers.contract.tables import CONTRACT, Column
from towers.data.sources.remote import RawPath
from towers.errors import UserError

NULL = "__HIVE_DEFAULT_PARTITION__"
"""Name of the folder of rows whose value is null."""
LONGEST_DAY = len("2026-01-05")
KINDS = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
}
"""Arrow's type of what SQL makes of a folder's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A column with one value in a whole part file.

    Args:
        sql: type of the column in SQL.
        text: the value, as SQL reads it in that type; null is null.
    """

    sql: str
    text: str | None

    @property
    def in_sql(self) -> str:
        """Returns the value as an expression."""
        value = "NULL" if self.text is None else "'" + self.text.replace("'", "''") + "'"
        return f"CAST({value} AS {self.sql})"

    @property
    def kind(self) -> pa.DataType:
        """Returns the type of the column in Arrow."""
        return KINDS[self.sql]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part file of a table, with columns whose values stand outside of it.

    Args:
        path: path of the file.
        schema: columns of the file, followed by the constants.
        constants: columns that the file lacks, by name.
    """

    path: RawPath
    schema: pa.Schema
    constants: Mapping[str, Constant]


def values_in(folders: Sequence[str]) -> dict[str, str | None]:
    """Returns the columns and values that stand in folders' names, as text.

    >>> values_in(["day=2026-01-05", "plays", "context=late%20night", "device=__HIVE_DEFAULT_PARTITION__"])
    {'day': '2026-01-05', 'context': 'late night', 'device': None}
    """
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return {unquote(name): None if value == NULL else unquote(value) for name, _, value in pairs}


def part_of(
    path: RawPath, table: str, own: pa.Schema, values: Mapping[str, str | None], extra: Sequence[str] = ()
) -> Part:
    """Returns a part file, with columns of the contract or of `extra` whose values only stand outside of the file.

    A column that the file has is the file's, and its folders do not count. `Action=skip` names the column `action`,
    as it does for Hive and Spark.

    Args:
        path: path of the file, for messages.
        table: a name of `schema.RAW_TABLES`.
        own: the file's columns.
        values: values of columns in its folders' names or its table's log, as text.
        extra: columns beside the contract that are read, as text.

    Raises:
        UserError: a value is not of the column's type.
    """
    taken = {name.lower() for name in own.names}
    known = {name.lower(): name for name in (*extra, *CONTRACT[table])}
    constants = {}
    for outside, text in values.items():
        name = known.get(outside.lower())
        if name is not None and name.lower() not in taken:
            constants[name] = _constant(path, name, text, CONTRACT[table].get(name))
    fields = [pa.field(name, constant.kind) for name, constant in constants.items()]
    return Part(path=path, schema=pa.schema([*own, *fields]) if fields else own, constants=constants)


def _constant(path: RawPath, name: str, text: str | None, column: Column | None) -> Constant:
    sql = "VARCHAR" if column is None else column.sql
    try:
        return Constant(sql=sql, text=None if text is None else _read(sql, text))
    except (KeyError, ValueError, OverflowError):
        words = column.words if column is not None else "text"
        raise UserError(f"{path}: column {name!r} is {text!r} by its folder's name, must be {words}") from None


def _read(sql: str, text: str) -> str:
    """Returns a text as SQL reads it without failing; all of the text is looked at.

    Raises:
        ValueError: it says nothing of this type, or more than the type can hold.
        OverflowError: as ValueError, of an instant near the first or last year.
        KeyError: as ValueError.
    """
    if sql in ("BIGINT", "DOUBLE") and "_" in text:  # Python's way to write 1_000
        raise ValueError(text)
    if sql == "BIGINT":
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError(text)
        return str(number)
    if sql == "DOUBLE":
        return repr(float(text))
    if sql == "BOOLEAN":
        return {"true": "true", "false": "false", "1": "true", "0": "false"}[text.lower()]
    if sql == "DATE":
        return (date.fromisoformat(text) if len(text) <= LONGEST_DAY else _instant(text).date()).isoformat()
    if sql == "TIMESTAMPTZ":
        return _instant(text).isoformat()
    return {"VARCHAR": text}[sql]  # a list has no name


def _instant(text: str) -> datetime:
    """Returns a time in UTC; one without a zone is meant so."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
