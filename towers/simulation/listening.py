"""Listening in the demo world: sessions, choices, skips and likes. Uses no files."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from towers.simulation.audience import Audience
from towers.simulation.repertoire import Repertoire

DAY_MS: Final = 86_400_000

DEVICES: Final = ("phone", "desktop", "speaker", "car")
MAIN_DEVICE_SHARE: Final = 0.8

# Shares of sessions. A tenth plays an editors' playlist; other `playlist` sessions play the listener's own.
_EDITORS: Final = "editors"
_CONTEXT_SHARES: Final = {
    "home": 0.32, _EDITORS: 0.1, "playlist": 0.08, "album": 0.11, "artist": 0.12, "radio": 0.15, "search": 0.12,
}  # fmt: skip
# Share of known contents among a listener's next contents, by context.
_RETURN_SHARES: Final = {
    "home": 0.4, _EDITORS: 0.0, "playlist": 0.95, "album": 0.0, "artist": 0.0, "radio": 0.25, "search": 0.5,
}  # fmt: skip

_MEAN_SESSION_PIECES: Final = 5.0
_MAX_SESSION_PIECES: Final = 30
# Measured rows of events per session: albums end early, and likes, searches and so on are rows too.
_MEAN_SESSION_EVENTS: Final = 5.3
HOUR_WEIGHTS: Final = (2, 1, 1, 1, 1, 2, 4, 7, 8, 6, 5, 5, 6, 6, 5, 5, 6, 8, 9, 9, 9, 8, 6, 4)

# New contents have four times the exposure on the day of release, which fades within weeks.
NOVELTY: Final = 3.0
NOVELTY_DAYS: Final = 14.0

_RADIO_WIDTH: Final = 1.2

# Log-odds of a skip: at the listener's good match, per unit below it, and for a known content.
SKIP_AT_GOOD_MATCH: Final = -0.75
SKIP_PER_MISMATCH: Final = 0.55
SKIP_WHEN_KNOWN: Final = -0.5
GOOD_MATCH_QUANTILE: Final = 0.95

LIKE_SHARE: Final = 0.09  # share of plays at a good match
SAVE_SHARE: Final = 0.06
DISLIKE_SHARE: Final = 0.04  # share of skips


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A row of the events table, with rows instead of ids.

    Args:
        listener: row of the listener.
        content: row of the content; -1 for none.
        time_ms: milliseconds since the start of the period.
        action: action of the raw contract.
        played_ms: milliseconds played; -1 where nothing was played.
        context: context of the session.
        session: number of the session of the listener.
        device: device of the session.
    """

    listener: int
    content: int
    time_ms: int
    action: str
    played_ms: int
    context: str
    session: int
    device: str


@dataclass(slots=True)
class _Memory:
    """A listener's memory: the number of plays of each content, and the day of the last one."""

    counts: Int[np.ndarray, " contents"]
    last_days: Float[np.ndarray, " contents"]
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """Constants of a session."""

    listener: int
    number: int
    kind: str
    device: str
    day: float
    affinity: Float[np.ndarray, " contents"]
    good_match: float

    @property
    def context(self) -> str:
        return "playlist" if self.kind == _EDITORS else self.kind


