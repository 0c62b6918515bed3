"""Satiation of listeners with cards: how often a card was shown lately without being listened to.

Every time that a card is shown adds one, sums halve every day, and a stream sets the sum `s` to 0. A policy reads
`log(1 + s)`. Serving keeps `s` as it goes along (`service/home_log.py`); this module computes it from a log.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US

HALVED_US = DAY_US
"""Half-life of the sums."""


def faded(value: float, since_us: int) -> float:
    """Returns what is left of a sum after some time.

    >>> faded(2.0, HALVED_US)
    1.0
    """
    return value * 0.5 ** (max(since_us, 0) / HALVED_US)


class Tired:
    """Sums of listeners and cards, updated in the order of time.

    Listeners and cards are identified by any integers.
    """

    def __init__(self) -> None:
        self._sums: dict[int, dict[int, tuple[float, int]]] = {}

    def of(self, user: int, card: int, time_us: int) -> float:
        """Returns `s` of a listener and a card."""
        value, at_us = self._sums.get(user, {}).get(card, (0.0, time_us))
        return faded(value, time_us - at_us)

    def of_all(self, user: int, cards: int, time_us: int) -> Float[np.ndarray, " cards"]:
        """Returns `log(1 + s)` of a listener and the cards numbered from 0."""
        found = np.zeros(cards)
        for card, (value, at_us) in self._sums.get(user, {}).items():
            found[card] = faded(value, time_us - at_us)
        return np.log1p(found)

    def shown(self, user: int, card: int, time_us: int, is_stream: bool) -> None:
        """Records that a card was shown, and whether it was listened to."""
        value = 0.0 if is_stream else self.of(user, card, time_us) + 1.0
        self._sums.setdefault(user, {})[card] = (value, time_us)


def satiation_of(
    user: Integer[np.ndarray, " rows"],
    card: Integer[np.ndarray, " rows"],
    timestamp_us: Int[np.ndarray, " rows"],
    is_stream: Bool[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"]:
    """Returns `log(1 + s)` just before each row was shown.

    Args:
        user: any integers that identify listeners.
        card: any integers that identify cards.
        timestamp_us: microseconds, in time order.
        is_stream: whether the row was listened to.
    """
    tired, found = Tired(), np.zeros(len(user))
    columns = (user.tolist(), card.tolist(), timestamp_us.tolist(), is_stream.tolist())
    for place, (one, number, time_us, was_heard) in enumerate(zip(*columns, strict=True)):
        found[place] = tired.of(one, number, time_us)
        tired.shown(one, number, time_us, was_heard)
    return np.log1p(found)
