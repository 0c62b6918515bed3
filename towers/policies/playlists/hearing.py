"""A listener's vector after hearing contents."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from towers.contract.durations import DAY_US
from towers.policies.listener import Listener
from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.query import Standing


def vector_after(listener: Listener, played: Int[np.ndarray, " played"]) -> Float[np.ndarray, " dim"]:
    """Returns the vector of a listener after playing contents in full, now and in this order.

    Features of a new listener count as unknown.
    """
    return _encoded(listener, _with_plays(listener, played, _now_us(listener)))


def listener_after(listener: Listener, played: Int[np.ndarray, " played"], days: int | float) -> Listener:
    """Returns the listener some days later, after playing only these contents then, in full and in this order. Features
    of a new listener count as unknown."""
    now_us = _now_us(listener) + round(days * DAY_US)
    events = _with_plays(listener, played, now_us)
    until_us = None if listener.standing.until_us is None else max(now_us, int(events.timestamp_us.max(initial=0)))
    return replace(listener, vector=_encoded(listener, events), standing=Standing.of(events, until_us))


def _now_us(listener: Listener) -> int:
    now_us = listener.standing.until_us
    return int(listener.standing.events.timestamp_us.max(initial=0)) if now_us is None else now_us


def _with_plays(listener: Listener, played: Int[np.ndarray, " played"], now_us: int) -> Events:
    """Returns all events of a listener, followed by plays from a given time on."""
    both = [(listener.standing.events, 0), (listener.export.plays(played), now_us)]
    columns = {name: np.concatenate([getattr(part, name) for part, _ in both]) for name in EVENT_COLUMNS}
    columns["timestamp_us"] = np.concatenate([part.timestamp_us + start_us for part, start_us in both])
    return Events(**columns)


def _encoded(listener: Listener, events: Events) -> Float[np.ndarray, " dim"]:
    codes = None if listener.user_row is None else listener.export.user_codes[listener.user_row]
    return listener.export.encode_events(events, codes)
