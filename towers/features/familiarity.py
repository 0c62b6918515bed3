"""Features of the contents in a listener's history: how often, how recently and with which actions they were met.

People return to what they know by its activation in memory: each encounter adds to it and fades with a power of the
time since (base-level activation of ACT-R: Anderson and Schooler 1991, "Reflections of the environment in memory"; for
music Reiter-Haas et al. 2021, "Predicting Music Relistening Behavior Using the ACT-R Framework").
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.contract.events import is_like
from towers.contract.schema import SKIP

DECAYS = (0.5, 1.5)
"""Exponents of the power law by which an encounter decays with its age: slowly, as in ACT-R, and faster."""
MIN_AGE_DAYS = 1 / 24
"""Lower bound of an encounter's age (one hour), so that the latest encounter does not outweigh all others."""
NAMES = ("activation", "fast_activation", "count", "recency", "skips", "saves")
"""Names of the columns of `Familiarity.features`, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """Features of the contents in one listener's history.

    Args:
        content_row: `[contents]`, rows of these contents, sorted.
        features: `[contents, 6]`, float64, columns as in `NAMES`: the logarithms of the two sums of `age ** -decay`
            over positive events, `log(1 + n)` of n positive events, the logarithm of the age of the latest one (these
            four are 0 without a positive event), `log(1 + n)` of n skips, and `log(1 + n)` of n likes and saves.
        is_chosen: `[contents]`, whether the content has a positive event.
    """

    content_row: Int[np.ndarray, " contents"]
    features: Float[np.ndarray, "contents 6"]
    is_chosen: Bool[np.ndarray, " contents"]

    @classmethod
    def of(
        cls,
        *,
        content_row: Integer[np.ndarray, " events"],
        action: Integer[np.ndarray, " events"],
        age: Float[np.ndarray, " events"],
        is_positive: Bool[np.ndarray, " events"],
    ) -> "Familiarity":
        """Aggregates a listener's events by content.

        Args:
            content_row: content row of each event; events with a row below 0 (no known content) are ignored.
            action: index into `schema.ACTIONS`.
            age: age of each event, above 0, in days, or in events if there are no timestamps (see `ages`).
            is_positive: whether each event is positive.
        """
        named = content_row >= 0
        rows, places = np.unique(content_row[named].astype(np.int64), return_inverse=True)
        positive, old, done = is_positive[named], age[named], action[named]

        def total(values: np.ndarray) -> Float[np.ndarray, " contents"]:
            return np.bincount(places, values, minlength=len(rows)).astype(np.float64)

        count = total(positive)
        is_chosen = count > 0
        youngest = np.full(len(rows), np.inf)
        np.minimum.at(youngest, places[positive], old[positive])
        sums = [total(np.where(positive, old**-decay, 0.0)) for decay in DECAYS]
        slow, fast, recency = (np.log(each, out=np.zeros(len(rows)), where=is_chosen) for each in (*sums, youngest))
        features = [slow, fast, np.log1p(count), recency, np.log1p(total(done == SKIP)), np.log1p(total(is_like(done)))]
        return cls(content_row=rows, features=np.stack(features, axis=1), is_chosen=is_chosen)

    def at(self, rows: Integer[np.ndarray, " rows"]) -> tuple[Float[np.ndarray, "rows 6"], Bool[np.ndarray, " rows"]]:
        """Returns the features of the given contents and whether each was chosen.

        Contents that are not in the history have zeros and false.
        """
        places = np.minimum(np.searchsorted(self.content_row, rows), max(len(self.content_row) - 1, 0))
        features, is_chosen = np.zeros((len(rows), len(NAMES))), np.zeros(len(rows), bool)
        if len(self.content_row):
            is_met = self.content_row[places] == rows
            features[is_met] = self.features[places[is_met]]
            is_chosen[is_met] = self.is_chosen[places[is_met]]
        return features, is_chosen


def ages(timestamp_us: Integer[np.ndarray, " events"], now_us: int | None) -> Float[np.ndarray, " events"]:
    """Returns the ages of a listener's events.

    Args:
        timestamp_us: times of the events in ascending order, in microseconds since 1970.
        now_us: current time, in microseconds since 1970; null if there are no timestamps.

    Returns:
        Ages in days, at least `MIN_AGE_DAYS`; without timestamps, positions counted from the end, 1 for the latest.
    """
    if now_us is None:
        return np.arange(len(timestamp_us), 0, -1, dtype=np.float64)
    return np.maximum((now_us - timestamp_us) / DAY_US, MIN_AGE_DAYS)
