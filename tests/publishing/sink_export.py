"""Exports for the sinks: small, random, with all columns that filters need and the listeners in two files."""

import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.manifest import digest_of_file
from towers.retrieval.export import Export

NUM_CONTENTS, NUM_USERS, DIM = 240, 30, 8
GENRES = ("folk", "jazz", "musique d'ambiance")


def sink_export(folder: Path, version: str, num_users: int = NUM_USERS) -> Export:
    """Writes an export below `folder`; another version has other vectors."""
    random = np.random.default_rng(list(version.encode()))
    vectors = random.normal(size=(NUM_CONTENTS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [content(f"it's {row}", kind=schema.KINDS[row % 3], title=f"Title {row}") for row in range(NUM_CONTENTS)]
    target = folder / version
    small_export(target, contents, vectors, {f"u{row}": [row] for row in range(num_users)})
    _write_contents(target / "contents.parquet")
    _write_users(target / "user_embeddings", version)
    canaries = [{"content_id": f"it's {row}", "row": row, "vector": vectors[row].tolist()} for row in (0, 7, 239)]
    change_manifest(target, version=version, canaries=canaries)
    return Export(target)


def change_manifest(folder: Path, **changes) -> None:
    """Changes keys of a manifest, and its digest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    (folder / "manifest.json.sha256").write_text(f"{digest_of_file(path)}  manifest.json\n")


def _write_contents(path: Path) -> None:
    rows = range(NUM_CONTENTS)
    table = pq.read_table(path)
    genres = [[GENRES[row % 2], GENRES[2]] if row % 5 else None for row in rows]
    table = table.set_column(table.schema.get_field_index("genres"), "genres", pa.array(genres))
    added = {
        "explicit": pa.array([(True, False, None)[row % 3 if row % 2 else 1] for row in rows]),
        "language": pa.array(["en" if row % 4 else None for row in rows]),
        "release_date": pa.array(
            [None if row % 11 == 10 else datetime.date(2000, 1, 1) + datetime.timedelta(days=100 * row) for row in rows]
        ),
        "train_positives": pa.array([row % 7 for row in rows]),
    }
    for name, column in added.items():
        table = table.append_column(name, column)
    pq.write_table(table, path, row_group_size=50)


def _write_users(folder: Path, version: str) -> None:
    users = pq.read_table(folder / "part-0.parquet")
    as_of = pa.array([datetime.datetime(2026, 1, 1, 12)] * len(users), pa.timestamp("us", "UTC"))
    users = users.append_column("as_of", as_of).append_column("num_events", pa.array(range(len(users)), pa.int64()))
    users = users.replace_schema_metadata({"space_id": "space", "version": version})
    half = len(users) // 2
    pq.write_table(users.slice(0, half), folder / "part-0.parquet")
    pq.write_table(users.slice(half), folder / "part-1.parquet")
