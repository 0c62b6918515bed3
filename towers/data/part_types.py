"""Reads part files whose columns differ in type as one table, where SQL by itself may lose values or fail."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from towers.contract.arrow_types import MAX_DIGITS, is_id, is_number, is_temporal
from towers.contract.tables import Column
from towers.data.engines.engine import PLACES
from towers.data.sources.partitions import Constant, Part
from towers.data.sources.remote import RawPath

_WHOLE = {pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT"}
"""Signed types with their names in SQL, by width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Part files that have equal types in all columns that are read.

    Args:
        paths: paths of the files.
        kinds: type of each column; null for one that the files lack.
        constants: columns that only stand outside of the files, each with one value for all of them.
    """

    paths: tuple[RawPath, ...]
    kinds: Mapping[str, pa.DataType | None]
    constants: Mapping[str, Constant] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Returns the columns to read: those that are there and can hold a value."""
        there = {name: kind for name, kind in self.kinds.items() if name not in self.constants}
        return [name for name, kind in there.items() if kind is not None and not pt.is_null(kind)]

    def in_sql(self, scan: str, casts: Mapping[str, str]) -> str:
        """Returns SQL that reads a scan of the files.

        Args:
            scan: name of the scan.
            casts: the type in SQL that a column is cast to where other files have it in another type.
        """
        shown = []
        for name in self.kinds:
            value = f'"{name}"' if name in self.columns else "NULL"
            value = self.constants[name].in_sql if name in self.constants else value
            shown.append(f'CAST({value} AS {casts[name]}) AS "{name}"' if name in casts else f'{value} AS "{name}"')
        return f"SELECT {', '.join([*shown, *PLACES])} FROM {scan}"


def groups_of(parts: Sequence[Part], names: Sequence[str]) -> list[Group]:
    """Divides part files by the types of the columns to read, and by the values of those that stand outside of them.

    Files without a column, as pandas writes a table without rows, are left out.

    Args:
        parts: the files.
        names: names of the columns.
    """
    found: dict[tuple[Any, ...], list[RawPath]] = defaultdict(list)
    for part in parts:
        schema, constants = part.schema, {name: part.constants[name] for name in names if name in part.constants}
        if len(schema) > len(part.constants):
            kinds = tuple(schema.field(name).type if name in schema.names else None for name in names)
            found[kinds, tuple(constants.items())].append(part.path)
    return [
        Group(paths=tuple(some), kinds=dict(zip(names, kinds, strict=True)), constants=dict(constants))
        for (kinds, constants), some in found.items()
    ]


def become_one(kinds: Iterable[pa.DataType]) -> bool:
    """Returns whether a column beside the contract that has these types in its part files can be read as one.

    Text, whole numbers, booleans and UUIDs can, as text that every engine writes alike.
    """
    plain = {kind.value_type if pt.is_dictionary(kind) else kind for kind in kinds} - {pa.null()}
    if len(plain) <= 1 or all(map(is_number, plain)) or all(map(is_temporal, plain)):
        return True
    return all((is_id(kind) and not pt.is_decimal(kind)) or pt.is_boolean(kind) for kind in plain)


def one_type(kinds: Iterable[pa.DataType], column: Column | None) -> tuple[pa.DataType, str | None]:
    """Returns the type that a column has once the files are joined, and its name in SQL where files must be cast to it.

    DuckDB would read text as UUIDs where one file has UUIDs, and days of the year 1500 as nanoseconds where one file
    has those; each engine has its own rules for numbers. So the type is stated. A column beside the contract becomes
    text where nothing else holds all values; see `become_one`.

    Args:
        kinds: the types in the files that have the column.
        column: the contract's column; null for one beside the contract.
    """
    plain = {kind.value_type if pt.is_dictionary(kind) else kind for kind in kinds} - {pa.null()}
    if not plain:  # Spark cannot keep a column without a type
        return pa.null(), "INTEGER" if column is None else column.sql
    if len(plain) == 1:
        (kind,) = plain
        # Nanoseconds are rounded once and for all, since Spark has none.
        is_finer = pt.is_timestamp(kind) and kind.unit == "ns"
        return kind, ("TIMESTAMP" if kind.tz is None else "TIMESTAMPTZ") if is_finer else None
    if column is not None and column.sql not in ("BIGINT", "DOUBLE"):
        return (pa.timestamp("us", "UTC"), "TIMESTAMPTZ") if column.sql == "DATE" else (pa.string(), column.sql)
    if all(map(is_number, plain)):
        return _number(plain)
    if all(map(is_temporal, plain)):
        return pa.timestamp("us", "UTC"), "TIMESTAMPTZ"
    return pa.string(), "VARCHAR"


def _number(kinds: Iterable[pa.DataType]) -> tuple[pa.DataType, str]:
    """Returns the narrowest signed type that holds numbers of all types; floats of 64 bit where some are floats."""
    digits, scale, width = 0, 0, 8
    for kind in kinds:
        if pt.is_floating(kind):
            return pa.float64(), "DOUBLE"
        if pt.is_decimal(kind):
            digits, scale, width = max(digits, kind.precision - kind.scale), max(scale, kind.scale), 128
        else:
            width = max(width, kind.bit_width * (2 if pt.is_unsigned_integer(kind) else 1))
            digits = max(digits, len(str(2**kind.bit_width)))
    for whole, name in _WHOLE.items():
        if width <= whole.bit_width:
            return whole, name
    if digits + scale > MAX_DIGITS:
        return pa.float64(), "DOUBLE"
    return pa.decimal128(digits + scale, scale), f"DECIMAL({digits + scale}, {scale})"
