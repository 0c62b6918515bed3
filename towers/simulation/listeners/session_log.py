"""Listening as a simulator reads and writes it: plays in sessions, one row each."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

SKIP, PARTIAL, FINISH = 0, 1, 2
"""Outcomes of a play: skipped; ended before `FINISHED` of it without a skip; finished."""
OUTCOMES = ("skip", "partial", "finish")
FINISHED = 0.9
"""Played share of a content's length from which a play that was not skipped counts as finished."""


@dataclass(frozen=True, slots=False, kw_only=True)
class SessionLog:
    """Plays, sorted by listener, then time; a skipped content is a play too.

    Args:
        user_ids: raw ids; a listener's row is the index of the id. A listener may have no play.
        listener: `[plays]`, row of the listener, ascending.
        content: `[plays]`, row of the content in the `Space`.
        start_us: `[plays]`, int64, start of the play, microseconds since 1970, UTC.
        session: `[plays]`, number of the session, from 0 without gaps, ascending; each belongs to one listener.
        outcome: `[plays]`, int8, one of `SKIP`, `PARTIAL`, `FINISH`.
        fraction: `[plays]`, float32, played share of the content, from 0 to 1.
        liked: `[plays]`, whether a like followed in the same session.
        saved: `[plays]`, whether a save followed in the same session.
        disliked: `[plays]`, whether a dislike followed in the same session.
        context: `[plays]`, code in `contexts`.
        contexts: names of contexts in the raw contract, such as `home`.
        device: `[plays]`, code in `devices`.
        devices: names of devices, such as `phone`.
    """

    user_ids: tuple[str, ...]
    listener: Int[np.ndarray, " plays"]
    content: Int[np.ndarray, " plays"]
    start_us: Int[np.ndarray, " plays"]
    session: Int[np.ndarray, " plays"]
    outcome: Int[np.ndarray, " plays"]
    fraction: Float[np.ndarray, " plays"]
    liked: Bool[np.ndarray, " plays"]
    saved: Bool[np.ndarray, " plays"]
    disliked: Bool[np.ndarray, " plays"]
    context: Int[np.ndarray, " plays"]
    contexts: tuple[str, ...]
    device: Int[np.ndarray, " plays"]
    devices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.listener)

    @cached_property
    def session_begins(self) -> Int[np.ndarray, " sessions"]:
        """Index of each session's first play."""
        return np.flatnonzero(np.diff(self.session, prepend=-1))

    @cached_property
    def session_lengths(self) -> Int[np.ndarray, " sessions"]:
        """Number of plays of each session."""
        return np.diff(self.session_begins, append=len(self))

    @cached_property
    def position(self) -> Int[np.ndarray, " plays"]:
        """Place of each play in its session, from 0."""
        return np.arange(len(self)) - np.repeat(self.session_begins, self.session_lengths)

    def taken(self, keep: Bool[np.ndarray, " plays"]) -> "SessionLog":
        """Returns the plays selected by `keep`, with the same rows of listeners and sessions numbered anew.

        If only a part of a session is kept, the session becomes shorter.
        """
        columns = {name: getattr(self, name)[keep] for name in COLUMNS}
        columns["session"] = np.unique(columns["session"], return_inverse=True)[1].astype(np.int64)
        return replace(self, **columns)

    def of_listeners(self, keep: Bool[np.ndarray, " listeners"]) -> "SessionLog":
        """Returns some listeners' plays, with rows numbered anew."""
        rows = np.cumsum(keep) - 1
        kept = self.taken(keep[self.listener])
        user_ids = tuple(user_id for user_id, is_kept in zip(self.user_ids, keep, strict=True) if is_kept)
        return replace(kept, user_ids=user_ids, listener=rows[kept.listener])

    def followed_by(self, later: "SessionLog") -> "SessionLog":
        """Returns this log joined with a later one of the same listeners."""
        parts = {name: [getattr(self, name), getattr(later, name)] for name in COLUMNS}
        parts["session"][1] = later.session + len(self.session_begins)
        return joined(parts, self.user_ids, self.contexts, self.devices)

    def between(self, begin_us: int, end_us: int) -> "SessionLog":
        """Returns the whole sessions that began at `begin_us` or later and before `end_us`."""
        starts = self.start_us[self.session_begins]
        return self.taken(((starts >= begin_us) & (starts < end_us))[self.session])


COLUMNS: Final = (
    "listener", "content", "start_us", "session", "outcome", "fraction", "liked", "saved", "disliked", "context",
    "device",
)  # fmt: skip
"""Names of a log's arrays."""


def joined(parts: dict[str, list[np.ndarray]], user_ids: tuple[str, ...], contexts: tuple[str, ...],
           devices: tuple[str, ...]) -> SessionLog:  # fmt: skip
    """Makes a log of plays collected in any order.

    Args:
        parts: pieces of each column by its name, of equal lengths; `session` may be any number shared by the plays of
            one session of one listener, and growing with a listener's time.
        user_ids: see `SessionLog`.
        contexts: see `SessionLog`.
        devices: see `SessionLog`.
    """
    columns = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    order = np.lexsort((columns["start_us"], columns["session"], columns["listener"]))
    columns = {name: column[order] for name, column in columns.items()}
    is_new = np.diff(columns["listener"], prepend=-1).astype(bool) | np.diff(columns["session"], prepend=-1).astype(
        bool
    )
    columns["session"] = np.cumsum(is_new) - 1
    return SessionLog(user_ids=user_ids, contexts=contexts, devices=devices, **columns)
