"""Limits above which a difference between two profiles is reported as a warning or as broken data."""

from dataclasses import dataclass, fields

from towers.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits of differences; a pair has the limit of a warning and the limit of broken data.

    A share is compared with the share on typical days before; a difference that chance alone may explain (`sigmas`
    standard deviations) is never reported.

    Args:
        min_days: least number of earlier days with events; with fewer, single days are not judged.
        min_expected: least expected number of events of a value whose absence is reported.
        sigmas: number of standard deviations that chance may explain.
        missing: share of a typical day's events that is missing.
        too_many: excess of a day's events, as a share of a typical day's events.
        gone: remaining share of the usual events of an action, kind, context or device, below which it is called gone.
        moved: difference in the share of an action, a kind, a context or a device.
        hours: share of events that have moved to other hours of the day.
        stray: share of the new events on days beyond the data, such as in the future.
        late: share of the new events that belong to earlier days.
        twice: difference in the share of events that are sent twice.
        day_once_more: share of a day's events that are those of the day before.
        rejected: difference in the share of a table's rows that are left out for a fault.
        rates: difference in the share of skips, or of repeats.
        lacking: difference in the share of contents that lack a part of their metadata or a sound, or of events with
            contents that are not listed.
        shrunk: share of contents, users or past events that have disappeared.
        reissued: share of the ids, or of their titles, that have been replaced.
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
