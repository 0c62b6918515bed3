"""Reads the user's table of ids and numbers, CSV or Parquet, and reports faults in one line."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.errors import UserError

ID_NAMES = ("id", "", "index", "unnamed: 0", "card", "content", "playlist", "listener", "user")
"""Names of id columns, besides those that end in _id; data frames write unnamed ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A table of numbers.

    Args:
        key: configuration key that gave the file, such as `world.cards`.
        path: path of the file.
        ids: ids of the rows; row numbers from 0 where the file has no column of ids.
        names: names of the columns.
        values: `[rows, columns]`.
    """

    key: str
    path: Path
    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Float[np.ndarray, "rows columns"]

    def error(self, message: str) -> UserError:
        """Returns an error about this file."""
        return UserError(f"{self.key}={self.path}: {message}")

    def column(self, name: str) -> Float[np.ndarray, " rows"]:
        """Returns the column of a name."""
        return self.values[:, self.names.index(name)]


def read_numbers(path: Path, key: str) -> Numbers:
    """Reads a file whose rows have an id and numbers.

    Args:
        path: path that ends in .csv, .parquet or .pq.
        key: configuration key to name in errors.

    Raises:
        UserError: the file does not exist, is not such a table, has no rows or no numbers, has a name or an id twice,
            or a cell that is empty, no number or not finite; the message names file, column and row, from 1.
    """
    where = f"{key}={path}"
    table = _read(path, where)
    if not len(table):
        raise UserError(f"{where}: has no rows")
    for at, name in enumerate(table.column_names):
        if name in table.column_names[:at]:
            raise UserError(f"{where}: two columns are called {name!r}; rename one of them")
    id_name = _id_name(table, where)
    names = tuple(name for name in table.column_names if name != id_name)
    if not names:
        raise UserError(f"{where}: has only ids and no column of numbers")
    values = np.empty((len(table), len(names)), dtype=np.float32)
    for at, name in enumerate(names):
        values[:, at] = _numbers(table[name], name, where)
    return Numbers(key=key, path=path, ids=_ids(table, id_name, where), names=names, values=values)


def _read(path: Path, where: str) -> pa.Table:
    """Reads a file as a table, with its own types, or types inferred from a CSV."""
    try:
        if path.suffix.lower() == ".csv":
            return pa_csv.read_csv(path)
        if path.suffix.lower() in (".parquet", ".pq"):
            # Only this file, without partition columns that a dataset would derive from its folder's name.
            return pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise UserError(f"{where}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{where}: cannot be read as a table: {' '.join(str(error).split())}") from None
    raise UserError(f"{where}: must end in .csv or .parquet")


def _id_name(table: pa.Table, where: str) -> str | None:
    """Returns the column of ids: found by its name, or the first column if it is text; null: none."""
    named = [name for name in table.column_names if name.lower() in ID_NAMES or name.lower().endswith("_id")]
    if len(named) > 1:
        raise UserError(f"{where}: {' and '.join(named)} both look like the id; leave one of them out")
    if named:
        return named[0]
    first = table.column_names[0]
    column = table[first]
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    # A first column of text is the id, unless it is a column of numbers with a few bad cells.
    return first if is_text and not any(_is_number(cell) for cell in column.to_pylist()) else None


def _ids(table: pa.Table, name: str | None, where: str) -> tuple[str, ...]:
    """Returns the ids as text; they must be distinct."""
    if name is None:
        return tuple(map(str, range(len(table))))
    first_row: dict[str, int] = {}
    for row, value in enumerate(table[name].to_pylist(), start=1):
        if value is None or value == "":
            raise UserError(f"{where}: column {name!r}, row {row}: the id is missing")
        earlier = first_row.setdefault(str(value), row)
        if earlier != row:
            raise UserError(f"{where}: column {name!r}, row {row}: the id {value!r} is already in row {earlier}")
    return tuple(first_row)


def _numbers(column: pa.ChunkedArray, name: str, where: str) -> Float[np.ndarray, " rows"]:
    """Returns a column as numbers, all of which must be finite."""
    place = f"{where}: column {name!r}, row"
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise UserError(f"{place} {row + 1}: the number is missing")
    is_number = (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
    )
    if not is_number:
        cells = column.to_pylist()
        row = next((row for row, cell in enumerate(cells) if not _is_number(cell)), 0)
        raise UserError(f"{place} {row + 1}: {cells[row]!r} is not a number")
    with np.errstate(over="ignore"):  # too large numbers become infinite, and are refused
        numbers = column.cast(pa.float64()).to_numpy().astype(np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise UserError(f"{place} {row + 1}: {column[row].as_py()} is not a finite number")
    return numbers


def _is_number(cell: object) -> bool:
    """Returns whether a cell is text that can be read as a number."""
    if not isinstance(cell, str):
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True
