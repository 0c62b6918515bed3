"""An export as it was at a time before its end: histories, vectors and popularity know nothing of what came after."""

from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.features.content_facts import RECENT_DAYS, ContentFacts, artist_codes
from towers.features.ragged import Ragged
from towers.publishing.co_listening import LATEST, co_listening
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export


class PastExport(Export):
    """Listeners of an export as of a day.

    Its content vectors and its model of the chance of a listen are those of the export, which says in its manifest
    until when they were trained.

    Args:
        folder: as `Export` takes it.
        as_of: events from the first second of this day on, in UTC, are left out.
    """

    def __init__(self, folder: Path, as_of: date):
        super().__init__(folder, check_files=False)
        self.as_of = datetime(as_of.year, as_of.month, as_of.day)
        self._as_of_us = microseconds_of(self.as_of)

    @cached_property
    def until_us(self) -> int | None:
        """The last moment before that day."""
        return self._as_of_us - 1

    def events(self, user_row: int) -> Events:
        """Returns what a listener did before that day."""
        events = super().events(user_row)
        kept = int(np.searchsorted(events.timestamp_us, self._as_of_us))
        return Events(**{name: getattr(events, name)[:kept] for name in EVENT_COLUMNS})

    @cached_property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Returns vectors of all listeners by row, encoded again after those events."""
        rows = range(len(self.user_ids))
        return np.stack([self.encode_events(self.events(row), self.user_codes[row]) for row in rows])

    @cached_property
    def facts(self) -> ContentFacts:
        """Returns the artists of contents, and their plays in the days before that day."""
        recent = np.zeros(len(self.contents), np.int64)
        for row in range(len(self.user_ids)):
            events = self.events(row)
            is_recent = events.timestamp_us >= self._as_of_us - RECENT_DAYS * DAY_US
            np.add.at(recent, events.content_row[is_recent & events.is_positive], 1)
        return ContentFacts(artists=artist_codes(self.contents["artist_ids"]), recent_positives=recent)

    @cached_property
    def co_listening(self) -> Neighbours | None:
        """Returns co-listening by the choices before that day."""
        return co_listening(self, self.chosen_lists)

    @property
    def all_chosen(self) -> Ragged:
        """Returns the same as `chosen_lists`."""
        return self.chosen_lists

    @cached_property
    def chosen_lists(self) -> Ragged:
        """Rows of what each listener chose before that day, the latest, in time order."""
        return Ragged.from_lists(self.events(row).chosen_rows[-LATEST:] for row in range(len(self.user_ids)))


def opened(folder: Path, as_of: date | None) -> Export:
    """An export as it is, or, where a day is given, as it was then."""
    return Export(folder, check_files=False) if as_of is None else PastExport(folder, as_of)
