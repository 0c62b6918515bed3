"""Part files of a table whose columns differ in type, read as one: what SQL itself makes of two types may lose values
or fail."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers.contract.arrow_types import is_number, is_temporal
from towers.contract.tables import Column


def read_in_sql(files: Mapping[Path, str], contract: Mapping[str, Column], extra: Sequence[str]) -> str:
    """What stands after FROM for all part files: their rows, with `filename` and `file_row_number`.

    Files are read together while SQL has a type that holds the values of all; where a column has none, files of other
    types are read apart, each cast to the contract's type. DuckDB would read text as UUIDs where one file has UUIDs,
    and days of the year 1500 as nanoseconds where one file has those. A column beside the contract becomes text. Files
    without a column, as pandas writes a table without rows, are left out.

    Args:
        files: at least one part file -> its path in SQL.
        contract: the table's columns.
        extra: columns beyond the contract.
    """
    schemas = {path: pq.read_schema(path) for path in files}
    casts = {}
    for name in (*contract, *extra):
        kinds = {schema.field(name).type for schema in schemas.values() if name in schema.names}
        if (kind := _one_type(kinds, contract.get(name))) is not None:
            casts[name] = kind
    groups: dict[tuple[pa.DataType | None, ...], list[str]] = defaultdict(list)
    for path, schema in schemas.items():
        if schema.names:
            kinds_here = tuple(schema.field(name).type if name in schema.names else None for name in casts)
            groups[kinds_here].append(files[path])
    selects = [_select(paths, dict(zip(casts, kinds, strict=True)), casts) for kinds, paths in groups.items()]
    return f"({' UNION ALL BY NAME '.join(selects)})"


def _one_type(kinds: Iterable[pa.DataType], column: Column | None) -> str | None:
    """The type to cast to in SQL before the parts come together; null where they can come together as they are."""
    plain = {kind.value_type if pt.is_dictionary(kind) else kind for kind in kinds}
    if len(plain) <= 1 or all(map(is_number, plain)) or (column is not None and column.sql == "BIGINT"):
        return None
    if column is not None:
        return "TIMESTAMPTZ" if column.sql == "DATE" else column.sql
    return "TIMESTAMPTZ" if all(is_temporal(kind) or pt.is_null(kind) for kind in plain) else "VARCHAR"


def _select(paths: Sequence[str], kinds: Mapping[str, pa.DataType | None], casts: Mapping[str, str]) -> str:
    """SQL that reads files of the same types."""
    sources = {name: "NULL" if pt.is_null(kind) else f'"{name}"' for name, kind in kinds.items() if kind is not None}
    replaced = ", ".join(f'CAST({source} AS {casts[name]}) AS "{name}"' for name, source in sources.items())
    return (
        f"SELECT *{f' REPLACE ({replaced})' if replaced else ''} FROM read_parquet([{', '.join(paths)}], "
        "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true)"
    )
