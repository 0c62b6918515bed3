"""Features of a session for the classifier: length, time, actions, contents, and how these relate.

Times are rounded, so that sessions cannot be told apart by how a log stores its numbers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US, HOUR_US
from towers.simulation.checks.heard import Heard
from towers.simulation.checks.stated import played_us, session_ends_us, skip_runs
from towers.simulation.listeners.session_log import FINISH, PARTIAL, SKIP, SessionLog
from towers.simulation.listeners.space import Space

NEW_DAYS = 30
"""Days after its release for which a content is new."""
MONDAY_DAYS = 4
"""Days from 1970-01-01, a Thursday, to a Monday."""

Values = Float[np.ndarray, " plays"]
Sessions = Float[np.ndarray, " sessions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFeatures:
    """Features of sessions.

    Args:
        values: `[sessions, features]`, float64; NaN where a session has no value.
        names: names of the features, in words.
        listener: row of each session's listener.
    """

    values: Float[np.ndarray, "sessions features"]
    names: tuple[str, ...]
    listener: Int[np.ndarray, " sessions"]


def session_features(
    heard: Heard, space: Space, contexts: tuple[str, ...], devices: tuple[str, ...]
) -> SessionFeatures:
    """Returns the features of every session of a period.

    Args:
        heard: plays of the period.
        space: space of the played contents.
        contexts: order in which contexts are numbered, the same for all compared logs; other contexts share one number.
        devices: order in which devices are numbered, likewise.
    """
    columns = (
        _of_time(heard, space)
        | _of_actions(heard.log)
        | _of_contents(heard, space)
        | _of_contrasts(heard, space)
        | _of_place(heard.log, contexts, devices)
    )
    return SessionFeatures(
        values=np.column_stack([column.astype(np.float64) for column in columns.values()]),
        names=tuple(columns),
        listener=heard.log.listener[heard.log.session_begins],
    )


def _of_time(heard: Heard, space: Space) -> dict[str, np.ndarray]:
    log = heard.log
    starts, ends = log.start_us[log.session_begins], session_ends_us(log, space)
    since = np.where(heard.previous_session_us >= 0, starts - heard.previous_session_us, np.nan)
    took_us = played_us(log, space)
    waits = np.diff(log.start_us, prepend=log.start_us[:1]) - np.concatenate([[0.0], took_us[:-1]])
    waits[log.session_begins] = np.nan
    return {
        "hour of day": starts // HOUR_US % 24,
        "day of the week": (starts // DAY_US - MONDAY_DAYS) % 7,
        "hours since the session before": np.round(since / HOUR_US, 1),
        "minutes it took": np.round((ends - starts) / 60e6),
        "seconds between plays, mean": np.round(_means(log, waits / 1e6), 1),
    }


def _of_actions(log: SessionLog) -> dict[str, np.ndarray]:
    is_skip, begins, lengths = log.outcome == SKIP, log.session_begins, log.session_lengths
    last = begins + lengths - 1
    in_row = np.zeros(len(log))
    run_begins, run_lengths = skip_runs(log)
    in_row[run_begins] = run_lengths
    changes = np.concatenate([[False], np.diff(is_skip)]) if len(log) else is_skip
    changes[begins] = False
    share = log.position / np.maximum(np.repeat(lengths, lengths) - 1, 1)
    fraction = log.fraction.astype(np.float64)
    before_last = np.maximum(last - 1, begins)
    return {
        "plays": lengths,
        "skips, share": _means(log, is_skip),
        "left early without a skip, share": _means(log, log.outcome == PARTIAL),
        "first outcome": log.outcome[begins],
        "second outcome": log.outcome[np.minimum(begins + 1, last)],
        "last outcome": log.outcome[last],
        "outcome before the last": log.outcome[before_last],
        "longest run of skips": np.maximum.reduceat(in_row, begins),
        "runs of skips": np.add.reduceat(in_row > 0, begins, dtype=np.int64),
        "skips in a row at the end": _at_the_end(log, is_skip),
        "changes from skip to listening and back, share": _means(log, changes),
        "skips in the first half, share": _means(log, np.where(share < 0.5, is_skip, np.nan)),
        "skips in the second half, share": _means(log, np.where(share >= 0.5, is_skip, np.nan)),
        "fraction played of skips, mean": np.round(_means(log, np.where(is_skip, fraction, np.nan)), 2),
        "fraction played of skips, largest": np.round(_largest(log, np.where(is_skip, fraction, -1.0)), 2),
        "fraction played of the others, mean": np.round(_means(log, np.where(is_skip, np.nan, fraction)), 2),
        "fraction played of the others, least": np.round(-_largest(log, np.where(is_skip, -2.0, -fraction)), 2),
        "likes": np.add.reduceat(log.liked, begins, dtype=np.int64),
        "saves": np.add.reduceat(log.saved, begins, dtype=np.int64),
        "dislikes": np.add.reduceat(log.disliked, begins, dtype=np.int64),
        "reactions to skips": np.add.reduceat((log.liked | log.saved | log.disliked) & is_skip, begins, dtype=np.int64),
    }


def _of_contents(heard: Heard, space: Space) -> dict[str, np.ndarray]:
    log, content, begins = heard.log, heard.log.content, heard.log.session_begins
    age = np.where(_released(log, space), (log.start_us - space.released_us[content]) / DAY_US, np.nan)
    popularity, affinity = np.log1p(space.plays)[content], heard.affinity(space)
    known = np.log1p(heard.earlier)
    cosine, artist, region = _after(log, space)
    return {
        "distinct contents / plays": _distinct(log, content) / log.session_lengths,
        "distinct artists / plays": _distinct(log, space.artist[content]) / log.session_lengths,
        "distinct regions / plays": _distinct(log, space.region[content]) / log.session_lengths,
        "played before, share": _means(log, heard.earlier > 0),
        "earlier plays, mean logarithm": _means(log, known),
        "earlier plays, deviation": _deviations(log, known),
        "among the last 20 already, mean": _means(log, heard.among_last),
        "days since last played, mean logarithm": _means(log, np.log1p(heard.since_last_s / 86_400)),
        "logarithm of popularity, mean": _means(log, popularity),
        "logarithm of popularity, deviation": _deviations(log, popularity),
        "days since release, mean logarithm": _means(log, np.log1p(np.maximum(age, 0))),
        "new releases, share": _means(log, np.where(np.isfinite(age), age < NEW_DAYS, np.nan)),
        "not released yet, share": _means(log, np.where(np.isfinite(age), age < 0, np.nan)),
        "affinity, mean": _means(log, affinity),
        "affinity, deviation": _deviations(log, affinity),
        "affinity, first": affinity[begins],
        "affinity, last": affinity[begins + log.session_lengths - 1],
        "cosine to the play before, mean": _means(log, cosine),
        "cosine to the play before, deviation": _deviations(log, cosine),
        "same artist as before, share": _means(log, artist),
        "region changes, share": _means(log, region),
        "in no region, share": _means(log, space.region[content] < 0),
        "length of contents in minutes, mean": _means(log, space.duration_ms[content] / 60_000),
        "kind of content, mean code": _means(log, space.kind[content]),
    }


def _of_contrasts(heard: Heard, space: Space) -> dict[str, np.ndarray]:
    """Returns means over skipped plays minus means over others, which show whether the right plays were skipped."""
    log, content = heard.log, heard.log.content
    is_skip = log.outcome == SKIP
    cosine, artist, _ = _after(log, space)
    after_skip = np.concatenate([[np.nan], is_skip[:-1].astype(np.float64)]) if len(log) else np.zeros(0)
    after_skip[log.session_begins] = np.nan
    told = {
        "affinity": heard.affinity(space),
        "earlier plays": np.log1p(heard.earlier),
        "popularity": np.log1p(space.plays)[content],
        "cosine to the play before": cosine,
        "same artist as before": artist,
        "position": log.position.astype(np.float64),
        "after a skip": after_skip,
        "among the last 20 already": heard.among_last.astype(np.float64),
    }
    found = {
        f"{name}, of skips less of others": _means(log, np.where(is_skip, value, np.nan))
        - _means(log, np.where(is_skip, np.nan, value))
        for name, value in told.items()
    }
    reacted = log.liked | log.saved
    affinity = told["affinity"]
    liked = _means(log, np.where(reacted, affinity, np.nan)) - _means(log, np.where(reacted, np.nan, affinity))
    finished = np.where(log.outcome == FINISH, told["earlier plays"], np.nan)
    return found | {
        "affinity, of likes and saves less of others": liked,
        "earlier plays of what was finished, mean": _means(log, finished),
    }


def _of_place(log: SessionLog, contexts: tuple[str, ...], devices: tuple[str, ...]) -> dict[str, np.ndarray]:
    context = _codes(log.contexts, contexts)[log.context[log.session_begins]]
    device = _codes(log.devices, devices)[log.device[log.session_begins]]
    listener = log.listener[log.session_begins]
    follows = np.diff(listener, prepend=-1) == 0
    same_context, same_device = (
        np.where(follows, np.diff(code, prepend=-1) == 0, np.nan) for code in (context, device)
    )
    return {
        "context": context,
        "device": device,
        "context of the session before": same_context,
        "device of the session before": same_device,
    }


def _after(log: SessionLog, space: Space) -> tuple[Values, Values, Values]:
    """Returns the cosine to the session's play before, whether the artist is the same, and the region another."""
    first = np.zeros(len(log), bool)
    first[log.session_begins] = True
    before, content = np.roll(log.content, 1), log.content
    cosine = np.einsum("pd,pd->p", space.vectors[content], space.vectors[before]).astype(np.float64)
    same_artist = (space.artist[content] == space.artist[before]) & (space.artist[content] >= 0)
    other_region = space.region[content] != space.region[before]
    cosine, artist, region = (np.where(first, np.nan, each) for each in (cosine, same_artist, other_region))
    return cosine, artist, region


