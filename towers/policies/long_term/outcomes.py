"""Delayed outcomes: on which of the days after a discovery the listener came back to it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer

from towers.data.firsts import first_places


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedOutcomes:
    """Outcomes of discoveries, as far as they are known: column `k` is day `k + 1` after the discovery.

    Args:
        content: `[pairs]`, row of the content that was discovered, 0 or more.
        observed: `[pairs]`, number of days that are over, 0 to `days`.
        returned: `[pairs, days]`, whether the listener came back on each day; false where a day is not over.
    """

    content: Int[np.ndarray, " pairs"]
    observed: Int[np.ndarray, " pairs"]
    returned: Bool[np.ndarray, "pairs days"]

    def __len__(self) -> int:
        return len(self.content)

    @property
    def days(self) -> int:
        """Number of days after a discovery that are recorded."""
        return self.returned.shape[1]

    def at(self, places: Integer[np.ndarray, " some"]) -> "DelayedOutcomes":
        """Returns the outcomes at some places."""
        return DelayedOutcomes(
            content=self.content[places], observed=self.observed[places], returned=self.returned[places]
        )

    def up_to(self, days: int) -> "DelayedOutcomes":
        """Returns the same discoveries with only the first days of their outcomes."""
        return DelayedOutcomes(
            content=self.content, observed=np.minimum(self.observed, days), returned=self.returned[:, :days]
        )


def outcomes_of_streams(
    *,
    listener: Integer[np.ndarray, " streams"],
    content: Integer[np.ndarray, " streams"],
    group: Integer[np.ndarray, " streams"],
    day: Integer[np.ndarray, " streams"],
    end_day: int,
    days: int,
    burn_in_days: int = 0,
) -> DelayedOutcomes:
    """Returns the outcomes of all discoveries in a log of streams.

    A listener's first stream of a group is a discovery of that stream's content, on day 0. They come back on a later
    day if they stream anything of the group on it.

    >>> found = outcomes_of_streams(
    ...     listener=np.array([0, 0, 0]), content=np.array([5, 6, 5]), group=np.array([1, 1, 1]),
    ...     day=np.array([0, 2, 2]), end_day=4, days=4,
    ... )
    >>> found.content.tolist(), found.observed.tolist(), found.returned.tolist()
    ([5], [3], [[False, True, False, False]])

    Args:
        listener: `[streams]`, number of the listener, 0 or more.
        content: `[streams]`, row of the content, 0 or more.
        group: `[streams]`, what a listener discovers and comes back to, 0 or more: the content itself, or its artist.
        day: `[streams]`, days since any origin; a listener's streams are in time order.
        end_day: day on which the log ends; that day is not over.
        days: number of days after a discovery to record.
        burn_in_days: number of days after a listener's first stream whose discoveries are left out, since the log does
            not say what the listener knew before it begins.
    """
    first = first_places(group=listener, value=group)
    places = np.arange(len(first))
    is_discovery = first == places
    began = day[first_places(group=listener, value=np.zeros(len(listener), np.int64))]
    counts = is_discovery & (day - began >= burn_in_days) & (day < end_day)
    number = np.cumsum(counts) - 1
    after = day - day[first]
    is_return = (after >= 1) & (after <= days) & counts[first] & (day < end_day)
    returned = np.zeros((int(counts.sum()), days), bool)
    returned[number[first[is_return]], after[is_return] - 1] = True
    return DelayedOutcomes(
        content=content[counts].astype(np.int64),
        observed=np.clip(end_day - 1 - day[counts], 0, days).astype(np.int64),
        returned=returned,
    )
