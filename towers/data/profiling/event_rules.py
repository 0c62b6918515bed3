"""Rules on the newest events and their senders: actions, kinds, repeated sends, skips, new listeners."""

from collections.abc import Iterator, Mapping

import numpy as np

from towers.data.profiling.change import Change
from towers.data.profiling.profile import Day, sum_of
from towers.data.profiling.verdict import Finding, graver

REPEATS = "of what the new events say was chosen, had been chosen before by the same listener"
LONG_PLAYS = "of the new plays went on for half of their content"
WORDS = {"actions": "action", "kinds": "kind of content", "contexts": "context", "devices": "device"}


def values(change: Change) -> Iterator[Finding]:
    """Yields actions, kinds, contexts and devices that are gone, or whose share has changed."""
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


def sent_twice(change: Change) -> Iterator[Finding]:
    """Yields too many events that were sent twice, exactly or a moment apart, and days that were sent once more."""
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
    """Yields days whose events are those of the day before with another date."""
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
    """Yields sudden changes in the shares of skips, of repeats, and of plays that went on."""
    for name, words, hint in (
        ("skips", "of the new events are skipped", ""),
        ("repeats", REPEATS, "were ids of listeners or contents issued anew?"),
        ("long_plays", LONG_PLAYS, "are actions or played times those of other events, or in another unit?"),
    ):
        (part, of), (old, of_old) = _rate(change.fresh, name), _rate(change.typical, name)
        if not of or not of_old:
            continue
        share, usual = part / of, old / of_old
        daily = [part / of for part, of in (_rate(day, name) for day in change.typical_days) if of]
        spread = float(np.std(daily))
        if change.is_chance(share, of, usual) or abs(share - usual) <= change.thresholds.sigmas * spread:
            continue
        if severity := graver(abs(share - usual), change.thresholds.rates):
            fell = f"; {hint}" if hint and share < usual else ""
            yield Finding(
                rule=f"{name[:-1]}_rate",
                severity=severity,
                text=f"{share:.1%} {words}, {usual:.1%} were before{fell}",
                figures={"share": share, "usual": usual, "spread": spread},
            )


def who(change: Change) -> Iterator[Finding]:
    """Yields days on which far more listeners are new, or contents unlisted or without sound, than usual."""
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
    """Adds the new days up."""
    return sum_of(change.new_days)


RULES = (values, sent_twice, same_as_day_before, rates, who)
"""Rules that need typical days and new events."""


def _rate(day: Day, name: str) -> tuple[int, int]:
    if name == "repeats":
        return day.repeats, day.positives
    if name == "long_plays":
        return day.long_plays, day.timed_plays
    skips = day.actions.get("skip", 0)
    return skips, skips + day.actions.get("play", 0)


def _twice(day: Day, name: str) -> float:
    number = getattr(day, name)
    return number / max(day.events + (number if name == "duplicates" else 0), 1)


def _singular(name: str) -> str:
    return name.removesuffix("s")
