"""Writes a version of an export: vectors, tables, ONNX, index, manifest; whole or not at all."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from towers.data.store import Store, write_arrow
from towers.manifest import atomic_directory, digest_of_file, library_versions, point_to, write_json
from towers.models.user_tower import UserTower
from towers.publishing.card import model_card
from towers.publishing.index import IvfSettings, recall_of_index
from towers.publishing.onnx import export_user_tower
from towers.retrieval.encoders import EVENT_COLUMNS, Events, UserEncoder
from towers.retrieval.export import FORMAT, MANIFEST, MANIFEST_DIGEST

CURRENT = "current"
CANARIES = 8
PARITY_USERS = 32
PARITY_TOLERANCE = 1e-4
CONTENT_COLUMNS = (
    "content_id", "kind", "title", "artist_ids", "album_id", "genres", "language", "release_date", "duration_ms",
    "explicit", "audio",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportParts:
    """What an export is made of.

    Args:
        store: of the training data.
        user_tower: in evaluation mode, on the CPU.
        content_vectors: `[contents, dim]`, unit, float32.
        user_vectors: `[users, dim]`, unit, float32, as of the end of the data.
        max_length: events that the user tower reads.
        weights: fingerprint of the weights.
        config: fingerprint of the configuration.
        metrics: of the evaluation, by ranker; empty where there is none.
        index: how to index.
    """

    store: Store
    user_tower: UserTower
    content_vectors: Float[np.ndarray, "contents dim"]
    user_vectors: Float[np.ndarray, "users dim"]
    max_length: int
    trained_until_us: int | None
    has_seen_validation: bool
    weights: str
    config: str
    metrics: dict[str, Any]
    index: IvfSettings

    @property
    def space_id(self) -> str:
        """Follows from the weights: other weights are another space."""
        return self.weights[:16]


def write_export(target: Path, parts: ExportParts) -> None:
    """Writes the folder `target`, named by its version: whole or not at all.

    Raises:
        RuntimeError: the ONNX tower does not give what torch gives.
    """
    with atomic_directory(target) as folder:
        _Writer(parts, folder, target.name).write()


def publish(target: Path) -> None:
    """Makes `current` beside `target` point to it, atomically."""
    point_to(target.parent / CURRENT, target)


def version_of(store: Store, fingerprint: str) -> str:
    """End of the data's window and the fingerprint of what is exported; no clock, so that it can be made again."""
    window = window_of(store)
    end = window["end"][:10].replace("-", "") if window else "undated"
    return f"{end}-{fingerprint[:10]}"


def window_of(store: Store) -> dict[str, str]:
    """First and last event as ISO times in UTC; empty for data without a clock."""
    times = store.histories.timestamp_us
    if not store.has_clock or not len(times):
        return {}
    spell = {"start": int(times.min()), "end": int(times.max())}
    return {name: datetime.fromtimestamp(us / 1e6, UTC).isoformat() for name, us in spell.items()}


