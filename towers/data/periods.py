"""Sizes of training, validation and test, in numbers and in lines, so that a cut that does not fit is seen at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from towers.contract.durations import DAY_US
from towers.data.splits.split import Cuts

NAMES = ("training", "validation", "test")
FEW_POSITIVES = 5_000
"""Positive events of training below which a network learns little that a count does not know."""
SMALL_SHARE = 0.01
"""Share of all positive events; where validation and test together have less, their figures say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Training, validation or test.

    Args:
        name: training, validation or test.
        days: length in days; null if each listener is cut at times of their own.
        positives: number of positive events in it.
        listeners: number of listeners with a positive event in it.
    """

    name: str
    days: float | None
    positives: int
    listeners: int


def periods_of(counted: Mapping[str, tuple[int, int]], cuts: Cuts, first_us: int, last_us: int) -> list[Period]:
    """Returns the three periods, in order.

    Args:
        counted: number of positive events and of listeners, by period; a period may be absent.
        cuts: the instants between them.
        first_us: time of the first positive event, in microseconds.
        last_us: time of the last positive event, in microseconds; events that `cuts` leaves out are not counted.
    """
    if cuts.validation_start_us is None or cuts.test_start_us is None:
        days: list[float | None] = [None, None, None]
    else:
        starts = (first_us, cuts.validation_start_us, cuts.test_start_us)
        ends = (*(start - cuts.gap_us for start in starts[1:]), cuts.end_us or last_us + 1)
        days = [max(end - start, 0) / DAY_US for start, end in zip(starts, ends, strict=True)]
    return [
        Period(name=name, days=length, positives=counted.get(name, (0, 0))[0], listeners=counted.get(name, (0, 0))[1])
        for name, length in zip(NAMES, days, strict=True)
    ]


def to_json(periods: Sequence[Period]) -> list[dict[str, Any]]:
    """Turns periods into JSON values for a store's manifest."""
    return [asdict(period) for period in periods]


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Period]:
    """Reads the periods that `to_json` wrote."""
    return [Period(**period) for period in found]


def lines(periods: Sequence[Period]) -> list[str]:
    """Returns a line for each period and each cut that looks like a mistake; none if nothing was counted."""
    if not periods:
        return []
    told = [
        f"{period.name:<13} {_days(period.days)}{period.positives:>13,} positives of {period.listeners:,} listeners"
        for period in periods
    ]
    return told + warnings(periods)


def warnings(periods: Sequence[Period]) -> list[str]:
    """Returns lines about cuts that look like mistakes, with the keys to change; empty if the cuts fit the data."""
    training, judged = periods[0], periods[1:]
    days = [period.days for period in periods if period.days is not None]
    every = sum(period.positives for period in periods)
    told = []
    if training.days is not None and training.days < sum(days) / 2:
        told.append(
            f"training has {training.days:.3g} of {sum(days):.3g} days, under half of them; shorter "
            "data.split.validation_days and data.split.test_days give it more (null: they follow from the data)"
        )
    later = ", a later data.split.validation_start" if days else ""
    if training.positives < FEW_POSITIVES:
        told.append(
            f"training has {training.positives:,} positives, under {FEW_POSITIVES:,}: little to learn from; more days "
            f"of data{later} or a lower features.min_played_fraction give it more"
        )
    has_test = periods[-1].days != 0
    empty = [period.name for period in (judged if has_test else judged[:1]) if not period.positives]
    where = "data.split.validation_start and data.split.test_start say where to cut"
    if not days:
        where = "of listeners with fewer than three positives all are in training"
    if empty:
        told.append(f"{' and '.join(empty)}: no listener has a positive in it; {where}")
    elif days and sum(period.positives for period in judged) < SMALL_SHARE * every:
        told.append(
            f"validation and test have under {SMALL_SHARE:.0%} of the positives: are some events' times far after the "
            f"others'? {where}"
        )
    return told


def _days(days: float | None) -> str:
    return "" if days is None else f"{days:>8.1f} days"
