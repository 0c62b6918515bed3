"""A published table of Parquet, flat or with a row of lists for each listener."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from towers.data.engines.duckdb_engine import path_in_sql
from towers.data.sources.sets.published import Reading
from towers.errors import UserError


class ParquetFile:
    """Parquet, read by the database itself.

    Args:
        names: patterns of file names below the set's folder, in order; the first with a file counts.
        columns: columns that it must have, each with the names that files give it.
        optional: columns that it may have, likewise; null where it has none of the names.
        unnest: whether a column of lists becomes a row an element; lists of one row are of one length.
        is_required: whether the set is not there without it.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        columns: dict[str, list[str]],
        optional: dict[str, list[str]],
        unnest: bool,
        is_required: bool,
    ):
        self.names = names
        self.is_required = is_required
        self._columns, self._optional, self._unnest = columns, optional, unnest

    def settings(self) -> dict[str, Any]:
        """See `Published`."""
        return {"columns": self._columns, "optional": self._optional, "unnest": self._unnest}

    def relation(self, name: str, paths: Sequence[Path], reading: Reading) -> str:
        """Returns SQL that reads the files in their order."""
        both = {**self._columns, **self._optional}
        if not paths:
            return f"SELECT {', '.join(f'NULL AS {each}' for each in both)} WHERE FALSE"
        kinds = [_kinds(path) for path in paths]
        selected = []
        for each, names in both.items():
            own = _own_name(paths[0], kinds[0], names, each in self._columns)
            if own is None:
                selected.append(f"NULL AS {each}")
                continue
            for path, other in zip(paths, kinds, strict=True):
                _own_name(path, other, [own], True)
            is_taken_apart = self._unnest and pt.is_nested(kinds[0][own])
            quoted = f'"{own}"'
            selected.append(f"{f'UNNEST({quoted})' if is_taken_apart else quoted} AS {each}")
        files = ", ".join(map(path_in_sql, paths))
        return f"SELECT {', '.join(selected)} FROM read_parquet([{files}], hive_partitioning = false)"


def _kinds(path: Path) -> dict[str, pa.DataType]:
    try:
        return {field.name: field.type for field in pq.read_schema(path)}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file ({' '.join(str(error).split())}); get it again"
        ) from error


def _own_name(path: Path, kinds: Mapping[str, pa.DataType], names: Sequence[str], is_required: bool) -> str | None:
    own = next((name for name in names if name in kinds), None)
    if own is None and is_required:
        raise UserError(f"{path}: no column {' or '.join(map(repr, names))}; it has {', '.join(kinds)}")
    return own
