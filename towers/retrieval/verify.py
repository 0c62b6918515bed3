"""Verification of an export against its manifest, without torch and in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.errors import UserError
from towers.retrieval import files
from towers.retrieval.checksums import damaged_files
from towers.retrieval.content_encoder import ContentEncoder
from towers.retrieval.export import Export
from towers.retrieval.ids import Ids
from towers.retrieval.index import recall_of

NORM_TOLERANCE = 1e-4
QUERIES = 200
NEIGHBOURS = 10
ROWS_AT_ONCE = 65_536
TABLES = (("content", files.CONTENT_EMBEDDINGS), ("user", files.USER_EMBEDDINGS))


def problems(export: Export, min_index_recall: float) -> Iterator[str]:
    """Yields the problems of an export, one line each; nothing if it is intact.

    If files are missing or changed, only these are reported, and their content is not checked.

    Args:
        export: opened export, so its manifest matches its digest.
        min_index_recall: smallest acceptable recall of the exact nearest 10, from 0 to 1.
    """
    damaged = list(damaged_files(export.folder, export.manifest))
    yield from damaged
    if damaged:
        return
    try:
        yield from _of_tables(export)
        yield from _of_index(export, min_index_recall)
        yield from _of_towers(export)
        _ = export.listen_chance  # reading it raises an error if it is damaged
    except UserError as error:  # a file matches its checksum but is unreadable, or belongs to another space
        yield str(error)


def _of_tables(export: Export) -> Iterator[str]:
    """Checks vectors, ids and canaries of contents and listeners."""
    counts, dim = export.manifest["counts"], export.dim
    tables = {
        "content": (export.content_ids, export.vectors, counts["contents"], export.manifest["canaries"]),
        "user": (export.user_ids, export.user_vectors, counts["users"], export.manifest.get("user_canaries", [])),
    }
    for name, folder in TABLES:
        ids, vectors, count, canaries = tables[name]
        if vectors.shape != (count, dim):
            yield f"{name} vectors: shape {vectors.shape}, the manifest says {(count, dim)}"
            continue
        yield from _of_ids(name, ids, count)
        yield from _of_norms(name, vectors)
        yield from _of_embeddings(export, folder, f"{name}_id", ids, vectors)
        for canary in canaries:
            row, content_id = canary["row"], canary[f"{name}_id"]
            if ids[row] != content_id:
                yield f"{name}s: the canary {content_id} is not at row {row}"
            if not np.array_equal(vectors[row], np.asarray(canary["vector"], np.float32)):
                yield f"{name} vectors: the canary {content_id} is not at row {row}"


def _of_ids(name: str, ids: Ids, count: int) -> Iterator[str]:
    if len(ids) != count:
        yield f"{name}s: {len(ids)} ids, the manifest says {count}"
    problem = ids.problem()
    if problem is not None:
        yield f"{name}s: {problem}"


def _of_norms(name: str, vectors: Float[np.ndarray, "rows dim"]) -> Iterator[str]:
    for first in range(0, len(vectors), ROWS_AT_ONCE):
        norms = np.linalg.norm(vectors[first : first + ROWS_AT_ONCE], axis=1)
        is_unit = np.abs(norms - 1) < NORM_TOLERANCE
        if not is_unit.all():
            yield f"{name} vectors: row {first + int(np.argmin(is_unit))} is not a unit vector"
            return


def _of_embeddings(
    export: Export, name: str, id_column: str, ids: Ids, vectors: Float[np.ndarray, "rows dim"]
) -> Iterator[str]:
    """Checks that the Parquet files have the same ids and vectors as the memory-mapped files."""
    row = 0
    for path in sorted((export.folder / name).glob("*.parquet")):
        table = pq.ParquetFile(path)
        found = (table.schema_arrow.metadata or {}).get(b"space_id", b"").decode()
        if found != export.space_id:
            yield f"{_named(path)}: space_id {found} is not the export's {export.space_id}"
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=[id_column, "embedding"]):
            rows = slice(row, row + len(batch))
            matrix = batch["embedding"].flatten().to_numpy().reshape(len(batch), -1)
            if batch[id_column].to_pylist() != ids[rows] or not np.array_equal(matrix, vectors[rows]):
                yield f"{_named(path)}: its ids or vectors are not those of the export, in their order"
                return
            row += len(batch)
    if row != len(ids):
        yield f"{name}: {row} rows for {len(ids)}"


def _of_index(export: Export, min_recall: float) -> Iterator[str]:
    recall = recall_of(export.index, export.exact_index, export.vectors, NEIGHBOURS, QUERIES)
    if recall < min_recall:
        yield f"index: finds {recall:.3f} of the exact nearest {NEIGHBOURS}, fewer than {min_recall}"


def _of_towers(export: Export) -> Iterator[str]:
    """Checks that the towers open, belong to this space, and return unit vectors for empty input."""
    vectors = {files.USER_TOWER: export.encode_events(export.plays(np.zeros(0, np.int64)))}
    path = export.folder / files.CONTENT_TOWER
    if path.exists():
        vectors[files.CONTENT_TOWER] = ContentEncoder(path, export.space_id).encode({}, {})
    for name, vector in vectors.items():
        if not abs(float(np.linalg.norm(vector)) - 1) < NORM_TOLERANCE:
            yield f"{name}: its vector for empty input is not a unit vector"


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
