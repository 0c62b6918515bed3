"""Listeners with a taste, drawn all at once: they finish contents that they like, and skip others."""

from dataclasses import replace

import numpy as np

from towers.contract.durations import DAY_US
from towers.simulation.checks.heard import Heard
from towers.simulation.listeners.session_log import FINISH, SKIP, SessionLog, joined
from towers.simulation.listeners.space import Space

BEGIN_US = 60 * DAY_US
END_US = 90 * DAY_US
CONTEXTS, DEVICES = ("home", "radio"), ("phone",)


def made_space(contents=40, dim=4):
    generator = np.random.default_rng(7)
    vectors = generator.normal(size=(contents, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Space(
        space_id="made",
        content_ids=tuple(f"c{row}" for row in range(contents)),
        vectors=vectors,
        region=np.where(np.arange(contents) % 7 == 0, -1, np.argmax(np.abs(vectors), axis=1)),
        region_names=tuple(f"r{row}" for row in range(dim)),
        artist=np.arange(contents) // 3,
        duration_ms=np.full(contents, 200_000.0),
        released_us=np.zeros(contents, np.int64),
        kind=np.zeros(contents, np.int64),
        kinds=("track",),
        is_playable=np.ones(contents, bool),
        plays=np.zeros(contents),
    )


SPACE = made_space()


def listened(listeners=30, seed=0, begin_us=0, end_us=END_US, *, per_day=0.7, length=6.0, skips=0.0, tastes=0):
    """Draws plays of listeners who come evenly at random.

    Args:
        listeners: number of listeners.
        seed: seed of all but tastes.
        begin_us: begin of the first sessions.
        end_us: end of the last sessions.
        per_day: mean sessions of a listener in a day.
        length: mean plays of a session beside the first two.
        skips: addition to the log odds of a skip.
        tastes: seed of the listeners' tastes.
    """
    generator = np.random.default_rng(seed)
    taste = np.random.default_rng(tastes).normal(size=(listeners, SPACE.vectors.shape[1]))
    of_listener = generator.poisson(per_day * (end_us - begin_us) / DAY_US, listeners)
    owner = np.repeat(np.arange(listeners), of_listener)
    starts = generator.integers(begin_us, end_us, len(owner))
    order = np.lexsort((starts, owner))
    owner, starts = owner[order], starts[order]
    lengths = 2 + generator.poisson(length, len(owner))
    session = np.repeat(np.arange(len(owner)), lengths)
    listener = owner[session]
    content = generator.integers(len(SPACE), size=len(session))
    fit = 2.5 * np.einsum("pd,pd->p", taste[listener], SPACE.vectors[content]) + 0.6 - skips
    is_skip = generator.random(len(session)) > 1 / (1 + np.exp(-fit))
    fraction = np.where(is_skip, generator.uniform(0, 0.5, len(session)), 0.97).astype(np.float32)
    took = (fraction.astype(np.float64) * 200_000_000).astype(np.int64) + 800_000
    so_far = np.cumsum(took) - took
    begins = np.cumsum(lengths) - lengths
    start_us = starts[session] + so_far - np.repeat(so_far[begins], lengths)
    # No listener is in two sessions at once.
    follows = np.diff(owner, prepend=-1) == 0
    ends = (start_us + took)[begins + lengths - 1]
    late = np.concatenate([[False], follows[1:] & (starts[1:] < ends[:-1])])
    keep = ~late[session]
    columns = {
        "listener": listener, "content": content, "start_us": start_us, "session": session,
        "outcome": np.where(is_skip, SKIP, FINISH).astype(np.int8), "fraction": fraction,
        "liked": ~is_skip & (generator.random(len(session)) < 0.1), "saved": np.zeros(len(session), bool),
        "disliked": np.zeros(len(session), bool), "context": owner[session] % 2,
        "device": np.zeros(len(session), np.int64),
    }  # fmt: skip
    user_ids = tuple(f"u{row}" for row in range(listeners))
    return joined({name: [column[keep]] for name, column in columns.items()}, user_ids, CONTEXTS, DEVICES)


def heard(log, before=None):
    """Returns the period's sessions of a log, with its own earlier ones, or with others before it."""
    before = log.between(0, BEGIN_US) if before is None else before
    return Heard(log=log.between(BEGIN_US, END_US), before=before, begin_us=BEGIN_US, end_us=END_US)


def log_of(sessions, user_ids=("a", "b"), step_us=1_000_000):
    """Makes a log of `(listener, start_us, [(content, outcome), ...])`, played in full without a pause unless
    skipped.
    """
    names = ("listener", "content", "start_us", "session", "outcome")
    rows = [
        (listener, content, start_us + place * step_us, number, outcome)
        for number, (listener, start_us, plays) in enumerate(sessions)
        for place, (content, outcome) in enumerate(plays)
    ]
    columns = dict(zip(names, (np.array(column, np.int64) for column in zip(*rows, strict=True)), strict=True))
    nothing = np.zeros(len(rows), bool)
    columns |= {"outcome": columns["outcome"].astype(np.int8), "liked": nothing, "saved": nothing, "disliked": nothing,
                "fraction": np.where(columns["outcome"] == SKIP, 0.1, 1.0).astype(np.float32),
                "context": np.zeros(len(rows), np.int64), "device": np.zeros(len(rows), np.int64)}  # fmt: skip
    return joined({name: [column] for name, column in columns.items()}, user_ids, ("home",), ("phone",))


def without_plays(log: SessionLog) -> SessionLog:
    return replace(log.taken(np.zeros(len(log), bool)))
