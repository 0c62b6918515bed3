"""Listeners of plain taste, and exports whose user tower can be computed by hand: the normalised sum of the history."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper

from tests.retrieval.small_export import SPACE, content, small_export
from towers.data.store import Store
from towers.manifest import digest_of_file
from towers.retrieval.export import Export

TASTES, CONTENTS_OF_A_TASTE, LISTENERS, DIM = 8, 25, 48, 8
START = datetime(2026, 1, 5, tzinfo=UTC)
BEFORE, AFTER = 24, 6
"""Contents that each listener chooses in training and in the test period (from 4 February), all of one taste."""


def write_listening(folder: Path) -> Path:
    """Writes raw events: each listener with a taste chooses contents of this taste, each at most once."""
    draws = np.random.default_rng(0)
    rows = []
    for listener in range(LISTENERS):
        own = [f"c{listener % TASTES}-{place:02}" for place in draws.permutation(CONTENTS_OF_A_TASTE)]
        heard, later = own[: BEFORE - AFTER], own[BEFORE - AFTER : BEFORE]
        rows += [(f"u{listener:02}", name, START + timedelta(hours=place)) for place, name in enumerate(heard)]
        rows += [(f"u{listener:02}", name, START + timedelta(days=32, hours=place)) for place, name in enumerate(later)]
    names, contents, times = zip(*rows, strict=True)
    table = pa.table(
        {
            "user_id": pa.array(names),
            "content_id": pa.array(contents),
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    (folder / "events").mkdir(parents=True)
    pq.write_table(table, folder / "events" / "part-0.parquet")
    return folder


def vectors_by_taste(store: Store, seed: int, spread: float = 0.3) -> np.ndarray:
    """Returns unit vectors by row of the store: a direction for each taste, and a small part of their own."""
    draws = np.random.default_rng(seed)
    tastes = [int(content_id[1]) for content_id in store.content_ids.tolist()]
    vectors = np.eye(DIM)[tastes] + spread * draws.normal(size=(len(tastes), DIM))
    return unit(vectors).astype(np.float32)


def listeners_of(store: Store, user_rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns vectors of listeners from their histories before the test period, as `user_tower` does."""
    histories = store.histories
    sums = [
        vectors[histories.content_row[histories.offsets[row] : histories.test_start[row]]].sum(axis=0)
        for row in user_rows
    ]
    return unit(np.array(sums).reshape(len(user_rows), vectors.shape[1])).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def export_of(
    folder: Path, store: Store, vectors: np.ndarray, user_ids: list[str], rows: np.ndarray | None = None
) -> Export:
    """Writes an export of the store's contents (`rows` of them, in that order) at `vectors`, which go by row of the
    store. Its training ended where the store's validation begins.
    """
    rows = np.arange(len(vectors)) if rows is None else rows
    contents = [content(content_id) for content_id in store.content_ids[rows].tolist()]
    chosen = {user: list(range(len(rows))) if place == 0 else [] for place, user in enumerate(user_ids)}
    export = small_export(folder, contents, vectors[rows], chosen)
    _write_user_tower(folder / "user_tower.onnx")
    (folder / "features.json").write_text(json.dumps(store.features.to_dict()))
    (folder / "vocabularies").mkdir()
    store.vocabulary("context").write(folder / "vocabularies" / "context.parquet")
    facts = {
        "version": folder.name,
        "max_length": 100,
        "has_clock": True,
        "data_fingerprint": "another store",
        "trained_until_us": store.manifest["validation_start_us"],
    }
    return with_manifest(export, **facts)


def with_manifest(export: Export, **facts: Any) -> Export:
    """Returns the same export with other facts in its manifest."""
    path = export.folder / "manifest.json"
    path.write_text(json.dumps(export.manifest | facts))
    (export.folder / "manifest.json.sha256").write_text(digest_of_file(path) + "  manifest.json\n")
    return Export(export.folder)


def _write_user_tower(path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["content_vectors", "axes"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["vector"], axis=1, p=2),
    ]
    read = helper.make_tensor_value_info("content_vectors", TensorProto.FLOAT, ["batch", "length", "dim"])
    given = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", "dim"])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "sum", [read], [given], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"space_id": SPACE})
    onnx.save(model, path)
