"""The files of an export: vectors, contents, listeners and histories, towers and index. Knows no torch.

What is large is memory-mapped, so that the workers of a machine share one copy; of an export of format 1 some is read
into each process.
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
"""The newest that can be read; what was published in an older one opens, too."""
DEFAULT_TRACK_US = 180_000_000
"""Assumed length of a content of unknown duration when a history is given without times: three minutes."""


class ExportFiles:
    """One version of an export.

    Args:
        folder: the version, or a link to it such as `exports/current`.
        check_files: whether every file is held against its checksum first, which reads them all once; the manifest
            always is.

    Raises:
        UserError: no export there, a file or a manifest that was changed, or a newer format.
    """

    def __init__(self, folder: Path, check_files: bool = True):
        self.manifest: dict[str, Any] = read_manifest(folder, FORMAT)
        self.folder = folder.resolve()
        damaged = list(damaged_files(self.folder, self.manifest)) if check_files else []
        if damaged:
            raise UserError(f"{self.folder} is damaged: {'; '.join(damaged)}; copy the export again, or make it again")

    @property
    def version(self) -> str:
        """Its name."""
        return self.manifest.get("version", self.folder.name)

    @property
    def space_id(self) -> str:
        """Vectors of equal space_id may be compared."""
        return self.manifest["space_id"]

    @property
    def dim(self) -> int:
        """Of the vectors."""
        return self.manifest["dim"]

    @property
    def provenance(self) -> Provenance:
        """What it was trained on, as far as its manifest says; old ones say less."""
        return Provenance(
            trained_on=self.manifest.get("data_fingerprint"),
            trained_until_us=self.manifest.get("trained_until_us", self.manifest.get("validation_start_us")),
            has_seen_validation=self.manifest.get("has_seen_validation", False),
            has_seen_test=self.manifest.get("has_seen_test", False),
        )

    @cached_property
    def until_us(self) -> int | None:
        """The last event of any listener, or the time that the export is as of, in microseconds since 1970; null for
        data without a clock."""
        end = self.manifest.get("window", {}).get("end")
        return None if end is None else microseconds_of(datetime.fromisoformat(end))

    @cached_property
    def last_day(self) -> date | None:
        """The day of that time, in UTC."""
        return None if self.until_us is None else datetime.fromtimestamp(self.until_us // 1_000_000, UTC).date()

    # Contents

    @cached_property
    def vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Of all contents by row, memory-mapped."""
        return mapped_array(self.folder / files.CONTENT_VECTORS)

    @cached_property
    def tower_inputs(self) -> Float[np.ndarray, "contents input_dim"]:
        """What the user tower reads of the contents it is told of, by row, memory-mapped; most often `vectors`."""
        path = self.folder / files.CONTENT_INPUTS
        return mapped_array(path) if path.exists() else self.vectors

    @cached_property
    def axes(self) -> Float[np.ndarray, "dim model_dim"] | None:
        """What the model's vectors were multiplied with, float64; null in formats 1 and 2, which do not say."""
        path = self.folder / files.AXES
        return mapped_array(path) if path.exists() else None

    @cached_property
    def sound_vectors(self) -> Float[np.ndarray, "contents dim"] | None:
        """Contents by their sound alone, unit, float16, memory-mapped; zeros without; null where nothing is heard."""
        path = self.folder / files.SOUND_VECTORS
        return mapped_array(path) if path.exists() else None

    @cached_property
    def contents(self) -> pa.Table:
        """The contents table, in row order."""
        if self._is_mapped:
            return self._of_this_space(self.folder / files.CONTENTS, mapped_table)
        with reading(self.folder / files.CONTENTS_FOR_ENGINES) as path:
            return pq.read_table(path)

    @cached_property
    def content_ids(self) -> Ids:
        """Raw ids by row."""
        return self._ids(self.contents["content_id"], files.CONTENT_ORDER)

    @cached_property
    def kinds(self) -> Integer[np.ndarray, " contents"]:
        """Index into `schema.KINDS`, by row."""
        kinds = pc.SetLookupOptions(value_set=pa.array(schema.KINDS))
        return pc.call_function("index_in", [self.contents["kind"]], kinds).to_numpy().astype(np.int8)

    @cached_property
    def is_cold(self) -> Bool[np.ndarray, " contents"]:
        """Whether nobody chose a content that can be played, in training; false where that is unknown (format 1)."""
        if "train_positives" not in self.contents.column_names:
            return np.zeros(len(self.contents), bool)
        return (self.contents["train_positives"].to_numpy() == 0) & self.catalogue.of_kinds(schema.PLAYABLE_KINDS)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The contents as filters see them."""
        return Catalogue(self.kinds, self._is_explicit, self.released, self.is_withdrawn)

    @property
    def is_withdrawn(self) -> Bool[np.ndarray, " contents"] | None:
        """`[contents]`, bool: whether a content is withdrawn, so that it may be asked about but is in no answer. Null
        where none is withdrawn, since the column is missing then."""
        is_told = "is_withdrawn" in self.contents.column_names
        return self.contents["is_withdrawn"].to_numpy() if is_told else None

    def unplayable(self, row: int) -> str:
        """In words, why a content that is not among the playable ones cannot be played."""
        is_gone = self.is_withdrawn is not None and self.is_withdrawn[row]
        return "it has been withdrawn" if is_gone else f"it is of the kind {schema.KINDS[self.kinds[row]]}"

    @property
    def _is_explicit(self) -> Bool[np.ndarray, " contents"]:
        if "explicit" not in self.contents.column_names:
            return np.zeros(len(self.contents), bool)
        return self.contents["explicit"].fill_null(False).to_numpy()

    @property
    def released(self) -> Shaped[np.ndarray, " contents"]:
        """The day of each content's release; not a time where unknown."""
        if "release_date" not in self.contents.column_names:
            return np.full(len(self.contents), "NaT", "datetime64[D]")
        return self.contents["release_date"].cast(pa.date32()).to_numpy().astype("datetime64[D]")

    @cached_property
    def facts(self) -> ContentFacts:
        """By whom contents are, and how much they were played in the days before the export's last event.

        The latter is 0 where it is unknown (before format 3).
        """
        table, is_known = self.contents, "recent_positives" in self.contents.column_names
        recent = table["recent_positives"].to_numpy() if is_known else np.zeros(len(table), np.int64)
        return ContentFacts(artists=artist_codes(table["artist_ids"]), recent_positives=recent)

    @cached_property
    def durations_ms(self) -> Float[np.ndarray, " contents"]:
        """By row, float64; 0 where unknown."""
        return self.contents["duration_ms"].fill_null(0).to_numpy().astype(np.float64)

    def content_row(self, name: str) -> int:
        """The content with this id, or else the only one with this title; raises `UserError` where there is none."""
        row = self.content_ids.get(name, -1)
        if row >= 0:
            return row
        rows = np.flatnonzero(self._bears_title(name)).tolist()
        if len(rows) == 1:
            return rows[0]
        if rows:
            ids = ", ".join(self.content_ids[row] for row in rows[:5])
            raise UserError(f"{name!r}: {len(rows)} contents bear this title; give an id, such as {ids}")
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
        """Raw ids by row."""
        return self._ids(self.users["user_id"], files.USER_ORDER)

    @cached_property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Of all listeners by row, as of the end of the data, memory-mapped."""
        if self._is_mapped:
            return mapped_array(self.folder / files.USER_VECTORS)
        column = self._embedded_users["embedding"].combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), self.dim)

    @cached_property
    def user_codes(self) -> Int[np.ndarray, "users columns"]:
        """Codes of the listeners' features."""
        return mapped_array(self.folder / files.HISTORIES / files.USER_CODES)

    def user_row(self, user_id: str) -> int:
        """Raises `UserError` for an unknown listener."""
        row = self.user_ids.get(user_id, -1)
        if row < 0:
            raise UserError(
                f"user={user_id}: no such listener in this export of {len(self.user_ids):,}; "
                "somebody new needs a history=[content_id,...]"
            )
        return row

    def events(self, user_row: int) -> Events:
        """What a listener did, up to the end of the data."""
        offsets, table = self._events
        part = table.slice(int(offsets[user_row]), int(offsets[user_row + 1] - offsets[user_row]))
        return Events(**{name: part[name].to_numpy() for name in EVENT_COLUMNS})

    def sessions(self, user_row: int) -> Int[np.ndarray, " events"]:
        """Of each of a listener's events the place of its session's first event among them, -1 where unknown."""
        return self._told(user_row, "session")

    def devices(self, user_row: int) -> Int[np.ndarray, " events"]:
        """Of each of a listener's events the code of its device in the vocabulary `device`, 0 where unknown."""
        return self._told(user_row, "device")

    def _told(self, user_row: int, name: str) -> Int[np.ndarray, " events"]:
        """A column of events that exports have from format 4 on."""
        offsets, table = self._events
        first, end = offsets[user_row : user_row + 2].tolist()
        if name not in table.column_names:
            return np.full(end - first, schema.UNTOLD[name], np.int32)
        return table[name].slice(first, end - first).to_numpy()

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Rows of the contents that a listener has chosen (positive events), in time order, with repeats."""
        return self.events(user_row).chosen_rows

    @property
    def all_chosen(self) -> Ragged:
        """By listener the rows of the contents that they have chosen, in time order, with repeats."""
        offsets, table = self._events
        rows = table["content_row"].to_numpy()
        return Ragged(offsets, rows).where(table["is_positive"].to_numpy() & (rows >= 0))

    def plays(self, content_rows: Int[np.ndarray, " events"]) -> Events:
        """Events of somebody who played these contents in full, one after the other."""
        return Events(
            content_row=content_rows,
            action=np.full(len(content_rows), schema.PLAY),
            timestamp_us=self.end_to_end_us(content_rows),
            played_fraction=np.ones(len(content_rows)),
            context=np.zeros(len(content_rows), np.int64),
            is_positive=np.ones(len(content_rows), bool),
        )

    def end_to_end_us(self, content_rows: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
        """When each content ends if they are played one after the other, in microseconds from the first's beginning.

        One whose duration is not known, and row -1, take `DEFAULT_TRACK_US`.
        """
        durations_ms = np.zeros(len(content_rows))
        durations_ms[content_rows >= 0] = self.durations_ms[content_rows[content_rows >= 0]]
        return np.cumsum(np.where(durations_ms > 0, 1_000 * durations_ms, DEFAULT_TRACK_US).astype(np.int64))

    # Features, towers and index

    @cached_property
    def features(self) -> FeatureSettings:
        """How raw events and metadata became codes."""
        return FeatureSettings.from_dict(read_json(self.folder / files.FEATURES))

    def vocabulary(self, name: str) -> Vocabulary:
        """Of a content part, a listener column, `context` or (from format 4 on) `device`; read once."""
        if name not in self._vocabularies:
            with reading(self.folder / files.VOCABULARIES / f"{name}.parquet") as path:
                self._vocabularies[name] = Vocabulary.read(path)
        return self._vocabularies[name]

    @cached_property
    def encoder(self) -> UserEncoder:
        """Encodes fresh histories."""
        return UserEncoder(
            self.folder / files.USER_TOWER,
            self.tower_inputs,
            self.space_id,
            self.manifest["max_length"],
            self.manifest["has_clock"],
        )

    def encode_events(self, events: Events, user_codes: Int[np.ndarray, " columns"] | None = None) -> np.ndarray:
        """`[dim]`: the vector of somebody after `events`; features of the listener unknown unless given."""
        codes = np.zeros(self.user_codes.shape[1], np.int64) if user_codes is None else user_codes
        return self.encoder.encode(events, codes)

    @cached_property
    def index(self) -> Index:
        """FAISS over all contents."""
        return FaissIndex(self.folder / files.INDEX, self.space_id, self.vectors)

    @cached_property
    def listen_chance(self) -> ListenChance | None:
        """The model of the chance of a listen; null where none could be fitted, and before format 3."""
        path = self.folder / files.LISTEN_CHANCE
        return ListenChance.read(path, self.space_id) if path.exists() else None

    @cached_property
    def exact_index(self) -> Index:
        """Every inner product."""
        return ExactIndex(self.vectors)

    # What the above is read from

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
        """Of format 1, in which they are in Parquet alone."""
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
