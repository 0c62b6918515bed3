"""Counts and removes rows about some listeners in tables and arrays.

Every file is read and written in pieces, so that memory does not grow with it, and replaced as a whole or not at all.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from jaxtyping import Bool, Int, Integer

from towers.errors import UserError
from towers.manifest import atomic_file

ID_COLUMNS = ("user_id", "owner_id")
"""Columns of tables that name a listener."""
ROW_COLUMN = "user_row"
"""Column of tables with the listener's row in the store."""
OWN_ROW = "content_row"
COUNTS = ("train_", "recent_", "num_")
"""Prefixes of the names of columns of counts."""
CLAIM = "is_"
"""Prefix of the names of boolean columns."""
PIECE = 1 << 20
"""Rows of an array that are copied at once."""


def count_in(path: Path, user_ids: Sequence[str], user_rows: Collection[int] = ()) -> int:
    """Counts the rows of a Parquet file that are about some listeners; 0 where it has no column of ids or rows.

    Args:
        path: the file.
        user_ids: ids of the listeners.
        user_rows: their rows in the store that the file was made from, as far as they are known.

    Raises:
        UserError: the file is damaged.
    """
    try:
        data = pads.dataset(path)
        tests = [pc.field(name).isin(pa.array(user_ids, pa.string())) for name in _of(data.schema.names, ID_COLUMNS)]
        if user_rows and ROW_COLUMN in data.schema.names:
            tests.append(pc.field(ROW_COLUMN).isin(pa.array(sorted(user_rows), pa.int64())))
        if not tests:
            return 0
        any_of = tests[0]
        for test in tests[1:]:
            any_of = any_of | test
        return data.count_rows(filter=any_of)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def rows_named(path: Path, user_ids: Sequence[str]) -> set[int]:
    """Reads the store's rows of some listeners from a Parquet file that has both their ids and their rows."""
    try:
        schema = pq.read_schema(path)
        if not {ROW_COLUMN, "user_id"} <= {*schema.names}:
            return set()
        of_them = pc.field("user_id").isin(pa.array(user_ids, pa.string()))
        return {*pads.dataset(path).to_table(columns=[ROW_COLUMN], filter=of_them)[ROW_COLUMN].to_pylist()}
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def drop_rows(path: Path, user_ids: Sequence[str], user_rows: Collection[int] = ()) -> None:
    """Writes a Parquet file anew without the rows that `count_in` counts, row group by row group."""
    file = pq.ParquetFile(path)
    codec = file.metadata.row_group(0).column(0).compression if file.num_row_groups else "SNAPPY"
    # The caller's own metadata stays; metadata of pandas or Arrow about the columns is written anew.
    with (
        atomic_file(path) as temporary,
        pq.ParquetWriter(temporary, file.schema_arrow, compression=codec.lower().replace("uncompressed", "none")) as to,
    ):
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            to.write_table(table.filter(pa.array(~about(table, user_ids, user_rows))))


def about(table: pa.Table, user_ids: Sequence[str], user_rows: Collection[int] = ()) -> Bool[np.ndarray, " rows"]:
    """Returns for each row of a table whether it is about one of some listeners."""
    found = np.zeros(len(table), bool)
    for name in _of(table.column_names, ID_COLUMNS):
        found |= is_one_of(table[name], user_ids)
    if user_rows and ROW_COLUMN in table.column_names:
        found |= np.isin(table[ROW_COLUMN].fill_null(-1).to_numpy(), list(user_rows))
    return found


def is_one_of(column: pa.ChunkedArray, user_ids: Sequence[str]) -> Bool[np.ndarray, " rows"]:
    """Returns for each row of a column of ids whether it is one of `user_ids`."""
    texts = column.cast(pa.string()) if not pa.types.is_string(column.type) else column
    options = pc.SetLookupOptions(value_set=pa.array(user_ids, pa.string()))
    return np.asarray(pc.call_function("is_in", [texts], options))


def blanked(table: pa.Table, rows: Int[np.ndarray, " gone"], *, is_ours: bool = True) -> pa.Table:
    """Returns the table with holes in some rows: null in every column, except that row numbers stay, counts are 0 and
    `is_...` is false.

    Args:
        table: the table, by row.
        rows: the rows that become holes.
        is_ours: whether all columns are this project's; a caller's own columns always become null.
    """
    is_gone = np.zeros(len(table), bool)
    is_gone[rows] = True
    # Rows are copied, since values that are merely masked would keep their bytes in the file.
    others = pa.array(np.arange(len(table)), mask=is_gone)
    for place, field in enumerate(table.schema):
        if is_ours and field.name == OWN_ROW:
            continue
        column = table.column(place).take(others)
        if is_ours and field.name.startswith((*COUNTS, CLAIM)):
            column = column.fill_null(False if field.name.startswith(CLAIM) else 0)
        table = table.set_column(place, field.with_nullable(True), column)
    return table.combine_chunks()


def write_kept(source: Path, target: Path, spans: Sequence[tuple[int, int]]) -> None:
    """Copies a NumPy file without some of its rows.

    Args:
        source: file of the array; it is memory-mapped.
        target: file of the copy.
        spans: rows to leave out, as (first, end), ascending and without overlap.
    """
    array = np.load(source, mmap_mode="r", allow_pickle=False)
    kept = len(array) - sum(end - first for first, end in spans)
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
    with target.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**described, "shape": (kept, *array.shape[1:])})
        begin = 0
        for first, end in [*spans, (len(array), len(array))]:
            for start in range(begin, first, PIECE):
                np.ascontiguousarray(array[start : min(start + PIECE, first)]).tofile(file)
            begin = end


def places_without(
    places: Integer[np.ndarray, " places"], spans: Sequence[tuple[int, int]]
) -> Integer[np.ndarray, " places"]:
    """Returns the places in an array after the rows of `spans` are removed; places within a span move to its start."""
    gone = np.zeros(len(places), np.int64)
    for first, end in spans:
        gone += np.clip(places - first, 0, end - first)
    return (places - gone).astype(places.dtype)


def spans_of(
    offsets: Integer[np.ndarray, " lists_plus_1"], rows: Integer[np.ndarray, " rows"]
) -> list[tuple[int, int]]:
    """Returns the spans of values of some lists, in order; empty lists have none."""
    ends = ((int(offsets[row]), int(offsets[row + 1])) for row in sorted(rows.tolist()))
    return [(first, end) for first, end in ends if end > first]


def damaged(path: Path, error: Exception) -> UserError:
    """Makes the error about a file that cannot be read."""
    told = " ".join(str(error).split())
    return UserError(f"{path}: cannot be read ({told}), so the listeners in it are unknown; remove it")


def _of(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    return [name for name in wanted if name in names]
