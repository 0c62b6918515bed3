"""Rows of an export for an engine: id, vector, and columns for filters; in batches, never all at once.

Vectors are written with all dimensions, or with the leading ones, normalised.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.errors import UserError
from towers.publishing.leading import leading
from towers.retrieval.export import Export
from towers.retrieval.files import CONTENTS_FOR_ENGINES, USER_EMBEDDINGS, reading

CONTENTS, USERS = TABLES = "contents", "users"
VECTOR = "vector"
CONTENT_FILTERS = (
    "kind", "title", "artist_ids", "album_id", "genres", "language", "release_date", "duration_ms", "explicit",
)  # fmt: skip
USER_FILTERS = ("as_of", "num_events")
TRAIN_POSITIVES, IS_COLD = "train_positives", "is_cold"

Canaries = dict[str, Float[np.ndarray, " dim"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table of an export.

    Args:
        name: `contents` or `users`.
        id_column: unique column of `schema`.
        schema: raw id, `vector` (fixed-size list of float32), and the columns of the export for filters.
        count: number of all rows.
        canaries: vectors of a few rows, by id, to look for afterwards.
        batches: function from a batch size to an iterator of the rows.
    """

    name: str
    id_column: str
    schema: pa.Schema
    count: int
    canaries: Canaries
    batches: Callable[[int], Iterator[pa.RecordBatch]]


def content_rows(export: Export, dim: int) -> Rows:
    """Returns the contents that are not withdrawn, in row order; with `is_cold` where the export counts how often each
    was chosen in training. Withdrawn contents may not be recommended, so no engine gets them.

    Args:
        export: the export.
        dim: dimension of the rows' vectors, at most the export's.

    Raises:
        UserError: the table does not fit the vectors.
    """
    path, vectors = export.folder / CONTENTS_FOR_ENGINES, export.vectors
    with reading(path):
        table = pq.ParquetFile(path, memory_map=True)
    if table.metadata.num_rows != len(vectors):
        raise UserError(f"{path}: {table.metadata.num_rows} rows for {len(vectors)} vectors; make or copy it again")
    filters = [name for name in CONTENT_FILTERS if name in table.schema_arrow.names]
    counted = [name for name in (TRAIN_POSITIVES,) if name in table.schema_arrow.names]
    fields = [table.schema_arrow.field("content_id"), _vector_field(dim)]
    fields += [table.schema_arrow.field(name) for name in filters] + [pa.field(IS_COLD, pa.bool_()) for _ in counted]
    schema = pa.schema(fields)
    is_listed = np.ones(len(vectors), bool) if export.is_withdrawn is None else ~export.is_withdrawn

    def batches(size: int) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in table.iter_batches(size, columns=["content_id", *filters, *counted]):
            part = _vectors(_cut(vectors[start : start + len(batch)], dim))
            cold = [pa.array(batch[name].to_numpy(zero_copy_only=False) == 0) for name in counted]
            columns = [batch["content_id"], part, *(batch[name] for name in filters), *cold]
            whole = pa.RecordBatch.from_arrays(columns, schema=schema)
            kept = is_listed[start : start + len(batch)]
            if kept.any():
                yield whole if kept.all() else whole.filter(pa.array(kept))
            start += len(batch)

    canaries = {
        str(one["content_id"]): _cut(np.array([one["vector"]], np.float32), dim)[0]
        for one in export.manifest["canaries"]
        if is_listed[one["row"]]
    }
    count = int(is_listed.sum())
    return Rows(name=CONTENTS, id_column="content_id", schema=schema, count=count, canaries=canaries, batches=batches)


def user_rows(export: Export, dim: int) -> Rows:
    """Returns the listeners as of the end of the data, from one Parquet file or several.

    Args:
        export: the export.
        dim: dimension of the rows' vectors, at most the export's.

    Raises:
        UserError: the vectors are of another space or another dimension.
    """
    folder = export.folder / USER_EMBEDDINGS
    tables = [_user_table(path, export.space_id, export.dim) for path in sorted(folder.glob("*.parquet"))]
    if not tables:
        raise UserError(f"{folder}: no Parquet file; make or copy the export again")
    known = tables[0].schema_arrow
    filters = [name for name in USER_FILTERS if name in known.names]
    schema = pa.schema([known.field("user_id"), _vector_field(dim), *(known.field(name) for name in filters)])

    def batches(size: int) -> Iterator[pa.RecordBatch]:
        for table in tables:
            for batch in table.iter_batches(size, columns=["user_id", "embedding", *filters]):
                vectors = batch["embedding"].flatten().to_numpy().reshape(len(batch), export.dim)
                others = [batch[name] for name in filters]
                yield pa.RecordBatch.from_arrays(
                    [batch["user_id"], _vectors(_cut(vectors, dim)), *others], schema=schema
                )

    canaries: Canaries = {}
    for batch in batches(1):
        canaries[batch["user_id"][0].as_py()] = np.array(batch[VECTOR][0].as_py(), np.float32)
        break
    count = sum(table.metadata.num_rows for table in tables)
    return Rows(name=USERS, id_column="user_id", schema=schema, count=count, canaries=canaries, batches=batches)


def _user_table(path: Path, space_id: str, dim: int) -> pq.ParquetFile:
    with reading(path):
        table = pq.ParquetFile(path, memory_map=True)
    found = (table.schema_arrow.metadata or {}).get(b"space_id", b"").decode()
    if found != space_id:
        raise UserError(f"{path}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
    if table.schema_arrow.field("embedding").type.list_size != dim:
        raise UserError(f"{path}: vectors are not of the export's dim {dim}; make or copy the export again")
    return table


def _vector_field(dim: int) -> pa.Field:
    return pa.field(VECTOR, pa.list_(pa.float32(), dim))


def _cut(vectors: Float[np.ndarray, "rows dim"], dim: int) -> Float[np.ndarray, "rows cut"]:
    """Returns the leading dimensions, normalised; the vectors as they are if those are all dimensions."""
    return np.asarray(vectors, np.float32) if dim == vectors.shape[1] else leading(vectors, dim)


def _vectors(vectors: Float[np.ndarray, "rows dim"]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
