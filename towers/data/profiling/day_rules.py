"""Rules on the events of the newest days: their number, their times, who sent them, what they say."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import numpy as np

from towers.data.profiling.change import Change
from towers.data.profiling.profile import Day, sum_of
from towers.data.profiling.verdict import Finding, graver

_DAY_US = 86_400_000_000
WORDS = {"actions": "action", "kinds": "kind of content", "contexts": "context", "devices": "device"}
LEAST_SHARE_AFTER = 0.03
"""Of a typical day, that comes after the last event of a day, from which on that day ends early."""
MORE_THAN_NOISE = 1.5
"""Times the events that a typical day has in other hours than all typical days together."""


def number_of_events(change: Change) -> Iterator[Finding]:
    """Yields days without an event, with far fewer or far more than usual, or that end early."""
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


def values(change: Change) -> Iterator[Finding]:
    """Yields actions, kinds, contexts and devices that are gone, or whose share is another."""
    fresh, typical, limits = change.fresh, change.typical, change.thresholds
    for name, word in WORDS.items():
        new, old = getattr(fresh, name), getattr(typical, name)
        of_new, of_old = sum(new.values()), sum(old.values())
        if not of_new or not of_old:
            continue
        for value in sorted({*old, *new}, key=str):
            usual, share = old.get(value, 0) / of_old, new.get(value, 0) / of_new
            expected = usual * of_new
            figures = {
                "value": value,
                "events": new.get(value, 0),
                "expected": expected,
                "share": share,
                "usual": usual,
            }
            if expected >= limits.min_expected and new.get(value, 0) <= limits.gone * expected:
                yield Finding(
                    rule=f"{_singular(name)}_gone",
                    severity="broken",
                    text=f"the {word} {value!r} is gone: {new.get(value, 0):,} of the new events have it, of "
                    f"{expected:,.0f} that were to be expected",
                    figures=figures,
                )
            elif abs(share - usual) > limits.moved and not change.is_chance(share, of_new, usual):
                yield Finding(
                    rule=f"{_singular(name)}_share",
                    severity="warning",
                    text=f"{share:.1%} of the new events have the {word} {value!r}, {usual:.1%} had it before",
                    figures=figures,
                )


def clocks(change: Change) -> Iterator[Finding]:
    """Yields a shift of the hours of the day, if another time zone explains it, or another day's course."""
    limits, new = change.thresholds, np.array(change.fresh.hours, dtype=float)
    usual = np.array(change.typical.hours, dtype=float)
    if not usual.sum() or new.sum() < 24 * change.thresholds.min_expected:
        return
    if change.new_days and _share_after(change.new_days[-1], usual) > LEAST_SHARE_AFTER and _is_short(new, usual):
        return  # a day that ends early is no other zone
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
    """Yields times beyond the days of the data, and times that are not yet."""
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
    """Yields days that have not begun."""
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
    """Yields many events on days that were complete."""
    late, new = change.late.events, change.fresh.events
    if late >= change.thresholds.min_expected and (severity := graver(late / new, change.thresholds.late)):
        yield Finding(
            rule="late_events",
            severity="warning" if change.new_days else severity,
            text=f"{late:,} of {new:,} new events, {late / new:.0%}, are on days before {change.before.last_day}, "
            "which were complete",
            figures={"late": late, "events": new},
        )


def sent_twice(change: Change) -> Iterator[Finding]:
    """Yields a share of events that are sent twice, to the letter or a moment apart, and days that came once more."""
    limits, new = change.thresholds, sum_of_new(change)
    late = change.fresh.duplicates - new.duplicates
    typical = float(np.median([day.events for day in change.typical_days]))
    if late >= limits.min_expected and (severity := graver(late / typical, limits.day_once_more)):
        yield Finding(
            rule="day_once_more",
            severity=severity,
            text=f"{late:,} rows came again that were there at the last prepare, {late / typical:.0%} of a typical "
            "day; they were left out. Was a day delivered twice?",
            figures={"rows": late, "events_of_a_day": typical},
        )
    for name, words in (("duplicates", "to the letter"), ("at_once", "within a second")):
        share, usual = (_twice(day, name) for day in (new, change.typical))
        number = getattr(new, name)
        if number < limits.min_expected or change.is_chance(share, new.events, usual):
            continue
        if severity := graver(share - usual, limits.twice):
            yield Finding(
                rule="sent_twice",
                severity=severity,
                text=f"{share:.1%} of the new events say {words} what another one says, {usual:.2%} did before; does a "
                "client send everything twice?",
                figures={"how": words, "events": number, "share": share, "usual": usual},
            )


