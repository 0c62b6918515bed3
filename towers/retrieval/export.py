"""An export, opened: what serving reads. Knows no torch.

`recommend` and `similar` give rows of the contents table with scores; whoever shows them adds titles.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from towers import schema
from towers.errors import UserError
from towers.features.settings import FeatureSettings
from towers.features.vocabulary import Vocabulary
from towers.manifest import digest_of_file, read_json
from towers.retrieval.encoders import EVENT_COLUMNS, Events, UserEncoder
from towers.retrieval.files import reading
from towers.retrieval.index import ExactIndex, FaissIndex, Index

FORMAT = 1
MANIFEST, MANIFEST_DIGEST = "manifest.json", "manifest.json.sha256"
DEFAULT_TRACK_US = 180_000_000
"""Assumed length of a content of unknown duration when a history is given without times: three minutes."""

EXACT_BELOW = 20_000
"""Where fewer contents are allowed, every inner product is computed: quicker than an index, and none is missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Contents and their affinity, best first.

    Args:
        rows: `[found]`, of the contents table.
        scores: `[found]`, inner products.
    """

    rows: Int[np.ndarray, " found"]
    scores: Float[np.ndarray, " found"]


class Export:
    """One version of an export.

    Args:
        folder: the version, or a link to it such as `exports/current`.

    Raises:
        UserError: no export there, a manifest that was changed, or a newer format.
    """

    def __init__(self, folder: Path):
        if not (folder / MANIFEST).exists():
            raise UserError(f"{folder}: no export here; run `towers export` first, or give export=FOLDER")
        self.folder = folder.resolve()
        with reading(self.folder / MANIFEST_DIGEST) as path:
            expected = path.read_text().split()[:1]
        if [digest_of_file(self.folder / MANIFEST)] != expected:
            raise UserError(f"{self.folder / MANIFEST}: does not match {MANIFEST_DIGEST}; the export was damaged")
        self.manifest: dict[str, Any] = read_json(self.folder / MANIFEST)
        if self.manifest["format"] > FORMAT:
            raise UserError(f"{folder}: format {self.manifest['format']} is newer than this Towers reads ({FORMAT})")

    @property
    def space_id(self) -> str:
        """Vectors of equal space_id may be compared."""
        return self.manifest["space_id"]

    @property
    def trained_on(self) -> str | None:
        """Fingerprint of the prepared store; null in old manifests."""
        return self.manifest.get("data_fingerprint")

    @property
    def trained_until_us(self) -> int | None:
        """End of the training period, in microseconds since 1970; null without a clock and in old manifests."""
        return self.manifest.get("trained_until_us", self.manifest.get("validation_start_us"))

    @property
    def has_seen_validation(self) -> bool:
        """Whether it was fitted on everything before the test, its settings chosen before."""
        return self.manifest.get("has_seen_validation", False)

    @cached_property
    def vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Of all contents by row, memory-mapped."""
        with reading(self.folder / "content_vectors.npy") as path:
            return np.load(path, mmap_mode="r")

    @cached_property
    def contents(self) -> pa.Table:
        """The contents table, in row order."""
        with reading(self.folder / "contents.parquet") as path:
            return pq.read_table(path)

    @cached_property
    def content_ids(self) -> list[str]:
        """Raw ids by row."""
        return self.contents["content_id"].to_pylist()

    @cached_property
    def kinds(self) -> np.ndarray:
        """`[contents]`, index into `schema.KINDS`."""
        return np.array([schema.KIND_CODES[kind] for kind in self.contents["kind"].to_pylist()])

    @cached_property
    def durations_ms(self) -> np.ndarray:
        """`[contents]`, float64; 0 where unknown."""
        return self.contents["duration_ms"].fill_null(0).to_numpy().astype(np.float64)

    @cached_property
    def features(self) -> FeatureSettings:
        """How raw events and metadata became codes."""
        return FeatureSettings.from_dict(read_json(self.folder / "features.json"))

    @cached_property
    def row_of_content(self) -> dict[str, int]:
        """Raw id -> row."""
        return {content_id: row for row, content_id in enumerate(self.content_ids)}

    @cached_property
    def _users(self) -> pa.Table:
        with reading(self.folder / "user_embeddings" / "part-0.parquet") as path:
            table = pq.read_table(path)
        found = (table.schema.metadata or {}).get(b"space_id", b"").decode()
        if found != self.space_id:
            raise UserError(f"{path}: space_id {found} is not the export's {self.space_id}; vectors must not be mixed")
        return table

    @cached_property
    def user_ids(self) -> list[str]:
        """Raw ids by row."""
        return self._users["user_id"].to_pylist()

    @cached_property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Of all listeners by row, as of the end of the data."""
        column = self._users["embedding"].combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), self.manifest["dim"])

    @cached_property
    def _row_of_user(self) -> dict[str, int]:
        return {user_id: row for row, user_id in enumerate(self.user_ids)}

    @cached_property
    def user_codes(self) -> Int[np.ndarray, "users columns"]:
        """Codes of the listeners' features."""
        with reading(self.folder / "histories" / "user_codes.npy") as path:
            return np.load(path)

    @cached_property
    def _events(self) -> tuple[np.ndarray, pa.Table]:
        with reading(self.folder / "histories" / "events.arrow") as path:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        with reading(self.folder / "histories" / "offsets.npy") as path:
            return np.load(path), table

    @cached_property
    def index(self) -> Index:
        """FAISS over all contents."""
        return FaissIndex(self.folder / "index", self.space_id)

    @cached_property
    def exact_index(self) -> Index:
        """Every inner product."""
        return ExactIndex(self.vectors)

    @cached_property
    def encoder(self) -> UserEncoder:
        """Encodes fresh histories."""
        return UserEncoder(
            self.folder / "user_tower.onnx",
            self.vectors,
            self.space_id,
            self.manifest["max_length"],
            self.manifest["has_clock"],
        )

    def vocabulary(self, name: str) -> Vocabulary:
        """Of a content part, a listener column, or `context`."""
        with reading(self.folder / "vocabularies" / f"{name}.parquet") as path:
            return Vocabulary.read(path)

    def user_row(self, user_id: str) -> int:
        """Raises `UserError` for an unknown listener."""
        if user_id not in self._row_of_user:
            raise UserError(
                f"user={user_id}: no such listener in this export of {len(self.user_ids):,}; "
                "somebody new needs a history=[content_id,...]"
            )
        return self._row_of_user[user_id]

    def content_row(self, name: str) -> int:
        """The content with this id, or else the only one with this title; raises `UserError` where there is none."""
        if name in self.row_of_content:
            return self.row_of_content[name]
        rows = [row for row, title in enumerate(self.contents["title"].to_pylist()) if title == name]
        if len(rows) == 1:
            return rows[0]
        if rows:
            ids = ", ".join(self.content_ids[row] for row in rows[:5])
            raise UserError(f"{name!r}: {len(rows)} contents bear this title; give an id, such as {ids}")
        raise UserError(f"{name!r}: no content with this id or title")

    def events(self, user_row: int) -> Events:
        """What a listener did, up to the end of the data."""
        offsets, table = self._events
        part = table.slice(int(offsets[user_row]), int(offsets[user_row + 1] - offsets[user_row]))
        return Events(**{name: part[name].to_numpy() for name in EVENT_COLUMNS})

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Rows of the contents that a listener has chosen (positive events), in time order, with repeats."""
        offsets, table = self._events
        part = table.slice(int(offsets[user_row]), int(offsets[user_row + 1] - offsets[user_row]))
        return part["content_row"].to_numpy()[part["is_positive"].to_numpy(zero_copy_only=False)]

    def plays(self, content_rows: Int[np.ndarray, " events"]) -> Events:
        """Events of somebody who played these contents in full, one after the other."""
        lengths_us = 1_000 * self.durations_ms[content_rows]
        return Events(
            content_row=content_rows,
            action=np.full(len(content_rows), schema.PLAY),
            timestamp_us=np.cumsum(np.where(lengths_us > 0, lengths_us, DEFAULT_TRACK_US).astype(np.int64)),
            played_fraction=np.ones(len(content_rows)),
            context=np.zeros(len(content_rows), np.int64),
        )

    def encode_events(self, events: Events, user_codes: Int[np.ndarray, " columns"] | None = None) -> np.ndarray:
        """`[dim]`: the vector of somebody after `events`; features of the listener unknown unless given."""
        codes = np.zeros(self.user_codes.shape[1], np.int64) if user_codes is None else user_codes
        return self.encoder.encode(events, codes)

    def recommend(
        self,
        vector: Float[np.ndarray, " dim"],
        k: int,
        kinds: tuple[str, ...] = schema.PLAYABLE_KINDS,
        without: Int[np.ndarray, " seen"] | None = None,
        among: Int[np.ndarray, " candidates"] | None = None,
    ) -> Found:
        """The contents of the highest affinity.

        Args:
            vector: of the listener.
            k: at most so many.
            kinds: of the contents.
            without: rows to leave out, such as what was heard.
            among: rows to choose from; all where null.

        Raises:
            UserError: `k` below 1, an unknown kind.
        """
        allowed = self._of_kinds(kinds)
        if among is not None:
            listed = np.zeros(len(allowed), bool)
            listed[among] = True
            allowed &= listed
        if without is not None:
            allowed[without[without >= 0]] = False
        return self._search(vector, k, allowed, is_exact=among is not None)

    def similar(self, content_row: int, k: int, kinds: tuple[str, ...] | None = None) -> Found:
        """The nearest contents, of the same kind unless `kinds` are given; raises as `recommend`."""
        allowed = self._of_kinds(kinds or (schema.KINDS[self.kinds[content_row]],))
        allowed[content_row] = False
        return self._search(self.vectors[content_row], k, allowed)

    def _search(
        self, vector: np.ndarray, k: int, allowed: Bool[np.ndarray, " contents"], is_exact: bool = False
    ) -> Found:
        """Exact where asked for or few are allowed: an inverted file would look for them in a few cells only."""
        if k < 1:
            raise UserError(f"k={k}: must be at least 1")
        index = self.exact_index if is_exact or allowed.sum() < EXACT_BELOW else self.index
        rows, scores = index.search(vector[None], k, allowed)
        is_found = rows[0] >= 0
        return Found(rows=rows[0][is_found], scores=scores[0][is_found])

    def _of_kinds(self, kinds: tuple[str, ...]) -> Bool[np.ndarray, " contents"]:
        unknown = [kind for kind in kinds if kind not in schema.KIND_CODES]
        if unknown:
            raise UserError(f"kind={unknown[0]}: no such kind; there are {', '.join(schema.KINDS)}")
        return np.isin(self.kinds, [schema.KIND_CODES[kind] for kind in kinds])
