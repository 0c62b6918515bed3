"""Where a listener would be after hearing something."""

import numpy as np
from jaxtyping import Float, Int

from towers.policies.listener import Listener
from towers.retrieval.encoders import EVENT_COLUMNS, Events


def vector_after(listener: Listener, played: Int[np.ndarray, " played"]) -> Float[np.ndarray, " dim"]:
    """The vector of a listener once they have played some contents in full, now and one after the other.

    Columns of somebody new count as unknown.
    """
    export, events = listener.export, listener.standing.events
    now_us = listener.standing.until_us
    if now_us is None:
        now_us = int(events.timestamp_us.max(initial=0))
    both = [(events, 0), (export.plays(played), now_us)]
    columns = {name: np.concatenate([getattr(part, name) for part, _ in both]) for name in EVENT_COLUMNS}
    columns["timestamp_us"] = np.concatenate([part.timestamp_us + start_us for part, start_us in both])
    codes = None if listener.user_row is None else export.user_codes[listener.user_row]
    return export.encode_events(Events(**columns), codes)
