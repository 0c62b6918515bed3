"""The events of consecutive listeners, as the event log holds them and as they arrive from new raw files."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer

from towers.features.ragged import Ragged

LOG_COLUMNS: Mapping[str, type[np.generic]] = {
    "content_row": np.int32,
    "action": np.int8,
    "timestamp_us": np.int64,
    "played_ms": np.int32,
    "context": np.int32,
    "device": np.int32,
    "session": np.int32,
}
"""Columns by event. `content_row`: lasting row, -1 without content. `action`: index into `schema.ACTIONS`. `played_ms`:
-1 where unknown. `context` and `device`: lasting codes, -1 where unknown. `session`: number of the session within the
listener, in order of arrival, -1 where unknown."""

UNKNOWN_SESSION = 0
"""Key of no session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBlock:
    """All events of consecutive listeners: by listener, then time, then order of arrival.

    Args:
        offsets: `[listeners + 1]`, int64, from 0: where each listener's events begin.
        columns: an array `[events]` for each name of `LOG_COLUMNS`.
        sessions: keys (uint64) of each listener's raw `session_id`s, by their number in the column `session`.
    """

    offsets: Int[np.ndarray, " listeners_plus_one"]
    columns: dict[str, np.ndarray]
    sessions: Ragged

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def num_users(self) -> int:
        """The number of listeners, those without an event included."""
        return len(self.offsets) - 1

    @property
    def users(self) -> Int[np.ndarray, " events"]:
        """`[events]`, int64: the number of each event's listener within the block, from 0."""
        return np.repeat(np.arange(self.num_users), np.diff(self.offsets))

    def session_keys(self, events: Integer[np.ndarray, " some"], users: Integer[np.ndarray, " some"]) -> np.ndarray:
        """`[some]`, uint64: keys of the sessions of events, whose listeners are given; `UNKNOWN_SESSION` where
        unknown."""
        session = self.columns["session"][events]
        if not len(self.sessions.values):
            return np.full(len(session), UNKNOWN_SESSION, dtype=np.uint64)
        places = self.sessions.offsets[users] + np.maximum(session, 0)
        keys = self.sessions.values[np.minimum(places, len(self.sessions.values) - 1)]
        return np.where(session < 0, np.uint64(UNKNOWN_SESSION), keys)

    def without(self, is_gone: Bool[np.ndarray, " listeners"]) -> "LogBlock":
        """Returns the block with the events of some listeners removed."""
        if not is_gone.any():
            return self
        stays = ~np.repeat(is_gone, np.diff(self.offsets))
        lengths = np.where(is_gone, 0, np.diff(self.offsets))
        return LogBlock(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            columns={name: column[stays] for name, column in self.columns.items()},
            sessions=self.sessions.where(~np.repeat(is_gone, self.sessions.lengths)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """New events of consecutive listeners: by listener, then time, then order of arrival.

    Args:
        user: `[events]`, the number of the listener within the block, from 0.
        columns: an array `[events]` for each name of `LOG_COLUMNS` except `session`.
        session_key: `[events]`, uint64: a key of the raw `session_id`, `UNKNOWN_SESSION` where it is not given.
        file: `[events]`: the number of the raw file, in order of arrival.
        file_row: `[events]`: the row within that file.
    """

    user: Integer[np.ndarray, " events"]
    columns: dict[str, np.ndarray]
    session_key: np.ndarray
    file: Integer[np.ndarray, " events"]
    file_row: Integer[np.ndarray, " events"]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, places: np.ndarray) -> "Arrivals":
        """Selects events by their places, or by a boolean mask."""
        return Arrivals(
            user=self.user[places],
            columns={name: column[places] for name, column in self.columns.items()},
            session_key=self.session_key[places],
            file=self.file[places],
            file_row=self.file_row[places],
        )
