"""What a listener's history says of the contents in it: how often, how lately, how they were left. Numpy alone.

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
"""Powers of the age by which an encounter fades: slowly, as in ACT-R, and faster."""
MIN_AGE_DAYS = 1 / 24
"""What is younger counts as an hour old, so that the last encounter does not outweigh all others."""
NAMES = ("activation", "fast_activation", "count", "recency", "skips", "saves")
"""What `Familiarity.features` holds, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """The contents that a listener met, and what there is to say of each.

    Args:
        content_row: `[contents]`, sorted.
        features: `[contents, 6]`, float64, see `NAMES`: the logarithms of both sums of `age ** -decay` over positive
            events, `log(1 + their number)`, the logarithm of the age of the last one (these four are 0 where there is
            no positive event), and `log(1 + n)` of n skips, and of n likes and saves.
        is_chosen: `[contents]`, whether there is a positive event.
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
        """Sums up a listener's events by content.

        Args:
            content_row: below 0 where an event names no content; it is left out.
            action: index into `schema.ACTIONS`.
            age: of the event, above 0, in days, or in events where there is no clock (`ages`).
            is_positive: whether the listener chose the content by it.
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
        """Features of some contents, 0 for one that the listener has not met, and whether they chose it."""
        places = np.minimum(np.searchsorted(self.content_row, rows), max(len(self.content_row) - 1, 0))
        features, is_chosen = np.zeros((len(rows), len(NAMES))), np.zeros(len(rows), bool)
        if len(self.content_row):
            is_met = self.content_row[places] == rows
            features[is_met] = self.features[places[is_met]]
            is_chosen[is_met] = self.is_chosen[places[is_met]]
        return features, is_chosen


def ages(timestamp_us: Integer[np.ndarray, " events"], now_us: int | None) -> Float[np.ndarray, " events"]:
    """How old a listener's events are.

    Args:
        timestamp_us: in time order, microseconds since 1970.
        now_us: when that is asked; null where there is no clock.

    Returns:
        Days, at least `MIN_AGE_DAYS`; without a clock how many events ago, 1 for the last.
    """
    if now_us is None:
        return np.arange(len(timestamp_us), 0, -1, dtype=np.float64)
    return np.maximum((now_us - timestamp_us) / DAY_US, MIN_AGE_DAYS)
