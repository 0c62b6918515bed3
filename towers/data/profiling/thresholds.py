"""From where on a difference between two profiles is told, and from where on it is called broken."""

from dataclasses import dataclass, fields

from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits of what is usual; a pair has that of a warning and that of broken data.

    A share of something is held against its share in the typical days before; what chance alone may bring (`sigmas`
    standard deviations) is never told.

    Args:
        min_days: days with events that must have been before, or days are not judged.
        min_expected: events that must be expected of something before its absence is told.
        sigmas: standard deviations.
        missing: share of a typical day's events that is missing.
        too_many: share of a typical day's events that a day has more.
        gone: share of an action, a kind, a context or a device that is left, below which it is called gone.
        moved: difference in the share of an action, a kind, a context or a device.
        hours: share of events in other hours than they used to be, from which on clocks are looked at.
        stray: share of the new events beyond the days of the data, such as in the future.
        late: share of the new events on days that were complete.
        twice: difference in the share of events that are sent twice.
        day_once_more: share of a day's events that are those of the day before.
        rejected: difference in the share of a table's rows that are left out for a fault.
        rates: difference in the share of skips, or of repeats.
        lacking: difference in the share of contents that lack a part of their metadata or a sound, or of events with
            contents that are not listed.
        shrunk: share of contents, users or past events that is there no more.
        reissued: share of the ids, or of the titles that belong to them, that is there no more.
        new_listeners: difference in the share of a day's listeners who are new.

    Raises:
        UserError: a number out of range, or a pair that is not ascending.
    """

    min_days: int = 7
    min_expected: float = 15.0
    sigmas: float = 4.0
    missing: tuple[float, float] = (0.25, 0.4)
    too_many: tuple[float, float] = (0.4, 0.8)
    gone: float = 0.1
    moved: float = 0.15
    hours: float = 0.12
    stray: tuple[float, float] = (0.0, 0.005)
    late: tuple[float, float] = (0.2, 0.5)
    twice: tuple[float, float] = (0.03, 0.2)
    day_once_more: tuple[float, float] = (0.1, 0.4)
    rejected: tuple[float, float] = (0.01, 0.1)
    rates: tuple[float, float] = (0.1, 0.2)
    lacking: tuple[float, float] = (0.1, 0.3)
    shrunk: tuple[float, float] = (0.1, 0.3)
    reissued: tuple[float, float] = (0.25, 0.5)
    new_listeners: tuple[float, float] = (0.15, 0.4)

    def __post_init__(self) -> None:
        for each in fields(self):
            limits = getattr(self, each.name)
            if isinstance(limits, tuple) and not 0 <= limits[0] <= limits[1]:
                raise UserError(
                    f"profiling.{each.name}={list(limits)}: must be two numbers from 0 on, the greater last"
                )
            if not isinstance(limits, tuple) and limits < 0:
                raise UserError(f"profiling.{each.name}={limits}: must be 0 or more")
