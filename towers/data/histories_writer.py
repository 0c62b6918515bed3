"""Writes the histories of a store from the event log."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from towers.contract import schema
from towers.contract.events import is_positive
from towers.data.array_files import ArrayFiles
from towers.data.event_log.block import LogBlock
from towers.data.event_log.files import LogFiles
from towers.data.firsts import is_first
from towers.data.histories import HISTORY_COLUMNS
from towers.errors import UserError


@dataclass(slots=True, kw_only=True)
class Seen:
    """Counts made while the histories were written.

    Args:
        first_us: time of the first positive event; null where there is none.
        last_us: time of the last positive event.
        plays: number of plays.
        positive_plays: number of positive plays.
        longest: greatest played fraction of a play; null where none is known.
        timed_plays: number of plays with `played_ms` above 0 of contents that are not known to be shorter than
            `LONG_MS`.
        short_plays: number of timed plays below `SHORT_MS`.
        short_play: the least (content row, `played_ms`) of the short plays; null without one.
    """

    first_us: int | None = None
    last_us: int | None = None
    plays: int = 0
    positive_plays: int = 0
    longest: float | None = None
    timed_plays: int = 0
    short_plays: int = 0
    short_play: tuple[int, int] | None = None

    @property
    def bounds(self) -> tuple[int, int]:
        """Returns the times of the first and the last positive event.

        Raises:
            UserError: there is none.
        """
        if self.first_us is None or self.last_us is None:
            raise UserError(
                "events/: no positive event (a play of at least features.min_played_fraction, a like or a save) is "
                "left after validation; there is nothing to learn from"
            )
        return self.first_us, self.last_us


SHORT_MS, LONG_MS = 1_000, 10_000


class HistoriesWriter:
    """Writes `histories/` of a store.

    Args:
        columns: the columns of the event log.
        durations_ms: `[contents]`, int64: duration in milliseconds, 0 where unknown.
        min_played_fraction: a play of at least this fraction of its content is positive.
        folder: folder to write the histories to; it is created.
        on_progress: called with (stage, done, all).
    """

    def __init__(
        self,
        *,
        columns: LogFiles,
        durations_ms: Int[np.ndarray, " contents"],
        min_played_fraction: float,
        folder: Path,
        on_progress: Callable[[str, int, int], None],
    ):
        self._columns, self._durations_ms, self._min_played_fraction = columns, durations_ms, min_played_fraction
        self._folder, self._on_progress = folder, on_progress
        self.seen = Seen()

    def write(self) -> None:
        """Writes all columns; contexts and devices are still codes of the log."""
        self._folder.mkdir()
        columns = self._columns
        total, done = int(columns.offsets[-1]), 0
        np.save(self._folder / "offsets.npy", columns.offsets)
        with ArrayFiles(self._folder, HISTORY_COLUMNS, total) as files:
            for _, block in columns.blocks():
                files.append(self._derived(block))
                done += len(block)
                self._on_progress("histories", done, total)

    def _derived(self, block: LogBlock) -> dict[str, np.ndarray]:
        row, action = block.columns["content_row"], block.columns["action"]
        played_ms, times = block.columns["played_ms"], block.columns["timestamp_us"]
        # The entry after the last content is for events without one.
        duration_ms = np.append(self._durations_ms, 0)[row]
        fraction = np.full(len(row), schema.UNKNOWN_PLAYED_FRACTION)
        known = (duration_ms > 0) & (played_ms >= 0)
        fraction[known] = np.minimum(played_ms[known] / duration_ms[known], 1)
        positive = is_positive(
            content_row=row,
            action=action,
            played_fraction=fraction,
            min_played_fraction=self._min_played_fraction,
        )
        discovery = positive.copy()
        users = block.users
        chosen = np.flatnonzero(positive)
        discovery[chosen] = is_first(users[chosen], row[chosen])
        self._note(action, row, played_ms, duration_ms, fraction, positive, times)
        return {
            "content_row": row,
            "action": action,
            "timestamp_us": times,
            "played_fraction": fraction,
            "context": block.columns["context"],
            "device": block.columns["device"],
            "session": _session_places(block, users),
            "is_positive": positive,
            "is_discovery": discovery,
        }

    def _note(
        self,
        action: np.ndarray,
        row: np.ndarray,
        played_ms: np.ndarray,
        duration_ms: np.ndarray,
        fraction: np.ndarray,
        positive: np.ndarray,
        times: np.ndarray,
    ) -> None:
        seen, is_play = self.seen, action == schema.PLAY
        if positive.any():
            first, last = int(times[positive].min()), int(times[positive].max())
            seen.first_us = first if seen.first_us is None else min(seen.first_us, first)
            seen.last_us = last if seen.last_us is None else max(seen.last_us, last)
        seen.plays += int(is_play.sum())
        seen.positive_plays += int((is_play & positive).sum())
        longest = float(fraction[is_play].max(initial=schema.UNKNOWN_PLAYED_FRACTION))
        if longest >= 0:
            seen.longest = max(longest, seen.longest or 0.0)
        timed = is_play & (played_ms > 0) & ((duration_ms == 0) | (duration_ms >= LONG_MS))
        short = np.flatnonzero(timed & (played_ms < SHORT_MS))
        seen.timed_plays += int(timed.sum())
        seen.short_plays += len(short)
        if len(short):
            least = int(row[short].min())
            found = least, int(played_ms[short[row[short] == least]].min())
            seen.short_play = min(found, seen.short_play or found)


def _session_places(block: LogBlock, users: Int[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """`[events]`: place of the session's first event in the listener's history, -1 where unknown."""
    session = block.columns["session"]
    places = np.full(len(session), -1, dtype=np.int32)
    known = np.flatnonzero(session >= 0)
    if not len(known):
        return places
    flat = block.sessions.offsets[users[known]] + session[known]
    first = np.empty(len(block.sessions.values), dtype=np.int64)
    first[flat[::-1]] = known[::-1]  # of several the last one written stays, which is the earliest
    places[known] = first[flat] - block.offsets[users[known]]
    return places
