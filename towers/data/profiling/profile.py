"""The profile of a prepared store: figures about all of it, and about its last weeks day by day, as JSON."""

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
    """Figures about the events of one day (UTC), or of several days together.

    Args:
        date: ISO date; empty for several days together.
        events: number of events.
        hours: events by hour of the day, 24 numbers.
        actions: events by action; values that do not occur are left out, here and below.
        kinds: events by kind of their content; events without a content are left out.
        contexts: events by context.
        devices: events by device.
        listeners: number of listeners with an event.
        new_listeners: number of listeners whose first event this day has.
        new_contents: number of contents whose first event this day has.
        sessions: number of sessions that began.
        positives: number of positive events.
        repeats: positive events of a listener with a content for which they had one before.
        at_once: events with the listener, content and action of one at most a second before.
        duplicates: raw rows that were left out as duplicates of another.
        unlisted: events with a content that is known by its id alone.
        silent: events with a playable content without a usable sound.
        timed_plays: plays with a known played fraction.
        long_plays: timed plays that lasted at least half of their content.
        as_day_before: share of its events for which one of the same listener, content and action was exactly a day
            before, to the second.
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
    timed_plays: int = 0
    long_plays: int = 0
    as_day_before: float = 0.0

    @property
    def weekday(self) -> int:
        """Day of the week; 0 is Monday."""
        return date.fromisoformat(self.date).weekday()


NUMBERS = tuple(each.name for each in fields(Day) if each.type in (int, "int"))
BY_VALUE = ("actions", "kinds", "contexts", "devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Figures about a store.

    Args:
        store: fingerprint of the version.
        settings: digest of the settings that decide a store; where two are equal, only raw data has changed.
        has_clock: whether its timestamps are times; otherwise there are no days.
        counts: events, positives, users, users_with_events, contents, and of these listed, withdrawn, by_id_alone and
            with_events; events_earlier and events_later than the days of `daily`.
        span: first and last event as ISO times in UTC; empty without a clock.
        actions: events by action.
        kinds: events by kind of their content.
        contexts: events by context.
        devices: events by device.
        contents_by_kind: contents by kind, holes aside.
        hours: events by hour of the day.
        first_day: first day of `daily` as an ISO date; empty without a clock.
        daily: numbers of events, new_users and new_contents for each day.
        days: the last weeks in detail.
        sessions: number of sessions, unknown_share (events without a known session), and quantiles of the events of one
            session.
        rates: shares of skips among plays and skips, of repeats among positive events, and of at_once and duplicates
            among events; null where there is nothing to divide by.
        lacking: for each part of the metadata and `sound`, the share of listed playable contents that lack it, and the
            share of events with playable contents that lack it, unlisted ones included.
        rejected: rejected rows by table and reason, the most frequent reason first.
        rejected_share: share of each table's rows that were left out for a fault.
        top: contents with the most events: content_id, title, kind, events.
        activity: quantiles of the number of events of a listener.
        signatures: signatures (`signatures.signature`) of the sets of content ids, user ids and titles.
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
        """Returns JSON values, from which `from_json` makes an equal profile."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any], where: str) -> "Profile":
        """Reads what `to_json` returned; fields that later formats add are left out.

        Args:
            found: the JSON values.
            where: the file that they come from, for messages.

        Raises:
            UserError: the values are no profile.
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
    """Adds several days up; a listener counts once for each day, and `as_day_before` is the mean."""
    numbers = {name: sum(getattr(day, name) for day in days) for name in NUMBERS}
    by_value = {name: _added([getattr(day, name) for day in days]) for name in BY_VALUE}
    hours = tuple(map(sum, zip(*(day.hours for day in days), strict=True))) if days else (0,) * 24
    same = sum(day.as_day_before * day.events for day in days) / max(numbers["events"], 1)
    found: dict[str, Any] = {**numbers, **by_value}
    return Day(date=date, hours=hours, as_day_before=same, **found)


def difference(after: Day, before: Day | None) -> Day:
    """Returns by how much each figure of a day has grown; a figure that fell gives 0."""
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
    """Returns the fields of a dataclass from JSON values, whose types it checks."""
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
