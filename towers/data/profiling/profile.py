"""What a prepared store holds, in figures, as JSON: the whole of it, and its last weeks day by day."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any, get_type_hints

from beartype import BeartypeConf
from beartype.door import is_bearable

from towers.errors import UserError

FORMAT = 1
UNKNOWN = "unknown"
"""The value of an event whose context, device or kind is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The events of one day, UTC; or of several together.

    Args:
        date: ISO; empty where it stands for several days.
        events: their number.
        hours: by hour of the day, 24 of them.
        actions: by action; what does not occur is left out, here and below.
        kinds: by kind of the content; events without a content are left out.
        contexts: by context.
        devices: by device.
        listeners: who did something.
        new_listeners: who never did anything before.
        new_contents: that nobody ever did anything with before.
        sessions: that began.
        positives: positive events.
        repeats: positive events of a listener with a content that they chose before.
        at_once: events that say again, within a second, what one just before says: listener, content and action.
        duplicates: raw rows that were left out since another says the same; of other days where the rows have no day.
        unlisted: events with a content that is known by its id alone.
        silent: events with a playable content without a usable sound.
        as_day_before: share of its events that another one equals, of the same listener, content, action and second,
            exactly a day before.
    """

    date: str
    events: int = 0
    hours: tuple[int, ...] = (0,) * 24
    actions: Mapping[str, int]
    kinds: Mapping[str, int]
    contexts: Mapping[str, int]
    devices: Mapping[str, int]
    listeners: int = 0
    new_listeners: int = 0
    new_contents: int = 0
    sessions: int = 0
    positives: int = 0
    repeats: int = 0
    at_once: int = 0
    duplicates: int = 0
    unlisted: int = 0
    silent: int = 0
    as_day_before: float = 0.0

    @property
    def weekday(self) -> int:
        """0 is Monday."""
        return date.fromisoformat(self.date).weekday()


NUMBERS = tuple(each.name for each in fields(Day) if each.type in (int, "int"))
BY_VALUE = ("actions", "kinds", "contexts", "devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A store in figures.

    Args:
        store: fingerprint of the version.
        settings: digest of what the caller decides of a store, so that it is known whether raw data alone has changed.
        has_clock: whether its timestamps are times; without one there are no days.
        counts: events, positives, users, users_with_events, contents, and of these listed, withdrawn, by_id_alone and
            with_events; events_earlier and events_later than the days of `daily`.
        span: first and last event as ISO times in UTC; empty without a clock.
        actions: events by action.
        kinds: events by kind of their content.
        contexts: events by context.
        devices: events by device.
        contents_by_kind: contents by kind, holes aside.
        hours: events by hour of the day.
        first_day: of `daily`, ISO; empty without a clock.
        daily: events, new_users and new_contents by day.
        days: the last weeks in detail.
        sessions: number, unknown_share of the events, and quantiles of the events of one.
        rates: skips among plays and skips, repeats among positive events, at_once and duplicates among events; null
            where there is none to divide by.
        lacking: by part of the metadata (and `sound`) the share of listed playable contents that lack it, and of
            events with such or unlisted ones.
        rejected: rows by table and reason, the most frequent first.
        rejected_share: by table, of its rows those that were left out for a fault.
        top: contents with the most events: content_id, title, kind, events.
        activity: events of a listener by quantile.
        signatures: of the sets of ids, see `signatures.signature`: contents, users, titles.
    """

    store: str
    settings: str
    has_clock: bool
    counts: Mapping[str, int]
    span: tuple[str, ...]
    actions: Mapping[str, int]
    kinds: Mapping[str, int]
    contexts: Mapping[str, int]
    devices: Mapping[str, int]
    contents_by_kind: Mapping[str, int]
    hours: tuple[int, ...]
    first_day: str
    daily: Mapping[str, tuple[int, ...]]
    days: tuple[Day, ...]
    sessions: Mapping[str, Any]
    rates: Mapping[str, float | None]
    lacking: Mapping[str, Mapping[str, float]]
    rejected: Mapping[str, Mapping[str, int]]
    rejected_share: Mapping[str, float]
    top: tuple[Mapping[str, Any], ...]
    activity: Mapping[str, float]
    signatures: Mapping[str, str]

    @property
    def last_day(self) -> str:
        """The last day with about as many events as others, ISO; empty without a clock or an event."""
        return self.days[-1].date if self.days else ""

    def to_json(self) -> dict[str, Any]:
        """JSON values, from which `from_json` makes an equal profile."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], where: str) -> "Profile":
        """Reads what `to_json` gave; what later formats add is left out.

        Args:
            found: it.
            where: it was found, for messages.

        Raises:
            UserError: it is no profile.
        """
        try:
            values: dict[str, Any] = {each.name: found[each.name] for each in fields(cls)}
            values["days"] = tuple(
                Day(**_checked(Day, {**day, "hours": tuple(day["hours"])})) for day in values["days"]
            )
            values |= {name: tuple(values[name]) for name in ("span", "hours", "top")}
            values["daily"] = {name: tuple(numbers) for name, numbers in values["daily"].items()}
            return cls(**_checked(cls, values))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"{where}: not a profile of a store ({why}); give a store's folder, and it is made anew"
            ) from error


def sum_of(days: list[Day], date: str = "") -> Day:
    """All events of several days as those of one; `as_day_before` is the mean, listeners of two days count twice."""
    numbers = {name: sum(getattr(day, name) for day in days) for name in NUMBERS}
    by_value = {name: _added([getattr(day, name) for day in days]) for name in BY_VALUE}
    hours = tuple(map(sum, zip(*(day.hours for day in days), strict=True))) if days else (0,) * 24
    same = sum(day.as_day_before * day.events for day in days) / max(numbers["events"], 1)
    found: dict[str, Any] = {**numbers, **by_value}
    return Day(date=date, hours=hours, as_day_before=same, **found)


def difference(after: Day, before: Day | None) -> Day:
    """What a day has more than it had before; nothing is below 0."""
    if before is None:
        return after
    numbers = {name: max(getattr(after, name) - getattr(before, name), 0) for name in NUMBERS}
    by_value = {}
    for name in BY_VALUE:
        old = getattr(before, name)
        by_value[name] = {key: max(n - old.get(key, 0), 0) for key, n in getattr(after, name).items()}
    hours = tuple(max(new - old, 0) for new, old in zip(after.hours, before.hours, strict=True))
    found: dict[str, Any] = {**numbers, **by_value}
    return Day(date=after.date, hours=hours, as_day_before=after.as_day_before, **found)


def _checked(kind: type, found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass, which must be of their types."""
    values = {name: found[name] for name in (each.name for each in fields(kind))}
    for name, hint in get_type_hints(kind).items():
        if not is_bearable(values[name], hint, conf=BeartypeConf(is_pep484_tower=True)):
            raise TypeError(f"{name} is {values[name]!r}")
    return values


def _added(counts: list[Mapping[str, int]]) -> dict[str, int]:
    added: dict[str, int] = {}
    for each in counts:
        for key, number in each.items():
            added[key] = added.get(key, 0) + number
    return added
