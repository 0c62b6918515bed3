"""What the listeners of a store did before a cut in time, and what they chose within a window after it."""

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
    """Listeners up to a cut, one at a time; nothing from after it is read but by `chosen_within`.

    Args:
        store: the prepared store.
        until: the period that begins at the cut, or the end of the data.
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
        """When the cut is, in microseconds since 1970; null where the data has no clock."""
        if self._until == "end":
            return self._store.end_us
        return self._store.manifest[f"{self._until}_start_us"] if self._store.has_clock else None

    @cached_property
    def facts(self) -> ContentFacts:
        """What is known of contents at the cut."""
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
        """Listeners who did anything before the cut."""
        return np.flatnonzero(self._end > self._begin)

    @cached_property
    def candidates(self) -> Int[np.ndarray, " contents"]:
        """Rows of the contents that may be recommended, and were not released after the cut."""
        may_come = self._store.is_playable
        if self.now_us is not None:
            released = self._store.contents["release_date"].cast("date32[day]").to_numpy().astype("datetime64[D]")
            may_come = may_come & ~(released > np.datetime64(self.now_us, "us").astype("datetime64[D]"))
        return np.flatnonzero(may_come)

    def features(
        self, user_row: int, rows: Int[np.ndarray, " rows"], affinity: Float[np.ndarray, " rows"]
    ) -> tuple[Float[np.ndarray, "rows features"], Bool[np.ndarray, " rows"]]:
        """What the chance of a listen is read off for one listener; see `pair_features`."""
        window = self._window(user_row)
        age = ages(self._time_us[window], self.now_us)
        met = Familiarity.of(
            content_row=self._row[window], action=self._action[window], age=age, is_positive=self._positive[window]
        )
        return pair_features(met, self.chosen(user_row), self.facts, rows, affinity)

    def withheld(self, user_row: int) -> Int[np.ndarray, " withheld"]:
        """Rows of what must not come to a listener, whatever is asked for: what they disliked, or skipped of late."""
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
        """Rows of what a listener chose before the cut, in time order, with repeats."""
        window = self._window(user_row)
        return self._row[window][self._positive[window]].astype(np.int64)

    def chosen_within(self, *, days: float, events: int) -> Ragged:
        """Per listener of the store, the contents of positive events after the cut, each once, sorted.

        Args:
            days: after the cut, where there is a clock.
            events: of the listener's next ones, where there is none.
        """
        assert self._until == "validation", "what comes after is the test's"
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
