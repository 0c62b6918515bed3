"""The prepared store: what `prepare` wrote, opened in milliseconds, memory-mapped and shared between processes."""

import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.ipc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.audio.spectrograms import Spectrograms
from towers.data.event_times import shown_time
from towers.data.histories import Histories, Until
from towers.data.impressions_reader import open_impressions
from towers.data.periods import Period, from_json
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings
from towers.features.sounds import Sounds
from towers.features.vocabulary import Vocabulary
from towers.manifest import read_json

FORMAT = 4
NO_STORE = "no prepared store here; run `towers prepare` with the same data= and data.name first"
CURRENT = "current"
CUT = ("histories", "members", "playlists", "impressions", "first_heard_us", "end_us")
"""Facts of a store that depend on when it ends."""


class Store:
    """A prepared store, read only.

    Args:
        folder: one version of a store, with its manifest.

    Raises:
        UserError: there is no store, or it is of a newer format.
    """

    def __init__(self, folder: Path):
        if not (folder / "manifest.json").exists():
            raise UserError(f"{folder}: {NO_STORE}")
        self.folder = folder
        self.as_of_us: int | None = None
        """Time at which `until` cut the store, in microseconds since 1970; null: it has everything."""
        self.manifest: dict[str, Any] = read_json(folder / "manifest.json")
        if self.manifest["format"] > FORMAT:
            raise UserError(f"{folder}: format {self.manifest['format']} is newer than this Towers reads ({FORMAT})")

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Opens the version that `current` points to.

        Raises:
            UserError: nothing was prepared there.
        """
        current = root / CURRENT
        if not current.exists():
            raise UserError(f"{root}: {NO_STORE}")
        return cls(current.resolve())

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the store, which changes with every input and setting."""
        return self.manifest["fingerprint"]

    @property
    def has_clock(self) -> bool:
        """True if timestamps are real times; false if only the order of events is known."""
        return self.manifest["has_clock"]

    @property
    def gap_us(self) -> int:
        """Length of the gap between two periods, in microseconds."""
        return self.manifest.get("gap_us", 0)

    @property
    def periods(self) -> list[Period]:
        """Counts of training, validation and test; empty for a store that was made before these were counted."""
        return from_json(self.manifest.get("periods", []))

    @property
    def remarks(self) -> list[str]:
        """Lines about raw data that is allowed but probably not meant; empty for stores that were made without them."""
        return self.manifest.get("remarks", [])

    @cached_property
    def features(self) -> FeatureSettings:
        """Feature settings that the store was made with."""
        return FeatureSettings.from_dict(self.manifest["features"])

    @cached_property
    def contents(self) -> pa.Table:
        """The contract's columns by content row, and the counts of training. A row whose content is gone is a hole: its
        id and kind are null."""
        return _mapped(self.folder / "contents.arrow")

    @cached_property
    def content_ids(self) -> np.ndarray:
        """`[contents]`, text: raw id by row, null of a hole. Python's own strings: one long id does not widen all
        others."""
        return np.array(self.contents["content_id"].to_pylist(), dtype=object)

    @cached_property
    def has_content(self) -> np.ndarray:
        """`[contents]`, bool: whether a row is a content's, and no hole."""
        return self.contents["content_id"].is_valid().to_numpy()

    @cached_property
    def is_withdrawn(self) -> np.ndarray:
        """`[contents]`, bool: whether a content is no longer listed and known from histories alone. It stays in
        histories, and is no candidate and no target."""
        is_told = "is_withdrawn" in self.contents.column_names  # not in stores before format 4
        return self.contents["is_withdrawn"].to_numpy() if is_told else np.zeros(len(self.contents), bool)

    @cached_property
    def is_listed(self) -> np.ndarray:
        """`[contents]`, bool: neither a hole nor withdrawn."""
        return self.has_content & ~self.is_withdrawn

    @cached_property
    def kind_codes(self) -> np.ndarray:
        """`[contents]`, int64: index into `schema.KINDS`, -1 for a hole."""
        kinds = pc.SetLookupOptions(value_set=pa.array(schema.KINDS))
        return pc.call_function("index_in", [self.contents["kind"]], kinds).fill_null(-1).to_numpy().astype(np.int64)

    @cached_property
    def is_playable(self) -> np.ndarray:
        """`[contents]`, bool: listed, and of a kind that can be played: what may be recommended."""
        return self.is_listed & np.isin(self.kind_codes, [schema.KIND_CODES[kind] for kind in schema.PLAYABLE_KINDS])

    @cached_property
    def users(self) -> pa.Table:
        """Table by user row: `user_id` and the columns of users/ as they are, features or not. A row
        whose listener is gone is a hole: its id is null."""
        return _mapped(self.folder / "users.arrow")

    @cached_property
    def user_ids(self) -> np.ndarray:
        """`[users]`, text: raw id by row, as `content_ids`."""
        return np.array(self.users["user_id"].to_pylist(), dtype=object)

    @cached_property
    def has_user(self) -> np.ndarray:
        """`[users]`, bool: whether a row is a listener's, and no hole."""
        return self.users["user_id"].is_valid().to_numpy()

    @cached_property
    def histories(self) -> Histories:
        """Histories of all listeners: opened but not read, unless the store is cut at a time."""
        histories = Histories.read(self.folder / "histories")
        return histories if self.as_of_us is None else histories.until(self.as_of_us)

    @cached_property
    def content_codes(self) -> dict[str, Ragged]:
        """Codes by content row, for each part of the metadata."""
        return {part: _read_ragged(self.folder / "codes" / part) for part in self.features.content_parts}

    @cached_property
    def user_codes(self) -> np.ndarray:
        """`[users, columns]`, int32: codes of the listener's features."""
        return np.load(self.folder / "user_codes.npy")

    def vocabulary(self, name: str) -> Vocabulary:
        """Returns the vocabulary of a content part, a listener column, `context` or `device`."""
        path = self.folder / "vocabularies" / f"{name}.parquet"
        is_untold = name == "device" and not path.exists()  # in stores of format 2
        return Vocabulary([]) if is_untold else Vocabulary.read(path)

    @cached_property
    def members(self) -> Ragged:
        """Listed contents of each artist and playlist, by content row; empty for other kinds."""
        members = _read_ragged(self.folder / "members")
        kept = self.is_listed[members.values]
        later = self._playlists()[1]["content_row"].to_numpy()
        if len(later):
            kept &= ~np.isin(members.list_of_value, later)
        return members if kept.all() else members.where(kept)

    @cached_property
    def playlists(self) -> pa.Table:
        """Table of playlists, ascending by content row, with `PLAYLIST_COLUMNS`: curator, time of creation, and
        contents in the order of the list."""
        return self._playlists()[0]

    def _playlists(self) -> tuple[pa.Table, pa.Table]:
        """Returns the playlists from before the end of the store, with those of unknown date, and those from then
        on."""
        path = self.folder / "playlists.arrow"
        playlists = _mapped(path) if path.exists() else PLAYLIST_COLUMNS.empty_table()  # in stores of format 2
        if self.as_of_us is None:
            return playlists, playlists.slice(0, 0)
        is_later = playlists["created"].cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy() >= self.as_of_us
        return playlists.filter(pa.array(~is_later)), playlists.filter(pa.array(is_later))

    @cached_property
    def impressions(self) -> ds.Dataset:
        """Impressions, with the columns of `IMPRESSION_SCHEMA`, in order of arrival; empty if there are none."""
        return open_impressions(self.folder / "impressions", self.as_of_us)

    @cached_property
    def spectrograms(self) -> Spectrograms | None:
        """Spectrograms of the sounds; null if the data has no sound."""
        name = self.manifest["spectrograms"]
        return None if name is None else Spectrograms.open(self.folder.parent / "spectrograms" / name)

    @cached_property
    def audio_rows(self) -> np.ndarray:
        """`[contents]`, int64: row in the spectrograms, -1 where a content has no usable sound."""
        rows = {} if self.spectrograms is None else self.spectrograms.row_of
        return np.array([rows.get(content_id, -1) for content_id in self.content_ids.tolist()], dtype=np.int64)

    @cached_property
    def sounds(self) -> Sounds | None:
        """Spectrograms by content row; null if the data has no sound."""
        return None if self.spectrograms is None else Sounds(records=self.spectrograms.records, rows=self.audio_rows)

    def rejected(self) -> dict[str, dict[str, int]]:
        """Returns how many rows were left out, by table (or `sounds`, or `lines` of text files) and by reason, the most
        frequent first."""
        found = {}
        for table in sorted((*schema.RAW_TABLES, "lines", "sounds")):
            path = self.folder / "rejected" / f"{table}.parquet"
            if not path.exists():
                continue
            reasons = pq.read_table(path, columns=["reason"])["reason"].value_counts().to_pylist()
            ranked = sorted(reasons, key=lambda reason: (-reason["counts"], reason["values"]))
            if ranked:
                found[table] = {reason["values"]: reason["counts"] for reason in ranked}
        return found

    def trained_until(self, until: Until) -> "Store":
        """Returns this store with a longer training: up to the test, for a model whose settings validation has chosen,
        or up to the end of the data, for a model to serve."""
        if until == "validation":
            return self
        store = _TrainedOn(self.folder, until)
        return store if self.as_of_us is None else store.until(self.as_of_us)

    def until(self, as_of_us: int) -> "Store":
        """Returns this store without events, impressions and playlists from a time on (microseconds since 1970, UTC);
        the period that the time lies in ends there.

        All contents stay, as catalogues are known in advance. Counts of training and vocabularies stay as they are, so
        the time must not lie within the training period.

        Raises:
            UserError: the data has no clock, its cuts are no times, or the time lies within the training period.
        """
        start_us = self.manifest["validation_start_us"]
        if not self.has_clock:
            raise UserError("as_of: this data knows the order of events alone, not their times; leave it out")
        if start_us is None:
            raise UserError("as_of: data.split cuts each listener at another time; prepare with data/split=temporal")
        if as_of_us < (end_us := start_us - self.gap_us):
            raise UserError(
                f"as_of={shown_time(as_of_us)}: training goes on until {shown_time(end_us)}, so that lists as of "
                "before would flatter it; give that time or a later one, or cut and train earlier "
                "(data.split.validation_start)"
            )
        return self.cut(as_of_us)

    def cut(self, as_of_us: int) -> "Store":
        """Returns the store as `until` does, but for any time, also within training. The caller then has to replace the
        counts of training.

        Args:
            as_of_us: microseconds since 1970, UTC; of data whose cuts are times.
        """
        cut = copy.copy(self)
        for name in CUT:
            cut.__dict__.pop(name, None)
        cut.as_of_us = as_of_us
        # Validation ends a gap before the test, so where it is cut, that follows.
        cut.manifest = {**self.manifest, "test_start_us": min(as_of_us + self.gap_us, self.manifest["test_start_us"])}
        return cut

    @cached_property
    def end_us(self) -> int | None:
        """Time of the last event, or the time that the store was cut at; null if the data has no clock."""
        if not self.has_clock:
            return None
        return int(self.histories.timestamp_us.max(initial=0)) if self.as_of_us is None else self.as_of_us

    @cached_property
    def first_heard_us(self) -> np.ndarray:
        """`[contents]`, int64: time of the first event with a content in training, in microseconds since 1970,
        UTC; the greatest integer if no listener did. Read from all events of training, once."""
        first = np.full(len(self.content_ids), np.iinfo(np.int64).max)
        rows = np.asarray(self.histories.content_row)
        counts = (rows >= 0) & self.histories.is_training
        np.minimum.at(first, rows[counts], np.asarray(self.histories.timestamp_us)[counts])
        return first

    @cached_property
    def train_positives(self) -> np.ndarray:
        """`[contents]`, int64: positive events before the first cut."""
        return self.contents["train_positives"].to_numpy()

    @property
    def train_targets(self) -> np.ndarray:
        """`[contents]`, int64: how often each content is a target: `train_positives` if it is listed, else 0."""
        return np.where(self.is_listed, self.train_positives, 0)

    @cached_property
    def trained_rows(self) -> np.ndarray:
        """`[contents]`, int64: row of each content in the store that a network was trained on, -1 if it had none. Here
        it is the content's own row; see `RefreshedStore`."""
        return np.arange(len(self.contents))


class _TrainedOn(Store):
    """A store whose training goes on after the first cut: up to the test, or to the end."""

    def __init__(self, folder: Path, until: Until):
        super().__init__(folder)
        self._until: Until = until

    @cached_property
    def histories(self) -> Histories:
        """See `Histories.trained_until`."""
        return super().histories.trained_until(self._until)

    @cached_property
    def train_positives(self) -> np.ndarray:
        """`[contents]`, int64: positive events of this training."""
        rows = np.asarray(self.histories.content_row)
        counts = self.histories.is_training & np.asarray(self.histories.is_positive) & (rows >= 0)
        return np.bincount(rows[counts], minlength=len(self.content_ids))


def write_ragged(path: Path, ragged: Ragged) -> None:
    """Writes two flat arrays, `<path>.offsets.npy` and `<path>.values.npy`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{path}.offsets.npy", ragged.offsets)
    np.save(f"{path}.values.npy", ragged.values)


def _read_ragged(path: Path) -> Ragged:
    return Ragged(np.load(f"{path}.offsets.npy"), np.load(f"{path}.values.npy"))


def write_arrow(path: Path, table: pa.Table) -> None:
    """Writes a table as Arrow IPC, uncompressed, so that it can be memory-mapped."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