class _Writer:
    """One export being written."""

    def __init__(self, parts: ExportParts, folder: Path, version: str):
        self._parts = parts
        self._store = parts.store
        self._folder = folder
        self._version = version

    def write(self) -> None:
        self._write_contents()
        self._write_users()
        self._write_histories()
        self._write_features()
        export_user_tower(
            self._parts.user_tower,
            self._parts.content_vectors.shape[1],
            self._store.user_codes.shape[1],
            self._folder / "user_tower.onnx",
            self._parts.space_id,
        )
        difference = self._onnx_difference()
        if not difference <= PARITY_TOLERANCE:  # not a number is no parity either
            raise RuntimeError(f"user_tower.onnx differs from torch by {difference:.2e}; the export is not written")
        self._parts.index.build(self._parts.content_vectors, self._folder / "index", self._parts.space_id)
        self._write_manifest(difference)

    def _metadata(self) -> dict[str, str]:
        return {"space_id": self._parts.space_id, "version": self._version}

    def _write_contents(self) -> None:
        contents = self._store.contents.select(list(CONTENT_COLUMNS))
        pq.write_table(contents, self._folder / "contents.parquet")
        np.save(self._folder / "content_vectors.npy", self._parts.content_vectors)
        table = contents.select(["content_id", "kind"]).append_column(
            "embedding", _vectors(self._parts.content_vectors)
        )
        self._write_embeddings("content_embeddings", table)

    def _write_users(self) -> None:
        histories = self._store.histories
        counts = np.diff(histories.offsets)
        has_events = (counts > 0) & self._store.has_clock
        last = np.maximum(histories.offsets[1:] - 1, 0)
        times = histories.timestamp_us[last] if len(histories.timestamp_us) else np.zeros(len(counts), np.int64)
        table = pa.table(
            {
                "user_id": pa.array(self._store.user_ids.tolist(), pa.string()),
                "embedding": _vectors(self._parts.user_vectors),
                "as_of": pa.array(times, pa.timestamp("us", tz="UTC"), mask=~has_events),
                "num_events": pa.array(counts, pa.int64()),
            }
        )
        self._write_embeddings("user_embeddings", table)

    def _write_embeddings(self, name: str, table: pa.Table) -> None:
        (self._folder / name).mkdir()
        pq.write_table(table.replace_schema_metadata(self._metadata()), self._folder / name / "part-0.parquet")

    def _write_histories(self) -> None:
        histories = self._store.histories
        folder = self._folder / "histories"
        folder.mkdir()
        names = (*EVENT_COLUMNS, "is_positive")
        write_arrow(folder / "events.arrow", pa.table({name: np.asarray(getattr(histories, name)) for name in names}))
        np.save(folder / "offsets.npy", np.asarray(histories.offsets))
        np.save(folder / "user_codes.npy", self._store.user_codes)

    def _write_features(self) -> None:
        settings = self._store.features
        write_json(self._folder / "features.json", settings.to_dict())
        (self._folder / "vocabularies").mkdir()
        for name in (*settings.content_parts, *settings.user_columns, "context"):
            self._store.vocabulary(name).write(self._folder / "vocabularies" / f"{name}.parquet")

    def _onnx_difference(self) -> float:
        """Against torch's own path, on listeners spread over the store; through the serving side's features."""
        parts, histories = self._parts, self._store.histories
        encoder = UserEncoder(
            self._folder / "user_tower.onnx", parts.content_vectors, parts.space_id, parts.max_length,
            self._store.has_clock,
        )  # fmt: skip
        differences = [0.0]
        for user in range(0, histories.num_users, max(1, histories.num_users // PARITY_USERS)):
            part = slice(histories.offsets[user], histories.offsets[user + 1])
            events = Events(**{name: np.asarray(getattr(histories, name)[part]) for name in EVENT_COLUMNS})
            found = encoder.encode(events, self._store.user_codes[user])
            differences.append(float(np.abs(found - parts.user_vectors[user]).max()))
        return float(np.max(differences))

    def _write_manifest(self, onnx_difference: float) -> None:
        parts, store = self._parts, self._store
        vectors = parts.content_vectors
        canaries = np.linspace(0, len(vectors) - 1, min(CANARIES, len(vectors))).astype(int)
        kinds, counts = np.unique(store.contents["kind"].to_pylist(), return_counts=True)
        manifest = {
            "format": FORMAT,
            "version": self._version,
            "space_id": parts.space_id,
            "dim": vectors.shape[1],
            "metric": "inner product of unit vectors",
            "dtype": "float32",
            "counts": {
                "users": len(parts.user_vectors),
                "contents": len(vectors),
                "events": len(store.histories.content_row),
                **{f"{kind}s": int(count) for kind, count in zip(kinds, counts, strict=True)},
            },
            "max_length": parts.max_length,
            "has_clock": store.has_clock,
            "window": window_of(store),
            "data_fingerprint": store.fingerprint,
            # Null for data without a clock.
            "trained_until_us": parts.trained_until_us,
            "has_seen_validation": parts.has_seen_validation,
            "validation_start_us": store.manifest["validation_start_us"],
            "test_start_us": store.manifest["test_start_us"],
            "weights": parts.weights,
            "config": parts.config,
            "metrics": parts.metrics,
            "index_recall@10": recall_of_index(self._folder / "index", parts.space_id, vectors),
            "onnx_difference": onnx_difference,
            "canaries": [
                {"content_id": str(store.content_ids[row]), "row": int(row), "vector": vectors[row].tolist()}
                for row in canaries
            ],
            "libraries": library_versions(),
        }
        (self._folder / "README.md").write_text(model_card(manifest))
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        manifest["files"] = {str(path.relative_to(self._folder)): digest_of_file(path) for path in files}
        write_json(self._folder / MANIFEST, manifest)
        digest = digest_of_file(self._folder / MANIFEST)
        (self._folder / MANIFEST_DIGEST).write_text(f"{digest}  {MANIFEST}\n")


def _vectors(vectors: Float[np.ndarray, "rows dim"]) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
