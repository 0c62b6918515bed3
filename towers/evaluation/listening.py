"""Listening in a store before a cut in time, and the contents chosen within a window after it."""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.durations import DAY_US
from towers.data.histories import Until
from towers.data.store import Store
from towers.features.content_facts import RECENT_DAYS, ContentFacts, artist_codes
from towers.features.familiarity import Familiarity, ages
from towers.features.ragged import Ragged
from towers.retrieval.encoders import Events
from towers.retrieval.listen_chance import pair_features
from towers.retrieval.query import Query, Standing


class Listening:
    """Features of listeners as of a cut; only `chosen_within` reads events from after it.

    Args:
        store: prepared store.
        until: period that begins at the cut, or the end of the data.
    """

    def __init__(self, store: Store, until: Until):
        histories = store.histories
        self._store = store
        self._begin, self._end = np.asarray(histories.offsets[:-1]), np.asarray(histories.known_until(until))
        self._row = np.asarray(histories.content_row)
        self._action = np.asarray(histories.action)
        self._positive = np.asarray(histories.is_positive)
        self._time_us = np.asarray(histories.timestamp_us)
        self._until: Until = until

    @cached_property
    def now_us(self) -> int | None:
        """Time of the cut, in microseconds since 1970; null if the data has no timestamps."""
        if self._until == "end":
            return self._store.end_us
        return self._store.manifest[f"{self._until}_start_us"] if self._store.has_clock else None

    @cached_property
    def facts(self) -> ContentFacts:
        """Facts about contents at the cut."""
        is_before = self._places < np.repeat(self._end, self._lengths)
        is_recent = is_before & self._positive & (self._row >= 0)
        if self.now_us is not None:
            is_recent &= self._time_us >= self.now_us - RECENT_DAYS * DAY_US
        num_contents = len(self._store.contents)
        return ContentFacts(
            artists=artist_codes(self._store.contents["artist_ids"]),
            recent_positives=np.bincount(self._row[is_recent], minlength=num_contents),
        )

    @cached_property
    def user_rows(self) -> Int[np.ndarray, " users"]:
        """Rows of the listeners with an event before the cut."""
        return np.flatnonzero(self._end > self._begin)

    @cached_property
    def candidates(self) -> Int[np.ndarray, " contents"]:
        """Rows of the playable contents that were not released after the cut."""
        may_come = self._store.is_playable
        if self.now_us is not None:
            released = self._store.contents["release_date"].cast("date32[day]").to_numpy().astype("datetime64[D]")
            may_come = may_come & ~(released > np.datetime64(self.now_us, "us").astype("datetime64[D]"))
        return np.flatnonzero(may_come)

    def features(
        self, user_row: int, rows: Int[np.ndarray, " rows"], affinity: Float[np.ndarray, " rows"]
    ) -> tuple[Float[np.ndarray, "rows features"], Bool[np.ndarray, " rows"]]:
        """Returns the features of the chance of a listen for one listener; see `pair_features`."""
        window = self._window(user_row)
        age = ages(self._time_us[window], self.now_us)
        met = Familiarity.of(
            content_row=self._row[window], action=self._action[window], age=age, is_positive=self._positive[window]
        )
        return pair_features(met, self.chosen(user_row), self.facts, rows, affinity)

    def withheld(self, user_row: int) -> Int[np.ndarray, " withheld"]:
        """Returns the rows that are excluded for a listener in every query: disliked and recently skipped contents."""
        window = self._window(user_row)
        row = self._row[window]
        events = Events(
            content_row=row,
            action=self._action[window],
            timestamp_us=self._time_us[window],
            played_fraction=np.full(len(row), -1.0),
            context=np.zeros(len(row), np.int64),
            is_positive=self._positive[window],
        )
        return Standing.of(events, self.now_us).withheld(Query(include_heard=True))

    def chosen(self, user_row: int) -> Int[np.ndarray, " chosen"]:
        """Returns the rows of a listener's chosen contents before the cut, in time order, with repeats."""
        window = self._window(user_row)
        return self._row[window][self._positive[window]].astype(np.int64)

    def chosen_within(self, *, days: float, events: int) -> Ragged:
        """Returns, for each listener of the store, the contents chosen in a window after the cut, each once, sorted.

        Args:
            days: length of the window in days, if there are timestamps.
            events: length of the window in the listener's next events, if there are none.
        """
        assert self._until == "validation", "later events belong to the test period"
        begins, ends = map(np.asarray, self._store.histories.period("validation"))
        if self.now_us is None:
            ends = np.minimum(ends, begins + events)
            is_within = np.ones(len(self._row), bool)
        else:
            is_within = self._time_us < self.now_us + days * DAY_US
        is_after = (self._places >= np.repeat(begins, self._lengths)) & (self._places < np.repeat(ends, self._lengths))
        offsets = np.asarray(self._store.histories.offsets)
        return Ragged(offsets, self._row).where(is_after & is_within & self._positive & (self._row >= 0)).unique()

    def _window(self, user_row: int) -> slice:
        return slice(self._begin[user_row], self._end[user_row])

    @property
    def _lengths(self) -> Int[np.ndarray, " users"]:
        return np.diff(np.asarray(self._store.histories.offsets))

    @property
    def _places(self) -> Int[np.ndarray, " events"]:
        return np.arange(len(self._row))
