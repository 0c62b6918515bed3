"""Whether an export is what its manifest says: with common libraries, without torch."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from towers.retrieval.checksums import damaged_files
from towers.retrieval.export import Export
from towers.retrieval.index import recall_of

NORM_TOLERANCE = 1e-4
QUERIES = 200
NEIGHBOURS = 10


def problems(export: Export, min_index_recall: float) -> Iterator[str]:
    """What is wrong with an export, one line each; nothing where all is well.

    Where files are missing or changed, that is all: what they hold is not looked at.

    Args:
        export: opened (so its manifest matches its digest).
        min_index_recall: of the exact nearest 10, from 0 to 1.
    """
    damaged = list(damaged_files(export.folder, export.manifest))
    yield from damaged
    if damaged:
        return
    vectors, counts = export.vectors, export.manifest["counts"]
    if vectors.shape != (counts["contents"], export.manifest["dim"]):
        yield f"content_vectors.npy: shape {vectors.shape}, the manifest says {counts['contents']} contents"
        return
    for name, matrix in (("content_vectors.npy", vectors), ("user_embeddings", export.user_vectors)):
        norms = np.linalg.norm(matrix, axis=1)
        if not (np.abs(norms - 1) < NORM_TOLERANCE).all():
            yield f"{name}: row {int(np.argmax(np.abs(norms - 1)))} is not a unit vector"
    for canary in export.manifest["canaries"]:
        if not np.array_equal(vectors[canary["row"]], np.asarray(canary["vector"], np.float32)):
            yield f"content_vectors.npy: the canary {canary['content_id']} is not at row {canary['row']}"
        if export.content_ids[canary["row"]] != canary["content_id"]:
            yield f"contents.parquet: row {canary['row']} is not {canary['content_id']}"
    yield from _ids(export)
    recall = recall_of(export.index, export.exact_index, vectors, NEIGHBOURS, QUERIES)
    if recall < min_index_recall:
        yield f"index: finds {recall:.3f} of the exact nearest {NEIGHBOURS}, fewer than {min_index_recall}"
    vector = export.encode_events(export.plays(np.zeros(0, np.int64)))
    if not abs(float(np.linalg.norm(vector)) - 1) < NORM_TOLERANCE:
        yield "user_tower.onnx: the vector of an empty history is not a unit vector"


def _ids(export: Export) -> Iterator[str]:
    embeddings = pq.read_table(export.folder / "content_embeddings")
    if embeddings["content_id"].to_pylist() != list(export.content_ids):
        yield "content_embeddings: ids are not those of contents.parquet, in its order"
    for name, ids, count in (
        ("contents", export.content_ids, export.manifest["counts"]["contents"]),
        ("users", export.user_ids, export.manifest["counts"]["users"]),
    ):
        if len(set(ids)) != len(ids) or len(ids) != count:
            yield f"{name}: {len(ids)} ids, {len(set(ids))} of them different, the manifest says {count}"
