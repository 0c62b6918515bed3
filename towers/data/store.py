"""The prepared store: what `prepare` wrote, opened in milliseconds, memory-mapped and shared between processes."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from towers.contract import schema
from towers.data.audio.spectrograms import Spectrograms
from towers.data.periods import Period, from_json
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.features.settings import FeatureSettings
from towers.features.sounds import Sounds
from towers.features.vocabulary import Vocabulary
from towers.manifest import read_json

FORMAT = 3
NO_STORE = "no prepared store here; run `towers prepare` with the same data= and data.name first"
CURRENT = "current"
HISTORY_COLUMNS = {
    "content_row": np.int32,
    "action": np.int8,
    "timestamp_us": np.int64,
    "played_fraction": np.float32,
    "context": np.int32,
    "session": np.int32,
    "device": np.int32,
    "is_positive": np.bool_,
    "is_discovery": np.bool_,
}
UNTOLD = {"session": -1, "device": 0}
"""What stands in columns that stores of format 2 lack."""
PLAYLIST_COLUMNS = pa.schema(
    {
        "content_row": pa.int32(),
        "curator": pa.string(),
        "owner_id": pa.string(),
        "created": pa.timestamp("us", tz="UTC"),
        "member_rows": pa.list_(pa.int32()),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """All events of all listeners, a listener's in time order; memory-mapped.

    Listener `u` has the events `offsets[u]:offsets[u + 1]`; training ends before `train_end[u]`, validation before
    `test_start[u]`, all positions in the flat columns.

    Args:
        content_row: -1 where an event has no content (search, browse).
        action: index into `schema.ACTIONS`.
        timestamp_us: microseconds since 1970, UTC.
        played_fraction: 0 to 1, -1 where unknown.
        context: code in the vocabulary of contexts.
        session: place of the session's first event in the listener's history, -1 where unknown.
        device: code in the vocabulary of devices.
        is_positive: says that the listener likes the content.
        is_discovery: the listener's first positive event with this content.
    """

    offsets: np.ndarray
    train_end: np.ndarray
    test_start: np.ndarray
    content_row: np.ndarray
    action: np.ndarray
    timestamp_us: np.ndarray
    played_fraction: np.ndarray
    context: np.ndarray
    session: np.ndarray
    device: np.ndarray
    is_positive: np.ndarray
    is_discovery: np.ndarray

    @property
    def num_users(self) -> int:
        """Listeners, those without an event included."""
        return len(self.train_end)


class Store:
    """A prepared store, read only.

    Args:
        folder: one version of a store, with its manifest.

    Raises:
        UserError: no store there, or one of a newer format.
    """

    def __init__(self, folder: Path):
        if not (folder / "manifest.json").exists():
            raise UserError(f"{folder}: {NO_STORE}")
        self.folder = folder
        self.manifest: dict[str, Any] = read_json(folder / "manifest.json")
        if self.manifest["format"] > FORMAT:
            raise UserError(f"{folder}: format {self.manifest['format']} is newer than this Towers reads ({FORMAT})")

    @classmethod
    def open(cls, root: Path) -> "Store":
        """The version that `current` points to.

        Raises:
            UserError: nothing was prepared there.
        """
        current = root / CURRENT
        if not current.exists():
            raise UserError(f"{root}: {NO_STORE}")
        return cls(current.resolve())

    @property
    def fingerprint(self) -> str:
        """Changes with every input and setting of the store."""
        return self.manifest["fingerprint"]

    @property
    def has_clock(self) -> bool:
        """Whether timestamps are times."""
        return self.manifest["has_clock"]

    @property
    def periods(self) -> list[Period]:
        """What training, validation and test hold; empty for a store of before this was counted."""
        return from_json(self.manifest.get("periods", []))

    @property
    def remarks(self) -> list[str]:
        """Lines about what its raw data allows and probably does not mean; stores of before have none."""
        return self.manifest.get("remarks", [])

    @cached_property
    def features(self) -> FeatureSettings:
        """The settings that the store was made with."""
        return FeatureSettings.from_dict(self.manifest["features"])

    @cached_property
    def contents(self) -> pa.Table:
        """The contract's columns by content row, and the counts of training."""
        return _mapped(self.folder / "contents.arrow")

    @cached_property
    def content_ids(self) -> np.ndarray:
        """`[contents]`, text: raw id by row. Python's own strings: one long id does not widen all others."""
        return np.array(self.contents["content_id"].to_pylist(), dtype=object)

    @cached_property
    def users(self) -> pa.Table:
        """By user row: `user_id`, and the columns of users/ as they are, features or not."""
        return _mapped(self.folder / "users.arrow")

    @cached_property
    def user_ids(self) -> np.ndarray:
        """`[users]`, text: raw id by row, as `content_ids`."""
        return np.array(self.users["user_id"].to_pylist(), dtype=object)

    @cached_property
    def histories(self) -> Histories:
        """Opened, not read."""
        folder = self.folder / "histories"
        names = ["offsets", "train_end", "test_start", *HISTORY_COLUMNS]
        is_there = {name: name not in UNTOLD or self.manifest["format"] > 2 for name in names}
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names if is_there[name]}
        untold = {name: np.broadcast_to(np.int32(UNTOLD[name]), len(columns["action"])) for name in UNTOLD}
        return Histories(**(untold | columns))

    @cached_property
    def content_codes(self) -> dict[str, Ragged]:
        """Part -> codes by content row."""
        return {part: _read_ragged(self.folder / "codes" / part) for part in self.features.content_parts}

    @cached_property
    def user_codes(self) -> np.ndarray:
        """`[users, columns]`, int32: codes of the listener's features."""
        return np.load(self.folder / "user_codes.npy")

    def vocabulary(self, name: str) -> Vocabulary:
        """The vocabulary of a content part, a listener column, `context` or `device`."""
        if name == "device" and self.manifest["format"] < 3:
            return Vocabulary([])
        return Vocabulary.read(self.folder / "vocabularies" / f"{name}.parquet")

    @cached_property
    def members(self) -> Ragged:
        """Artists' and playlists' contents, by content row; empty for other kinds."""
        return _read_ragged(self.folder / "members")

    @cached_property
    def playlists(self) -> pa.Table:
        """By content row, as `PLAYLIST_COLUMNS` says: who made a playlist and when, its contents in their order."""
        if self.manifest["format"] < 3:
            return PLAYLIST_COLUMNS.empty_table()
        return _mapped(self.folder / "playlists.arrow")

    @cached_property
    def spectrograms(self) -> Spectrograms | None:
        """Null where the data has no sound."""
        name = self.manifest["spectrograms"]
        return None if name is None else Spectrograms.open(self.folder.parent / "spectrograms" / name)

    @cached_property
    def audio_rows(self) -> np.ndarray:
        """`[contents]`, int64: row in the spectrograms, -1 where a content has no usable sound."""
        rows = {} if self.spectrograms is None else self.spectrograms.row_of
        return np.array([rows.get(content_id, -1) for content_id in self.content_ids.tolist()], dtype=np.int64)

    @cached_property
    def sounds(self) -> Sounds | None:
        """The spectrograms by content row; null where the data has no sound."""
        return None if self.spectrograms is None else Sounds(records=self.spectrograms.records, rows=self.audio_rows)

    def rejected(self) -> dict[str, dict[str, int]]:
        """Table (or `sounds`) -> reason -> how many of its rows were left out for it, the most frequent first."""
        found = {}
        for table in sorted((*schema.TABLES, "sounds")):
            path = self.folder / "rejected" / f"{table}.parquet"
            if not path.exists():
                continue
            reasons = pq.read_table(path, columns=["reason"])["reason"].value_counts().to_pylist()
            ranked = sorted(reasons, key=lambda reason: (-reason["counts"], reason["values"]))
            if ranked:
                found[table] = {reason["values"]: reason["counts"] for reason in ranked}
        return found

    def trained_until_test(self) -> "Store":
        """This store with training up to the second cut: for a model whose settings validation has chosen."""
        return _TrainedUntilTest(self.folder)

    @cached_property
    def first_heard_us(self) -> np.ndarray:
        """`[contents]`, int64: when anybody first did something with a content, in microseconds since 1970, UTC; the
        greatest integer where nobody did. Read from all events, once."""
        first = np.full(len(self.content_ids), np.iinfo(np.int64).max)
        rows = np.asarray(self.histories.content_row)
        has_content = rows >= 0
        np.minimum.at(first, rows[has_content], np.asarray(self.histories.timestamp_us)[has_content])
        return first

    @cached_property
    def train_positives(self) -> np.ndarray:
        """`[contents]`, int64: positive events before the first cut."""
        return self.contents["train_positives"].to_numpy()


