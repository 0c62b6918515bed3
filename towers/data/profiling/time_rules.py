"""Rules on the times of the newest events: their number by day, their hours, and impossible times."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
from jaxtyping import Int

from towers.contract.durations import DAY_US
from towers.data.profiling.change import Change
from towers.data.profiling.profile import Day, Profile
from towers.data.profiling.verdict import Finding, graver

MOST_DAYS_OFF = 7
"""Days that the past may have moved by to be told."""
LEAST_MOVED = 0.01
"""Share of past events that are on other days, from which on the past has moved."""
LEAST_SHARE_AFTER = 0.03
"""A day has ended early if a typical day has at least this share of its events after the last event of that day."""
MORE_THAN_NOISE = 1.5
"""Times the events that a typical day has in other hours than all typical days together."""


def number_of_events(change: Change) -> Iterator[Finding]:
    """Yields days without an event, days with far fewer or more events than usual, and days that end early."""
    limits, usual = change.thresholds, np.array(change.typical.hours, dtype=float)
    for place, day in enumerate(change.new_days):
        expected, is_last = change.expected(day), place == len(change.new_days) - 1
        if not day.events:
            if expected >= limits.min_expected:
                yield Finding(
                    rule="day_empty",
                    severity="broken",
                    text=f"{day.date} has no event, of about {expected:,.0f} that were to be expected",
                    figures={"day": day.date, "events": 0, "expected": expected},
                )
            continue
        after = _share_after(day, usual) if is_last else 0.0
        is_over = change.now_us >= _end_us(day)
        if after > LEAST_SHARE_AFTER and after * expected >= limits.min_expected:
            if is_over:
                yield Finding(
                    rule="day_ends_early",
                    severity="warning",
                    text=f"{day.date} ends after hour {_last_hour(day)}:00 UTC, which {after:.0%} of a typical day's "
                    "events follow; was its last file there when it was read?",
                    figures={"day": day.date, "last_hour": _last_hour(day), "share_after": after},
                )
            expected *= 1 - after
        yield from _level(change, day, expected)


def more_of_the_last_day(change: Change) -> Iterator[Finding]:
    """Yields the last day of before if what has come since makes its events far too many."""
    before, after = (
        next((day for day in each.days if day.date == change.before.last_day), None)
        for each in (change.before, change.after)
    )
    if before is None or after is None or after.events == before.events:
        return
    expected = max(change.expected(after), 1)
    severity, was = (graver(day.events / expected - 1, change.thresholds.too_many) for day in (after, before))
    if severity and severity != was:
        yield from _level(change, after, expected)


def past_moved(change: Change) -> Iterator[Finding]:
    """Yields that all days have the events of the day some days before or after."""
    if not change.is_same_way:
        return
    old, new = _by_day(change.before), _by_day(change.after)
    off = {days: _moved(old, new, days) for days in range(-MOST_DAYS_OFF, MOST_DAYS_OFF + 1)}
    days = min(off, key=lambda days: (off[days], abs(days)))
    if days and off[0] > LEAST_MOVED and off[days] < off[0] / 4:
        yield Finding(
            rule="clocks_shifted",
            severity="broken",
            text=f"all events of before are {abs(days)} d {'later' if days > 0 else 'earlier'} than they were at the "
            "last prepare; has a clock or a time zone changed?",
            figures={"days": days, "off": off[0], "off_when_shifted": off[days]},
        )


def _level(change: Change, day: Day, expected: float) -> Iterator[Finding]:
    limits = change.thresholds
    if expected < limits.min_expected:
        return
    ratio = day.events / expected
    if abs(ratio - 1) <= limits.sigmas * max(change.spread, expected**-0.5):
        return
    figures = {"day": day.date, "events": day.events, "expected": expected}
    if severity := graver(1 - ratio, limits.missing):
        text = f"{day.date} has {day.events:,} events, {1 - ratio:.0%} fewer than the {expected:,.0f} of such a day"
        yield Finding(rule="events_missing", severity=severity, text=text, figures=figures)
    if severity := graver(ratio - 1, limits.too_many):
        text = f"{day.date} has {day.events:,} events, {ratio - 1:.0%} more than the {expected:,.0f} of such a day"
        yield Finding(rule="events_too_many", severity=severity, text=text, figures=figures)


def clocks(change: Change) -> Iterator[Finding]:
    """Yields a shift of the hours of the day as another time zone makes it, or any other change of the hours."""
    limits, new = change.thresholds, np.array(change.fresh.hours, dtype=float)
    usual = np.array(change.typical.hours, dtype=float)
    if not usual.sum() or new.sum() < 24 * change.thresholds.min_expected:
        return
    if change.new_days and _share_after(change.new_days[-1], usual) > LEAST_SHARE_AFTER and _is_short(new, usual):
        return  # a day that ends early would look like another time zone
    off = {shift: _off(new, np.roll(usual, shift)) for shift in range(-12, 12)}
    noise = float(np.median([_off(np.array(day.hours, dtype=float), usual) for day in change.typical_days]))
    least = max(limits.hours, MORE_THAN_NOISE * noise)
    if off[0] <= least:
        return
    shift = min(off, key=lambda hours: (off[hours], abs(hours)))
    figures = {"hours": shift, "off": off[0], "off_when_shifted": off[shift]}
    if shift and off[0] - off[shift] > least / 2:
        yield Finding(
            rule="clocks_shifted",
            severity="broken",
            text=f"the new events come {abs(shift)} h {'later' if shift > 0 else 'earlier'} in the day than before: "
            f"{off[0]:.0%} are in other hours, {off[shift]:.0%} once they are shifted back; has a time zone changed?",
            figures=figures,
        )
    elif off[0] > 2 * least:
        yield Finding(
            rule="hours_changed",
            severity="warning",
            text=f"{off[0]:.0%} of the new events are in other hours of the day than before, and no shift explains it",
            figures=figures,
        )


def stray_times(change: Change) -> Iterator[Finding]:
    """Yields times far from all other days of the data, and times in the future."""
    before, after, limits = change.before.counts, change.after.counts, change.thresholds
    new = max(after["events"] - before["events"], 1)
    for name, words in (("events_later", "after the last day"), ("events_earlier", "before the first day")):
        more = max(after[name] - before[name], 0) if change.is_same_way else 0
        if more and (severity := graver(more / new, limits.stray)):
            yield Finding(
                rule="future_times" if name == "events_later" else "past_times",
                severity=severity,
                text=f"{more:,} of the new events, {more / new:.2%}, are {words} that has its usual events; the data "
                f"goes from {change.after.span[0]} to {change.after.span[1]}",
                figures={
                    "events": more,
                    "share": more / new,
                    "first": change.after.span[0],
                    "last": change.after.span[1],
                },
            )
    yield from not_yet(change)


def not_yet(change: Change) -> Iterator[Finding]:
    """Yields events on days that have not begun."""
    today = datetime.fromtimestamp(change.now_us / 1e6, UTC).date().isoformat()
    events = sum(day.events for day in change.after.days if day.date > today)
    if events:
        total = change.after.counts["events"]
        share = events / ((total - change.before.counts["events"]) or total)
        yield Finding(
            rule="future_times",
            severity=graver(share, change.thresholds.stray) or "warning",
            text=f"{events:,} events are on days that have not begun, up to {change.after.last_day}",
            figures={"events": events, "last": change.after.last_day},
        )


def late_events(change: Change) -> Iterator[Finding]:
    """Yields too many new events on days that were complete."""
    late, new = change.late.events, change.fresh.events
    if late >= change.thresholds.min_expected and (severity := graver(late / new, change.thresholds.late)):
        yield Finding(
            rule="late_events",
            severity="warning" if change.new_days else severity,
            text=f"{late:,} of {new:,} new events, {late / new:.0%}, are on days before {change.before.last_day}, "
            "which were complete",
            figures={"late": late, "events": new},
        )


RULES = (number_of_events, more_of_the_last_day, past_moved, clocks, late_events)
"""Rules that need typical days and new events."""


def _by_day(profile: Profile) -> Int[np.ndarray, " days"]:
    """Returns the number of events of each day since 1970 up to the last but one, which may have grown since."""
    first = date.fromisoformat(profile.first_day).toordinal() - date(1970, 1, 1).toordinal()
    return np.concatenate([np.zeros(first, np.int64), profile.daily["events"][:-1]])


def _moved(old: np.ndarray, new: np.ndarray, days: int) -> float:
    """Returns the share of old events that are on other days, once all new ones are moved back by some days."""
    moved = np.concatenate([np.zeros(max(-days, 0), np.int64), new[max(days, 0) :]])[: len(old)]
    moved = np.pad(moved, (0, len(old) - len(moved)))
    return float(np.abs(moved - old).sum() / max(old.sum(), 1))


def _last_hour(day: Day) -> int:
    return max(hour for hour, events in enumerate(day.hours) if events)


def _share_after(day: Day, usual: np.ndarray) -> float:
    """Returns the share of a typical day's events that come after the last hour of this day."""
    if not day.events or not usual.sum():
        return 0.0
    return float(usual[_last_hour(day) + 1 :].sum() / usual.sum())


def _off(new: np.ndarray, usual: np.ndarray) -> float:
    """Returns the share of events that would have to move to other hours to match."""
    return float(np.abs(new / new.sum() - usual / usual.sum()).sum() / 2)


def _is_short(new: np.ndarray, usual: np.ndarray) -> bool:
    """Says whether the hours that have events have them in the usual shares, so that the others simply lack."""
    some = new > 0
    return bool(usual[some].sum()) and _off(new[some], usual[some]) < 0.1


def _end_us(day: Day) -> int:
    return int(datetime.fromisoformat(day.date).replace(tzinfo=UTC).timestamp()) * 1_000_000 + DAY_US