def _released(log: SessionLog, space: Space) -> Bool[np.ndarray, " plays"]:
    return space.released_us[log.content] != np.iinfo(np.int64).min


def _codes(names: tuple[str, ...], order: tuple[str, ...]) -> Int[np.ndarray, " names"]:
    return np.array([order.index(name) if name in order else len(order) for name in names], np.int64)


def _means(log: SessionLog, values: np.ndarray) -> Sessions:
    """Returns the mean of the finite values of each session; NaN where there is none."""
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), log.session_begins)
    number = np.add.reduceat(known, log.session_begins, dtype=np.float64)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _deviations(log: SessionLog, values: np.ndarray) -> Sessions:
    means = np.repeat(_means(log, values), log.session_lengths)
    return np.sqrt(_means(log, (values - means) ** 2))


def _largest(log: SessionLog, values: Values) -> Sessions:
    return np.maximum.reduceat(values, log.session_begins)


def _distinct(log: SessionLog, codes: np.ndarray) -> Int[np.ndarray, " sessions"]:
    size = int(codes.max(initial=0)) + 2  # a code may be -1
    pairs = np.unique(log.session * size + codes + 1)
    return np.bincount(pairs // size, minlength=len(log.session_begins))


def _at_the_end(log: SessionLog, is_skip: Bool[np.ndarray, " plays"]) -> Int[np.ndarray, " sessions"]:
    """Returns the number of skips at the end of each session."""
    place = np.where(is_skip, -1, log.position)
    return log.session_lengths - 1 - np.maximum.reduceat(place, log.session_begins)