class Listening:
    """Simulates an audience that listens to a repertoire.

    Args:
        repertoire: contents.
        audience: listeners.
        editors: content rows of every editors' playlist.
        num_days: length of the period, in days.
        events_per_listener: wanted mean number of events; the outcome is close to it.
        rng: generator of all choices.
    """

    def __init__(
        self,
        *,
        repertoire: Repertoire,
        audience: Audience,
        editors: Sequence[Int[np.ndarray, " members"]],
        num_days: int,
        events_per_listener: float,
        rng: np.random.Generator,
    ):
        self._repertoire = repertoire
        self._audience = audience
        self._editors = editors
        self._num_days = num_days
        presence = 1.0 - audience.join_days / num_days
        weights = audience.activity * presence
        self._mean_sessions = events_per_listener / _MEAN_SESSION_EVENTS * weights / weights.mean()
        self._rng = rng
        self._shelves: dict[str, Callable[[_Session, _Memory], np.ndarray]] = {
            "home": self._home_shelf,
            "search": self._search_shelf,
            "radio": self._radio_shelf,
            "artist": lambda session, memory: self._group_shelf(session, memory, repertoire.artist_rows),
            "album": lambda session, memory: self._group_shelf(session, memory, repertoire.album_rows),
            "playlist": self._home_shelf,
            _EDITORS: self._editors_shelf,
        }

    def simulate(self) -> list[Event]:
        """Returns all events, by listener and, within a listener, in time order."""
        events: list[Event] = []
        for listener in range(len(self._audience)):
            events += self._listener_events(listener)
        return events

    def _listener_events(self, listener: int) -> list[Event]:
        rng, join_day = self._rng, int(self._audience.join_days[listener])
        num_contents = len(self._repertoire.places)
        memory = _Memory(np.zeros(num_contents, dtype=np.int64), np.zeros(num_contents))
        num_sessions = int(rng.poisson(self._mean_sessions[listener]))
        days = rng.integers(join_day, self._num_days, num_sessions)
        hours = rng.choice(24, num_sessions, p=np.array(HOUR_WEIGHTS) / sum(HOUR_WEIGHTS))
        starts_ms = np.sort(days * DAY_MS + hours * 3_600_000 + rng.integers(0, 3_600_000, num_sessions))
        main_device = int(rng.integers(len(DEVICES)))
        time_ms = 0
        for number, start_ms in enumerate(starts_ms.tolist()):
            # A session that would begin before the previous one ends begins some minutes after it.
            time_ms = max(start_ms, time_ms + 600_000)
            if time_ms >= self._num_days * DAY_MS:
                break
            session = self._open_session(listener, number, time_ms, main_device)
            time_ms = self._play_session(session, memory, time_ms)
        return [event for event in memory.events if event.time_ms < self._num_days * DAY_MS]

    def _open_session(self, listener: int, number: int, time_ms: int, main_device: int) -> _Session:
        rng, day = self._rng, time_ms / DAY_MS
        affinity = self._audience.affinity(self._repertoire, listener, day / self._num_days)
        is_main = rng.random() < MAIN_DEVICE_SHARE
        kinds = list(_CONTEXT_SHARES)
        return _Session(
            listener=listener,
            number=number,
            kind=kinds[int(rng.choice(len(kinds), p=list(_CONTEXT_SHARES.values())))],
            device=DEVICES[main_device if is_main else int(rng.integers(len(DEVICES)))],
            day=day,
            affinity=affinity,
            good_match=float(np.quantile(affinity, GOOD_MATCH_QUANTILE)),
        )

    def _play_session(self, session: _Session, memory: _Memory, time_ms: int) -> int:
        """Appends the session's events to the memory; returns the time of its end, in ms."""
        rng = self._rng
        if session.kind == "search" or (session.kind == "home" and rng.random() < 0.5):
            action = "search" if session.kind == "search" else "browse"
            memory.events.append(self._event(session, time_ms, action))
            time_ms += round(1000 * rng.uniform(3.0, 30.0))
        fresh = self._shelves[session.kind](session, memory)
        fresh = np.where(self._repertoire.release_days <= int(session.day), fresh, -np.inf)
        num_pieces = min(int(rng.geometric(1.0 / _MEAN_SESSION_PIECES)), _MAX_SESSION_PIECES)
        is_left = np.ones(len(fresh), dtype=bool)
        for _ in range(num_pieces):
            content = self._choose(session, memory, fresh, is_left)
            if content is None:
                break
            is_left[content] = False
            time_ms = self._hear(session, memory, content, time_ms)
        return time_ms

    def _choose(
        self, session: _Session, memory: _Memory, fresh: Float[np.ndarray, " contents"], is_left: np.ndarray
    ) -> int | None:
        """Returns the next content: a known one, or one from the shelf; None when both are used up."""
        is_known = memory.counts > 0
        if self._rng.random() < _RETURN_SHARES[session.kind] and (is_known & is_left).any():
            liking = session.affinity + 0.8 * np.log1p(memory.counts)
            liking -= (session.day - memory.last_days) / 40.0
            return self._draw(np.where(is_known & is_left, liking, -np.inf))
        # Artists, albums and editors' playlists are played as they are, including known contents.
        is_open = is_left if session.kind in ("artist", "album", _EDITORS) else is_left & ~is_known
        return self._draw(np.where(is_open, fresh, -np.inf))

    def _draw(self, logits: Float[np.ndarray, " options"]) -> int | None:
        """Draws a row with probability `softmax(logits)` (Gumbel's trick); None where all are minus infinity."""
        chosen = int(np.argmax(logits + self._rng.gumbel(size=len(logits))))
        return chosen if np.isfinite(logits[chosen]) else None

    def _hear(self, session: _Session, memory: _Memory, content: int, time_ms: int) -> int:
        """Simulates one content, played or skipped, and the reaction; returns the time of its end, in ms."""
        rng, duration_ms = self._rng, int(self._repertoire.durations_ms[content])
        mismatch = session.good_match - float(session.affinity[content])
        log_odds = SKIP_AT_GOOD_MATCH + SKIP_PER_MISMATCH * mismatch
        log_odds += SKIP_WHEN_KNOWN * int(memory.counts[content] > 0)
        is_skip = rng.random() < 1.0 / (1.0 + math.exp(-log_odds))
        if is_skip:
            played_fraction = min(rng.exponential(0.08), 0.3)
        else:
            played_fraction = 1.0 if rng.random() < 0.6 else rng.uniform(0.35, 1.0)
        played_ms = round(played_fraction * duration_ms)
        action = "skip" if is_skip else "play"
        memory.events.append(self._event(session, time_ms, action, content, played_ms))
        memory.counts[content] += not is_skip
        memory.last_days[content] = session.day
        for reaction, share in self._reactions(is_skip, mismatch):
            if rng.random() < share:
                reaction_ms = time_ms + round(played_ms * rng.uniform(0.2, 0.9))
                memory.events.append(self._event(session, reaction_ms, reaction, content))
                break
        return time_ms + played_ms + round(1000 * (0.5 + rng.exponential(2.0)))

    @staticmethod
    def _reactions(is_skip: bool, mismatch: float) -> tuple[tuple[str, float], ...]:
        if is_skip:
            return (("dislike", DISLIKE_SHARE if mismatch > 1.0 else 0.0),)
        fit = min(math.exp(-0.5 * mismatch), 2.0)
        return (("like", LIKE_SHARE * fit), ("save", SAVE_SHARE * fit))

    @staticmethod
    def _event(session: _Session, time_ms: int, action: str, content: int = -1, played_ms: int = -1) -> Event:
        return Event(
            listener=session.listener,
            content=content,
            time_ms=time_ms,
            action=action,
            played_ms=played_ms,
            context=session.context,
            session=session.number,
            device=session.device,
        )

    # A shelf returns the log-weight of every content as the next one, whether released or not.

    def _exposure(self, day: float) -> Float[np.ndarray, " contents"]:
        """Returns the log of each content's exposure to all listeners: its popularity, higher while it is new."""
        ages = np.maximum(day - self._repertoire.release_days, 0.0)
        return self._repertoire.log_popularity + np.log1p(NOVELTY * np.exp(-ages / NOVELTY_DAYS))

    def _home_shelf(self, session: _Session, memory: _Memory) -> Float[np.ndarray, " contents"]:
        return session.affinity + self._exposure(session.day)

    def _search_shelf(self, session: _Session, memory: _Memory) -> Float[np.ndarray, " contents"]:
        return 1.3 * session.affinity + 0.5 * self._exposure(session.day)

    def _radio_shelf(self, session: _Session, memory: _Memory) -> Float[np.ndarray, " contents"]:
        """Returns a shelf around a known content; the radio hardly knows the listener."""
        start = self._draw(np.where(memory.counts > 0, session.affinity, -np.inf))
        if start is None:
            return self._home_shelf(session, memory)
        squares = ((self._repertoire.places - self._repertoire.places[start]) ** 2).sum(axis=1)
        nearness = -squares / (2.0 * _RADIO_WIDTH**2)
        return nearness + 0.4 * session.affinity + self._exposure(session.day)

    def _group_shelf(
        self, session: _Session, memory: _Memory, group_rows: Int[np.ndarray, " contents"]
    ) -> Float[np.ndarray, " contents"]:
        """Returns all contents of the artist or album of one content that the listener would like to hear."""
        is_out = (self._repertoire.release_days <= int(session.day)) & (group_rows >= 0)
        start = self._draw(np.where(is_out, self._home_shelf(session, memory), -np.inf))
        if start is None:
            return np.full(len(group_rows), -np.inf)
        is_member = group_rows == group_rows[start]
        return np.where(is_member, 0.5 * self._exposure(session.day), -np.inf)

    def _editors_shelf(self, session: _Session, memory: _Memory) -> Float[np.ndarray, " contents"]:
        """Returns one editors' playlist, chosen by the listener's mean match, with equal weights within it."""
        shelf = np.full(len(session.affinity), -np.inf)
        if self._editors:
            match = np.array([session.affinity[members].mean() for members in self._editors])
            playlist = self._draw(0.5 * match)
            assert playlist is not None  # a mean of finite numbers
            shelf[self._editors[playlist]] = 0.0
        return shelf
