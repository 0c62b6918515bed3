"""Audio embeddings that another model has made (CLAP or MERT, for example), read from a Parquet file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.contract.arrow_types import id_texts, is_id, is_list, is_number
from towers.errors import UserError

ID, VECTOR = "content_id", "vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioVectors:
    """Audio embeddings by content, one vector each.

    Args:
        vectors: `[sounds, dim]`, float32, finite.
        row_of: content id -> row of `vectors`.
    """

    vectors: Float[np.ndarray, "sounds dim"]
    row_of: dict[str, int]

    @classmethod
    def read(cls, path: Path, key: str) -> "AudioVectors":
        """Reads the columns `content_id` (strings or integers) and `vector` (number lists of one length) of a file.

        Args:
            path: Parquet file.
            key: configuration key that names the file, for messages.

        Raises:
            UserError: the file is missing or not Parquet, a column is missing or has another type, there are no rows,
                an id is null or occurs twice, or a vector is null, empty, not as long as the first, or not finite. The
                message names the row, counted from 0.
        """
        where = f"{key}={path}"
        columns = _read(path, where)
        texts = id_texts(columns[ID])
        ids = [text for text in texts if text is not None]
        if len(ids) < len(texts):
            raise UserError(f"{where}: row {texts.index(None)} has no {ID}")
        row_of = {content_id: row for row, content_id in enumerate(ids)}
        if len(row_of) < len(ids):
            row = next(row for row, content_id in enumerate(ids) if row_of[content_id] != row)
            raise UserError(f"{where}: {ID} {ids[row]!r} is in rows {row} and {row_of[ids[row]]}; keep one of them")
        return cls(vectors=_stacked(columns[VECTOR], where), row_of=row_of)


def _read(path: Path, where: str) -> pa.Table:
    """Reads both columns and checks their types."""
    try:
        file = pq.ParquetFile(path)  # unlike pq.read_table, adds no partition columns from folder names
        file_schema = file.schema_arrow
        for name, fits, words in ((ID, is_id, "strings or integers"), (VECTOR, _is_vector, "lists of numbers")):
            if name not in file_schema.names:
                raise UserError(f"{where}: has no column {name}; it has {', '.join(file_schema.names) or 'none'}")
            if file_schema.names.count(name) > 1:
                raise UserError(f"{where}: column {name} occurs twice; keep one of them")
            if not fits(file_schema.field(name).type):
                raise UserError(f"{where}: {name} is {file_schema.field(name).type}, must be {words}")
        table = file.read(columns=[ID, VECTOR])
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{where}: cannot be read as Parquet ({' '.join(str(error).split())})") from error
    if not len(table):
        raise UserError(f"{where}: has no rows")
    return table


def _is_vector(kind: pa.DataType) -> bool:
    return is_list(kind) and is_number(kind.value_type)


def _stacked(column: pa.ChunkedArray, where: str) -> Float[np.ndarray, "sounds dim"]:
    """Stacks lists of numbers into a float32 matrix; the error names the first row that does not fit."""
    lengths = pc.fill_null(pc.call_function("list_value_length", [column]), -1).to_numpy().astype(np.int64)
    dim = int(lengths[np.argmax(lengths > 0)])  # of the first row that is not empty
    ragged = np.flatnonzero((lengths != dim) | (lengths < 1))
    if len(ragged):
        row = int(ragged[0])
        found = "no vector" if lengths[row] < 0 else f"{lengths[row]} numbers"
        needed = f"{dim} as the first has" if dim > 0 else "at least one"
        raise UserError(f"{where}: row {row} has {found}, must have {needed}; correct the row or remove it")
    numbers = pc.call_function("list_flatten", [column]).cast(pa.float32(), safe=False)
    # A null within a vector becomes NaN here.
    vectors = numbers.to_numpy().astype(np.float32, copy=False).reshape(len(lengths), dim)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise UserError(f"{where}: {len(bad):,} vectors are not finite, the first in row {bad[0]}; remove them")
    return vectors
