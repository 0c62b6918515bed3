"""How tired a listener is of a card: how often it was shown of late without being listened to.

Every time that a card is shown adds one, what was added halves with every day, and a stream sets it to 0. A policy is
told the logarithm, `log(1 + s)`. Serving keeps `s` as it goes along (`service/home_log.py`); here it is told of a log.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

HALVED_US = 86_400_000_000
"""After so long what was added is half of it."""


def faded(value: float, since_us: int) -> float:
    """What is left of a sum after some time.

    >>> faded(2.0, HALVED_US)
    1.0
    """
    return value * 0.5 ** (max(since_us, 0) / HALVED_US)


def satiation_of(
    user: Integer[np.ndarray, " rows"],
    card: Integer[np.ndarray, " rows"],
    timestamp_us: Int[np.ndarray, " rows"],
    is_stream: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"]:
    """`log(1 + s)` just before each row was shown.

    Args:
        user: any numbers that stand for listeners.
        card: any numbers that stand for cards.
        timestamp_us: in time order.
        is_stream: whether the row was listened to.
    """
    sums: dict[tuple[int, int], tuple[float, int]] = {}
    found = np.zeros(len(user))
    columns = (user.tolist(), card.tolist(), timestamp_us.tolist(), is_stream.tolist())
    for place, (one, shown, time_us, was_heard) in enumerate(zip(*columns, strict=True)):
        value, at_us = sums.get((one, shown), (0.0, time_us))
        before = faded(value, time_us - at_us)
        found[place] = before
        sums[one, shown] = (0.0 if was_heard else before + 1.0, time_us)
    return np.log1p(found)
