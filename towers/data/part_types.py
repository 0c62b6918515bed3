"""Reads part files whose columns differ in type as one table, where SQL by itself may lose values or fail."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers.contract.arrow_types import is_number, is_temporal
from towers.contract.tables import Column


def read_in_sql(files: Mapping[Path, str], contract: Mapping[str, Column], extra: Sequence[str]) -> str:
    """Returns the FROM clause that reads all part files, with the columns `filename` and `file_row_number`.

    Files are read together while SQL has a type that holds the values of all; where a column has none, files of other
    types are read apart, each cast to the contract's type. DuckDB would read text as UUIDs where one file has UUIDs,
    and days of the year 1500 as nanoseconds where one file has those. A column beside the contract becomes text. Files
    without a column, as pandas writes a table without rows, are left out.

    Args:
        files: the path in SQL of each part file; at least one.
        contract: the columns of the table in the contract.
        extra: columns to read beside the contract.
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
    """Returns the type to cast a column to before parts are joined; null where they can be joined as they are."""
    plain = {kind.value_type if pt.is_dictionary(kind) else kind for kind in kinds}
    if len(plain) <= 1 or all(map(is_number, plain)) or (column is not None and column.sql == "BIGINT"):
        return None
    if column is not None:
        return "TIMESTAMPTZ" if column.sql == "DATE" else column.sql
    return "TIMESTAMPTZ" if all(is_temporal(kind) or pt.is_null(kind) for kind in plain) else "VARCHAR"


def _select(paths: Sequence[str], kinds: Mapping[str, pa.DataType | None], casts: Mapping[str, str]) -> str:
    """Returns SQL that reads files of the same types."""
    sources = {name: "NULL" if pt.is_null(kind) else f'"{name}"' for name, kind in kinds.items() if kind is not None}
    replaced = ", ".join(f'CAST({source} AS {casts[name]}) AS "{name}"' for name, source in sources.items())
    return (
        f"SELECT *{f' REPLACE ({replaced})' if replaced else ''} FROM read_parquet([{', '.join(paths)}], "
        "union_by_name = true, hive_partitioning = false, filename = true, file_row_number = true)"
    )
