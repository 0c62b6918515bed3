"""Memory of simulated listeners for single contents: number of plays, times, and whether they were skipped."""

from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import HOUR_US

_EMPTY: Final = -1
_PROBES: Final = 8
_MIN_AGE_HOURS: Final = 0.05


class ContentMemory:
    """A hash table of a fixed number of places for each listener, with open addressing.

    A listener who meets more contents than fit near a content's place forgets the one whose last play is oldest.

    Args:
        num_listeners: number of rows.
        places: places of each listener, a power of two; three times an ordinary listener's contents leave room.
    """

    def __init__(self, num_listeners: int, places: int):
        shape = (num_listeners, places)
        self._mask = places - 1
        self.content = np.full(shape, _EMPTY, np.int32)
        self.plays = np.zeros(shape, np.int32)
        self.skips = np.zeros(shape, np.int32)
        self.was_skipped = np.zeros(shape, bool)
        self.first_us = np.zeros(shape, np.int64)
        self.last_us = np.zeros(shape, np.int64)
        self.session = np.full(shape, -1, np.int32)
        self.order = np.zeros(shape, np.int16 if places <= 2**15 else np.int32)
        self.met = np.zeros(num_listeners, np.int32)

    def _first_place(self, content: Integer[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        # Fibonacci hashing spreads consecutive rows.
        return ((content.astype(np.int64) * 2_654_435_769) >> 16) & self._mask

    def places_of(
        self, listener: Integer[np.ndarray, " asked"], content: Integer[np.ndarray, "asked ..."]
    ) -> Int[np.ndarray, "asked ..."]:
        """Returns the place of each content in its listener's row of the table; -1 where it has not been met."""
        rows = np.broadcast_to(listener.reshape(-1, *[1] * (content.ndim - 1)), content.shape).ravel()
        wanted = content.ravel().astype(np.int32)
        place = self._first_place(wanted)
        found = np.full(len(wanted), -1)
        open_ = np.arange(len(wanted))
        for _ in range(_PROBES):
            there = self.content[rows[open_], place[open_]]
            hit = there == wanted[open_]
            found[open_[hit]] = place[open_[hit]]
            # An empty place ends the search: entries are never removed, only replaced.
            open_ = open_[~hit & (there != _EMPTY)]
            if not len(open_):
                break
            place[open_] = (place[open_] + 1) & self._mask
        return found.reshape(content.shape)

    def meet(
        self,
        listener: Integer[np.ndarray, " met"],
        content: Integer[np.ndarray, " met"],
        time_us: Integer[np.ndarray, " met"],
        session: Integer[np.ndarray, " met"],
        is_skip: Bool[np.ndarray, " met"],
    ) -> None:
        """Adds one encounter for each of some distinct listeners."""
        place = self.places_of(listener, content)
        new = np.flatnonzero(place < 0)
        if len(new):
            place[new] = self._free_places(listener[new], content[new])
            at = listener[new], place[new]
            fresh = new[self.content[at] == _EMPTY]
            self.order[listener[fresh], self.met[listener[fresh]]] = place[fresh]
            self.met[listener[fresh]] += 1
            self.content[at] = content[new]
            self.plays[at], self.skips[at] = 0, 0
            self.first_us[at] = time_us[new]
        at = listener, place
        self.plays[at] += 1
        self.skips[at] += is_skip
        self.was_skipped[at] = is_skip
        self.last_us[at] = time_us
        self.session[at] = session

    def _free_places(
        self, listener: Integer[np.ndarray, " new"], content: Integer[np.ndarray, " new"]
    ) -> Int[np.ndarray, " new"]:
        offered = (self._first_place(content)[:, None] + np.arange(_PROBES)) & self._mask
        rows = listener[:, None]
        met_us = np.where(self.content[rows, offered] == _EMPTY, np.iinfo(np.int64).min, self.last_us[rows, offered])
        return np.take_along_axis(offered, met_us.argmin(axis=1)[:, None], axis=1)[:, 0]

    def listed(self, listener: Integer[np.ndarray, " asked"]) -> Int[np.ndarray, "asked met"]:
        """Returns the places of all contents that each listener has met, in order of first meetings; -1 as padding."""
        met = self.met[listener]
        places = self.order[listener, : int(met.max(initial=1))].astype(int)
        return np.where(np.arange(places.shape[1]) < met[:, None], places, -1)

    def activation(
        self,
        listener: Integer[np.ndarray, " asked"],
        place: Integer[np.ndarray, "asked ..."],
        now_us: Integer[np.ndarray, " asked"],
    ) -> Float[np.ndarray, "asked ..."]:
        """Returns base-level activation, the log of `age_hours ** -0.5` summed over encounters, float32; 0 if not met.

        The last encounter counts by its age, earlier ones as if spread evenly since the first one (Petrov 2006,
        "Computationally efficient approximation of the base-level learning equation in ACT-R").
        """
        shape = (-1, *[1] * (place.ndim - 1))
        at = listener.reshape(shape), np.maximum(place, 0)
        now = now_us.reshape(shape)
        last = np.maximum(((now - self.last_us[at]) / HOUR_US).astype(np.float32), _MIN_AGE_HOURS)
        first = np.maximum(((now - self.first_us[at]) / HOUR_US).astype(np.float32), last + _MIN_AGE_HOURS)
        # The mean of age ** -0.5 between two ages, in a form without a difference of nearly equal numbers.
        earlier = 2.0 / (np.sqrt(first) + np.sqrt(last))
        total = 1.0 / np.sqrt(last) + (self.plays[at] - 1) * earlier
        return np.where(place >= 0, np.log(np.maximum(total, 1e-9)), 0.0).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all arrays by name, for `restore`."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        for name in _ARRAYS:
            getattr(self, name)[:] = arrays[name]


_ARRAYS: Final = ("content", "plays", "skips", "was_skipped", "first_us", "last_us", "session", "order", "met")
