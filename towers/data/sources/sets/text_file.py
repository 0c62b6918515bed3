"""A published table of text: tab separated, comma separated, with a delimiter of several signs, or whole lines."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from towers.data.engines.duckdb_engine import path_in_sql
from towers.data.sources.sets.published import Reading
from towers.data.sources.sets.text_blocks import TextForm, blocks, columns_of
from towers.errors import UserError

PLACES = {"file": pa.string(), "line": pa.int64()}
"""Columns of every table of text that say where a row stands: the path, and the number of the line from 1."""


class TextFile:
    """Text with a row a line; every field is read as text, and what it means is said in the set's SQL.

    Beside its columns the table has `file`, the path, and `line`, the number of the line from 1.

    Args:
        names: patterns of file names below the set's folder, in order; the first with a file counts, packed
            (.bz2, .gz) or not.
        columns: names of the columns that it must have; all of them, in their order, where it has no header.
        optional: names of columns that it may have beside them, where it has a header; else null.
        delimiter: delimiter between fields, one character or several; null if a line is one field.
        quote: quote character around fields with a delimiter; null if fields are never quoted.
        encoding: encoding of the text.
        has_header: whether the first line names the columns.
        is_required: whether the set is not there without it.

    Raises:
        UserError: a column with the name of one of the reader's own, or an optional one where no header tells it.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        columns: tuple[str, ...],
        optional: tuple[str, ...],
        delimiter: str | None,
        quote: str | None,
        encoding: str,
        has_header: bool,
        is_required: bool,
    ):
        if taken := {*columns, *optional} & set(PLACES):
            raise UserError(f"data.source.files: column {min(taken)!r} of {names[0]} has a name that is taken")
        if optional and not has_header:
            raise UserError(f"data.source.files: {names[0]} has no header to tell whether {optional[0]!r} is there")
        self.names = names
        self.is_required = is_required
        self._columns, self._optional = columns, optional
        self._form = TextForm(delimiter=delimiter, quote=quote, encoding=encoding, has_header=has_header)

    def settings(self) -> dict[str, Any]:
        """See `Published`."""
        form = self._form
        return {
            "columns": [*self._columns], "optional": [*self._optional], "delimiter": form.delimiter,
            "quote": form.quote, "encoding": form.encoding, "has_header": form.has_header,
        }  # fmt: skip

    def relation(self, name: str, paths: Sequence[Path], reading: Reading) -> str:
        """Writes the rows to Parquet, block by block, so that the text is read once; returns SQL that reads them."""
        schema = pa.schema(
            [
                *((each, pa.string()) for each in (*self._columns, *self._optional)),
                *PLACES.items(),
            ]
        )
        target = reading.folder / f"{name}.parquet"
        sizes = [path.stat().st_size for path in paths]
        with pq.ParquetWriter(target, schema) as writer:
            for at, path in enumerate(paths):
                tell = partial(self._tell, reading, sum(sizes[:at]), sum(sizes), path.name)
                for table in self._rows(path, reading, tell):
                    writer.write_table(_filled(table, path, schema))
        return f"SELECT * FROM read_parquet({path_in_sql(target)})"

    def _rows(self, path: Path, reading: Reading, tell: Callable[[int], None]) -> Iterator[pa.Table]:
        columns = columns_of(path, self._form, self._columns, self._optional)
        wanted = [name for name in (*self._columns, *self._optional) if name in columns]

        def on_bad(line: int, reason: str) -> None:
            reading.faults.read += 1
            reading.faults.add(path, line, reason)

        tell(0)
        for table in blocks(path, self._form, columns, wanted, on_bad, tell):
            reading.faults.read += len(table)
            yield table

    @staticmethod
    def _tell(reading: Reading, before: int, total: int, name: str, done: int) -> None:
        reading.on_progress("reading", before + done, total, name)


def _filled(table: pa.Table, path: Path, schema: pa.Schema) -> pa.Table:
    """Returns a block with all columns of the table; those that the file lacks are null."""
    table = table.append_column("file", pa.array([str(path)] * len(table), pa.string()))
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type) for field in schema
    ]
    return pa.table(columns, schema=schema)
