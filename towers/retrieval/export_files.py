"""The files of an export: vectors, contents, listeners and histories, towers and index. Imports no torch.

Large files are memory-mapped, so that the worker processes of a machine share one copy; each process reads some files
of format 1 into its own memory.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int, Integer, Shaped

from towers.contract import schema
from towers.contract.events import microseconds_of
from towers.contract.provenance import Provenance
from towers.errors import UserError
from towers.features.content_facts import ContentFacts, artist_codes
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings
from towers.features.vocabulary import Vocabulary
from towers.manifest import read_json
from towers.retrieval import files
from towers.retrieval.catalogue import Catalogue
from towers.retrieval.checksums import damaged_files, read_manifest
from towers.retrieval.encoders import EVENT_COLUMNS, Events, UserEncoder
from towers.retrieval.files import mapped_array, mapped_table, reading
from towers.retrieval.ids import Ids
from towers.retrieval.index import ExactIndex, FaissIndex, Index
from towers.retrieval.listen_chance import ListenChance

FORMAT = 5
"""Newest format that this version can read; exports of all older formats can be opened too."""
DEFAULT_TRACK_US = 180_000_000
"""Assumed length, in microseconds, of a content of unknown duration in a history without times: three minutes."""


class ExportFiles:
    """One version of an export.

    Args:
        folder: folder of the version, or a link to it such as `exports/current`.
        check_files: whether to verify the checksum of every file, which reads them all once; the manifest is always
            verified.

    Raises:
        UserError: the folder has no export, a file or the manifest was changed, or the format is newer.
    """

    def __init__(self, folder: Path, check_files: bool = True):
        self.manifest: dict[str, Any] = read_manifest(folder, FORMAT)
        self.folder = folder.resolve()
        damaged = list(damaged_files(self.folder, self.manifest)) if check_files else []
        if damaged:
            raise UserError(f"{self.folder} is damaged: {'; '.join(damaged)}; copy the export again, or make it again")

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.manifest.get("version", self.folder.name)

    @property
    def space_id(self) -> str:
        """Identifier of the vector space; only vectors with equal space_id may be compared."""
        return self.manifest["space_id"]

    @property
    def dim(self) -> int:
        """Dimension of the exported vectors."""
        return self.manifest["dim"]

    @property
    def provenance(self) -> Provenance:
        """Data on which the network was trained, as far as the manifest says; older manifests say less."""
        return Provenance(
            trained_on=self.manifest.get("data_fingerprint"),
            trained_until_us=self.manifest.get("trained_until_us", self.manifest.get("validation_start_us")),
            has_seen_validation=self.manifest.get("has_seen_validation", False),
            has_seen_test=self.manifest.get("has_seen_test", False),
        )

    @cached_property
    def until_us(self) -> int | None:
        """Time of the last event of any listener, or the time as of which the export was made, in microseconds since
        1970; null for data without timestamps."""
        end = self.manifest.get("window", {}).get("end")
        return None if end is None else microseconds_of(datetime.fromisoformat(end))

    @cached_property
    def last_day(self) -> date | None:
        """UTC day of `until_us`; null for data without timestamps."""
        return None if self.until_us is None else datetime.fromtimestamp(self.until_us // 1_000_000, UTC).date()

    # Contents

    @cached_property
    def vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Vectors of all contents by row, memory-mapped."""
        return mapped_array(self.folder / files.CONTENT_VECTORS)

    @cached_property
    def tower_inputs(self) -> Float[np.ndarray, "contents input_dim"]:
        """Content vectors that the user tower reads, by row, memory-mapped; most often the same as `vectors`."""
        path = self.folder / files.CONTENT_INPUTS
        return mapped_array(path) if path.exists() else self.vectors

    @cached_property
    def axes(self) -> Float[np.ndarray, "dim model_dim"] | None:
        """Matrix by which the model's vectors were multiplied, float64; null in formats 1 and 2, which lack it."""
        path = self.folder / files.AXES
        return mapped_array(path) if path.exists() else None

    @cached_property
    def sound_vectors(self) -> Float[np.ndarray, "contents dim"] | None:
        """Unit vectors of contents from their sound alone, float16, memory-mapped; zeros for a content without sound;
        null for a model that reads no sound."""
        path = self.folder / files.SOUND_VECTORS
        return mapped_array(path) if path.exists() else None

    @cached_property
    def contents(self) -> pa.Table:
        """Contents table, in row order."""
        if self._is_mapped:
            return self._of_this_space(self.folder / files.CONTENTS, mapped_table)
        with reading(self.folder / files.CONTENTS_FOR_ENGINES) as path:
            return pq.read_table(path)

    @cached_property
    def content_ids(self) -> Ids:
        """Raw content ids by row."""
        return self._ids(self.contents["content_id"], files.CONTENT_ORDER)

    @cached_property
    def kinds(self) -> Integer[np.ndarray, " contents"]:
        """Kind of each content, as an index into `schema.KINDS`."""
        kinds = pc.SetLookupOptions(value_set=pa.array(schema.KINDS))
        return pc.call_function("index_in", [self.contents["kind"]], kinds).to_numpy().astype(np.int8)

    @cached_property
    def is_cold(self) -> Bool[np.ndarray, " contents"]:
        """True for each playable content without a positive event in training; false where unknown (format 1)."""
        if "train_positives" not in self.contents.column_names:
            return np.zeros(len(self.contents), bool)
        return (self.contents["train_positives"].to_numpy() == 0) & self.catalogue.of_kinds(schema.PLAYABLE_KINDS)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Properties of the contents by which queries filter."""
        return Catalogue(self.kinds, self._is_explicit, self.released, self.is_withdrawn)

    @property
    def is_withdrawn(self) -> Bool[np.ndarray, " contents"] | None:
        """True for each withdrawn content, which may be in a query but is never in an answer; null if no content is
        withdrawn, since the column is missing then."""
        is_told = "is_withdrawn" in self.contents.column_names
        return self.contents["is_withdrawn"].to_numpy() if is_told else None

    def unplayable(self, row: int) -> str:
        """Returns the reason, for a message, why a content cannot be played."""
        is_gone = self.is_withdrawn is not None and self.is_withdrawn[row]
        return "it has been withdrawn" if is_gone else f"it is of the kind {schema.KINDS[self.kinds[row]]}"

    @property
    def _is_explicit(self) -> Bool[np.ndarray, " contents"]:
        if "explicit" not in self.contents.column_names:
            return np.zeros(len(self.contents), bool)
        return self.contents["explicit"].fill_null(False).to_numpy()

    @property
    def released(self) -> Shaped[np.ndarray, " contents"]:
        """Release date of each content; NaT where unknown."""
        if "release_date" not in self.contents.column_names:
            return np.full(len(self.contents), "NaT", "datetime64[D]")
        return self.contents["release_date"].cast(pa.date32()).to_numpy().astype("datetime64[D]")

    @cached_property
    def facts(self) -> ContentFacts:
        """Artists of the contents, and positive events in the days before the export's last event.

        These counts are 0 where they are unknown (before format 3).
        """
        table, is_known = self.contents, "recent_positives" in self.contents.column_names
        recent = table["recent_positives"].to_numpy() if is_known else np.zeros(len(table), np.int64)
        return ContentFacts(artists=artist_codes(table["artist_ids"]), recent_positives=recent)

    @cached_property
    def durations_ms(self) -> Float[np.ndarray, " contents"]:
        """Durations in milliseconds by row, float64; 0 where unknown."""
        return self.contents["duration_ms"].fill_null(0).to_numpy().astype(np.float64)

    def content_row(self, name: str) -> int:
        """Returns the row of the content with this id, or else of the only one with this title.

        Raises:
            UserError: there is none, or several contents have this title.
        """
        row = self.content_ids.get(name, -1)
        if row >= 0:
            return row
        rows = np.flatnonzero(self._bears_title(name)).tolist()
        if len(rows) == 1:
            return rows[0]
        if rows:
            ids = ", ".join(self.content_ids[row] for row in rows[:5])
            raise UserError(f"{name!r}: {len(rows)} contents have this title; give an id, such as {ids}")
        raise UserError(f"{name!r}: no content with this id or title")

    def _bears_title(self, title: str) -> Bool[np.ndarray, " contents"]:
        found = pc.call_function("equal", [self.contents["title"], pa.scalar(title, pa.string())])
        return found.fill_null(False).to_numpy()

    # Listeners

    @cached_property
    def users(self) -> pa.Table:
        """`user_id`, `as_of` and `num_events` of all listeners, in row order."""
        if self._is_mapped:
            return self._of_this_space(self.folder / files.USERS, mapped_table)
        return self._embedded_users.drop_columns("embedding")

    @cached_property
    def user_ids(self) -> Ids:
        """Raw listener ids by row."""
        return self._ids(self.users["user_id"], files.USER_ORDER)

    @cached_property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Vectors of all listeners by row, as of the end of the data, memory-mapped."""
        if self._is_mapped:
            return mapped_array(self.folder / files.USER_VECTORS)
        column = self._embedded_users["embedding"].combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), self.dim)

    @cached_property
    def user_codes(self) -> Int[np.ndarray, "users columns"]:
        """Codes of the listeners' features, a row for each listener."""
        return mapped_array(self.folder / files.HISTORIES / files.USER_CODES)

    def user_row(self, user_id: str) -> int:
        """Returns the row of a listener; raises `UserError` for an unknown one."""
        row = self.user_ids.get(user_id, -1)
        if row < 0:
            raise UserError(
                f"user={user_id}: no such listener in this export of {len(self.user_ids):,}; "
                "for a new listener give history=[content_id,...]"
            )
        return row

    def events(self, user_row: int) -> Events:
        """Returns a listener's events, up to the end of the data."""
        offsets, table = self._events
        part = table.slice(int(offsets[user_row]), int(offsets[user_row + 1] - offsets[user_row]))
        return Events(**{name: part[name].to_numpy() for name in EVENT_COLUMNS})

    def sessions(self, user_row: int) -> Int[np.ndarray, " events"]:
        """Returns, for each of a listener's events, the index of the first event of its session; -1 where unknown."""
        return self._told(user_row, "session")

    def devices(self, user_row: int) -> Int[np.ndarray, " events"]:
        """Returns the device of each of a listener's events, as a code in the vocabulary `device`; 0 where unknown."""
        return self._told(user_row, "device")

    def _told(self, user_row: int, name: str) -> Int[np.ndarray, " events"]:
        """Returns a column of a listener's events that exports have from format 4 on; unknown values before."""
        offsets, table = self._events
        first, end = offsets[user_row : user_row + 2].tolist()
        if name not in table.column_names:
            return np.full(end - first, schema.UNTOLD[name], np.int32)
        return table[name].slice(first, end - first).to_numpy()

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Returns the content rows of a listener's positive events, in time order, with repeats."""
        return self.events(user_row).chosen_rows

    @property
    def all_chosen(self) -> Ragged:
        """Content rows of each listener's positive events, in time order, with repeats."""
        offsets, table = self._events
        rows = table["content_row"].to_numpy()
        return Ragged(offsets, rows).where(table["is_positive"].to_numpy() & (rows >= 0))

    def plays(self, content_rows: Int[np.ndarray, " events"]) -> Events:
        """Returns the events of a listener who played these contents in full, one after the other."""
        return Events(
            content_row=content_rows,
            action=np.full(len(content_rows), schema.PLAY),
            timestamp_us=self.end_to_end_us(content_rows),
            played_fraction=np.ones(len(content_rows)),
            context=np.zeros(len(content_rows), np.int64),
            is_positive=np.ones(len(content_rows), bool),
        )

    def end_to_end_us(self, content_rows: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
        """Returns when each content ends if they are played back to back, in microseconds from the first one's start.

        A content of unknown duration, and row -1, takes `DEFAULT_TRACK_US`.
        """
        durations_ms = np.zeros(len(content_rows))
        durations_ms[content_rows >= 0] = self.durations_ms[content_rows[content_rows >= 0]]
        return np.cumsum(np.where(durations_ms > 0, 1_000 * durations_ms, DEFAULT_TRACK_US).astype(np.int64))

    # Features, towers and index

    @cached_property
    def features(self) -> FeatureSettings:
        """Settings by which raw events and metadata were encoded."""
        return FeatureSettings.from_dict(read_json(self.folder / files.FEATURES))

    def vocabulary(self, name: str) -> Vocabulary:
        """Returns the vocabulary of a metadata part, a listener column, `context` or (from format 4 on) `device`.

        Each is read once.
        """
        if name not in self._vocabularies:
            with reading(self.folder / files.VOCABULARIES / f"{name}.parquet") as path:
                self._vocabularies[name] = Vocabulary.read(path)
        return self._vocabularies[name]

    @cached_property
    def encoder(self) -> UserEncoder:
        """User tower, which encodes histories that are given with a request."""
        return UserEncoder(
            self.folder / files.USER_TOWER,
            self.tower_inputs,
            self.space_id,
            self.manifest["max_length"],
            self.manifest["has_clock"],
        )

    def encode_events(self, events: Events, user_codes: Int[np.ndarray, " columns"] | None = None) -> np.ndarray:
        """Returns the vector, `[dim]`, of a listener after `events`; their features are unknown unless given."""
        codes = np.zeros(self.user_codes.shape[1], np.int64) if user_codes is None else user_codes
        return self.encoder.encode(events, codes)

    @cached_property
    def index(self) -> Index:
        """FAISS index over all contents."""
        return FaissIndex(self.folder / files.INDEX, self.space_id, self.vectors)

    @cached_property
    def listen_chance(self) -> ListenChance | None:
        """Model of the chance of a listen; null if it could not be fitted, and before format 3."""
        path = self.folder / files.LISTEN_CHANCE
        return ListenChance.read(path, self.space_id) if path.exists() else None

    @cached_property
    def exact_index(self) -> Index:
        """Index that computes every inner product."""
        return ExactIndex(self.vectors)

    # Sources of the properties above

    @property
    def _is_mapped(self) -> bool:
        return self.manifest["format"] >= 2

    @cached_property
    def _vocabularies(self) -> dict[str, Vocabulary]:
        return {}

    def _ids(self, texts: pa.ChunkedArray, order: str) -> Ids:
        return Ids(texts, mapped_array(self.folder / order)) if self._is_mapped else Ids.of(texts)

    @cached_property
    def _embedded_users(self) -> pa.Table:
        """Listeners with their vectors as format 1 has them, in Parquet only."""
        return self._of_this_space(self.folder / files.USERS_OF_FORMAT_1, pq.read_table)

    def _of_this_space(self, path: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
        with reading(path):
            table = read(path)
        found = (table.schema.metadata or {}).get(b"space_id", b"").decode()
        if found != self.space_id:
            raise UserError(f"{path}: space_id {found} is not the export's {self.space_id}; vectors must not be mixed")
        return table

    @cached_property
    def _events(self) -> tuple[np.ndarray, pa.Table]:
        folder = self.folder / files.HISTORIES
        return mapped_array(folder / files.HISTORY_OFFSETS), mapped_table(folder / files.HISTORY_EVENTS)
