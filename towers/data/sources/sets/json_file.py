"""A published table of JSON: files of one object each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from towers.data.engines.duckdb_engine import path_in_sql
from towers.data.sources.sets.published import Reading


class JsonFile:
    """JSON, read by the database itself; keys that are not named are left out.

    Args:
        names: patterns of file names below the set's folder, in order; the first with a file counts.
        columns: keys of an object, each with its type in DuckDB's SQL.
        max_object_mb: greatest size of an object, in 10^6 bytes; the database keeps two in memory for each thread.
        is_required: whether the set is not there without it.
    """

    def __init__(self, names: tuple[str, ...], columns: dict[str, str], max_object_mb: int, is_required: bool):
        self.names = names
        self.is_required = is_required
        self._columns, self._max_object_mb = columns, max_object_mb

    def settings(self) -> dict[str, Any]:
        """See `Published`."""
        return {"columns": self._columns, "max_object_mb": self._max_object_mb}

    def relation(self, name: str, paths: Sequence[Path], reading: Reading) -> str:
        """Returns SQL that reads the files in their order; `file` is the path of each."""
        if not paths:
            absent = ", ".join(f"CAST(NULL AS {kind}) AS {each}" for each, kind in self._columns.items())
            return f"SELECT {absent}, CAST(NULL AS VARCHAR) AS file WHERE FALSE"
        files = ", ".join(map(path_in_sql, paths))
        kinds = ", ".join(f"{each}: '{kind}'" for each, kind in self._columns.items())
        return (
            f"SELECT {', '.join(self._columns)}, filename AS file FROM read_json([{files}], format = 'unstructured', "
            f"records = true, columns = {{{kinds}}}, filename = true, "
            f"maximum_object_size = {self._max_object_mb * 1_000_000})"
        )
