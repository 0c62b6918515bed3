"""An export written by hand, without a network: the files that search and display of contents read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from towers.contract import schema
from towers.manifest import digest_of_file
from towers.publishing.index import IvfSettings
from towers.retrieval.export import Export

SPACE = "space"
OTHERS = {"release_date": pa.date32(), "explicit": pa.bool_(), "audio": pa.string()}
"""Columns that exist if a content has them."""
FLAT = IvfSettings(min_contents=1_000_000, num_lists=1, num_probes=1)


def content(
    content_id: str, kind: str = "track", title: str | None = None, artist_ids: Sequence[str] = (), **more: Any
) -> dict:
    """Returns a row of the contents table; `more` may be of `OTHERS`."""
    row = {"content_id": content_id, "kind": kind, "title": title, "artist_ids": list(artist_ids), "genres": ["folk"]}
    return row | more


def small_export(
    folder: Path,
    contents: list[dict],
    vectors: np.ndarray,
    chosen: dict[str, list[int]] | None = None,
    index: IvfSettings = FLAT,
) -> Export:
    """Writes an export of `contents` at `vectors`; listeners are at the vector of the last content that they chose."""
    chosen = chosen or {}
    folder.mkdir(parents=True)
    types = [("content_id", pa.string()), ("kind", pa.string()), ("title", pa.string())]
    types += [("artist_ids", pa.list_(pa.string())), ("genres", pa.list_(pa.string()))]
    types += [(name, kind) for name, kind in OTHERS.items() if any(name in row for row in contents)]
    table = pa.Table.from_pylist(contents, pa.schema(types))
    pq.write_table(table.append_column("duration_ms", pa.nulls(len(table), pa.int64())), folder / "contents.parquet")
    np.save(folder / "content_vectors.npy", vectors)
    index.build(vectors, folder / "index", SPACE)
    _write_users(folder, vectors, chosen)
    manifest = {"format": 1, "space_id": SPACE, "dim": vectors.shape[1]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.json.sha256").write_text(digest_of_file(folder / "manifest.json") + "  manifest.json\n")
    return Export(folder)


def _write_users(folder: Path, vectors: np.ndarray, chosen: dict[str, list[int]]) -> None:
    (folder / "user_embeddings").mkdir()
    (folder / "histories").mkdir()
    embeddings = [vectors[rows[-1]] if rows else vectors[0] for rows in chosen.values()]
    flat = pa.array(np.concatenate([np.zeros(0, np.float32), *embeddings]))
    users = pa.table(
        {"user_id": pa.array(list(chosen)), "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    )
    pq.write_table(users.replace_schema_metadata({"space_id": SPACE}), folder / "user_embeddings" / "part-0.parquet")
    rows = np.array([row for rows in chosen.values() for row in rows], np.int64)
    events = pa.table(
        {
            "content_row": rows,
            "action": np.full(len(rows), schema.PLAY),
            "timestamp_us": np.arange(len(rows)),
            "played_fraction": np.ones(len(rows)),
            "context": np.zeros(len(rows), np.int64),
            "is_positive": np.ones(len(rows), bool),
        }
    )
    pa.feather.write_feather(events, str(folder / "histories" / "events.arrow"), compression="uncompressed")
    np.save(folder / "histories" / "offsets.npy", np.cumsum([0, *map(len, chosen.values())]))
    np.save(folder / "histories" / "user_codes.npy", np.zeros((len(chosen), 0), np.int64))