def same_as_day_before(change: Change) -> Iterator[Finding]:
    """Yields days whose events are those of the day before, with other dates."""
    for day in change.new_days:
        if day.events * day.as_day_before < change.thresholds.min_expected:
            continue
        if severity := graver(day.as_day_before - change.typical.as_day_before, change.thresholds.day_once_more):
            yield Finding(
                rule="day_once_more",
                severity=severity,
                text=f"{day.as_day_before:.0%} of the events of {day.date} are those of the day before, to the second",
                figures={"day": day.date, "share": day.as_day_before, "usual": change.typical.as_day_before},
            )


def rates(change: Change) -> Iterator[Finding]:
    """Yields shares of skips and repeats that have jumped."""
    for name, words in (("skips", "skipped"), ("repeats", "of what was chosen, chosen before by the same listener")):
        (part, of), (old, of_old) = _rate(change.fresh, name), _rate(change.typical, name)
        if not of or not of_old:
            continue
        share, usual = part / of, old / of_old
        daily = [part / of for part, of in (_rate(day, name) for day in change.typical_days) if of]
        spread = float(np.std(daily))
        if change.is_chance(share, of, usual) or abs(share - usual) <= change.thresholds.sigmas * spread:
            continue
        if severity := graver(abs(share - usual), change.thresholds.rates):
            fell = "; were ids of listeners or contents issued anew?" if name == "repeats" and share < usual else ""
            yield Finding(
                rule=f"{name[:-1]}_rate",
                severity=severity,
                text=f"{share:.1%} of the new events are {words}, {usual:.1%} were before{fell}",
                figures={"share": share, "usual": usual, "spread": spread},
            )


def who(change: Change) -> Iterator[Finding]:
    """Yields days on which far more listeners are new, or contents unknown or without sound, than usual."""
    limits, new, old = change.thresholds, sum_of_new(change), change.typical
    pairs: Mapping[str, tuple[str, str, tuple[float, float], str]] = {
        "new_listeners": ("new_listeners", "listeners", limits.new_listeners, "of the new days' listeners are new"),
        "unlisted_events": (
            "unlisted",
            "events",
            limits.lacking,
            "of the new events have a content that is not listed",
        ),
        "silent_events": ("silent", "events", limits.lacking, "of the new events have a content without a sound"),
    }
    for rule, (part, of, pair, words) in pairs.items():
        number, total = getattr(new, part), getattr(new, of)
        share, usual = number / max(total, 1), getattr(old, part) / max(getattr(old, of), 1)
        if number < limits.min_expected or change.is_chance(share, total, usual):
            continue
        if severity := graver(share - usual, pair):
            hint = {
                "new_listeners": "were their ids issued anew?",
                "unlisted_events": "were ids of contents issued anew?",
            }
            yield Finding(
                rule=rule,
                severity=severity,
                text="; ".join(filter(None, (f"{share:.1%} {words}, {usual:.1%} were before", hint.get(rule)))),
                figures={"share": share, "usual": usual, "number": number},
            )


def sum_of_new(change: Change) -> Day:
    """The new days together."""
    return sum_of(change.new_days)


RULES = (number_of_events, values, clocks, late_events, sent_twice, same_as_day_before, rates, who)
"""Those that need typical days and new events."""


def _rate(day: Day, name: str) -> tuple[int, int]:
    if name == "repeats":
        return day.repeats, day.positives
    skips = day.actions.get("skip", 0)
    return skips, skips + day.actions.get("play", 0)


def _twice(day: Day, name: str) -> float:
    number = getattr(day, name)
    return number / max(day.events + (number if name == "duplicates" else 0), 1)


def _last_hour(day: Day) -> int:
    return max(hour for hour, events in enumerate(day.hours) if events)


def _share_after(day: Day, usual: np.ndarray) -> float:
    """The share of a typical day that comes after the last hour of this one."""
    if not day.events or not usual.sum():
        return 0.0
    return float(usual[_last_hour(day) + 1 :].sum() / usual.sum())


def _off(new: np.ndarray, usual: np.ndarray) -> float:
    """The share of events that are in other hours."""
    return float(np.abs(new / new.sum() - usual / usual.sum()).sum() / 2)


def _is_short(new: np.ndarray, usual: np.ndarray) -> bool:
    """Whether the hours that have events have them in the usual shares, so that the others are simply missing."""
    some = new > 0
    return bool(usual[some].sum()) and _off(new[some], usual[some]) < 0.1


def _end_us(day: Day) -> int:
    return int(datetime.fromisoformat(day.date).replace(tzinfo=UTC).timestamp()) * 1_000_000 + _DAY_US


def _singular(name: str) -> str:
    return name.removesuffix("s")