class _TrainedUntilTest(Store):
    """Validation's events are training's, too."""

    @cached_property
    def histories(self) -> Histories:
        """Training ends where the test begins."""
        histories = super().histories
        return replace(histories, train_end=histories.test_start)

    @cached_property
    def train_positives(self) -> np.ndarray:
        """`[contents]`, int64: positive events before the second cut."""
        histories = self.histories
        lists = Ragged(histories.offsets, np.asarray(histories.content_row))
        place = np.arange(len(lists.values)) - np.repeat(histories.offsets[:-1], lists.lengths)
        is_before = place < np.repeat(histories.train_end - histories.offsets[:-1], lists.lengths)
        counted = lists.values[is_before & np.asarray(histories.is_positive) & (lists.values >= 0)]
        return np.bincount(counted, minlength=len(self.content_ids))


def write_ragged(path: Path, ragged: Ragged) -> None:
    """Two flat arrays, `<path>.offsets.npy` and `<path>.values.npy`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{path}.offsets.npy", ragged.offsets)
    np.save(f"{path}.values.npy", ragged.values)


def _read_ragged(path: Path) -> Ragged:
    return Ragged(np.load(f"{path}.offsets.npy"), np.load(f"{path}.values.npy"))


def write_arrow(path: Path, table: pa.Table) -> None:
    """Arrow IPC, uncompressed, so that it can be memory-mapped."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
