"""Makes days and profiles with known figures, and stores of given events."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from towers.data.profiling.profile import Day, Profile, sum_of

START = date(2026, 1, 5)
USUAL_HOURS = (1, 0, 0, 0, 1, 4, 10, 16, 17, 13, 9, 11, 16, 16, 11, 5, 2, 5, 10, 16, 17, 11, 5, 2)
ACTIONS = {"play": 0.6, "skip": 0.33, "like": 0.05, "dislike": 0.02}
KINDS = {"track": 0.9, "episode": 0.1}
CONTEXTS = {"home": 0.7, "radio": 0.3}
DEVICES = {"phone": 0.5, "car": 0.5}


def a_day(at: int, events: int = 4_000, seed: int | None = None, **changes: object) -> Day:
    """Makes the day at a place of the data: random if there is a seed, else with exactly the usual shares."""
    drawn = np.random.default_rng(seed)
    if seed is not None:
        events = int(drawn.normal(events, 0.05 * events))

    def counts(shares: dict[str, float]) -> dict[str, int]:
        share = np.array(list(shares.values())) / sum(shares.values())
        found = share * events if seed is None else drawn.multinomial(events, share)
        return {name: round(number) for name, number in zip(shares, found, strict=True)}

    hours = counts({str(hour): share for hour, share in enumerate(USUAL_HOURS)})
    positives = round(0.6 * events)
    day = Day(
        date=(START + timedelta(days=at)).isoformat(),
        events=events,
        hours=tuple(hours.values()),
        actions=counts(ACTIONS),
        kinds=counts(KINDS),
        contexts=counts(CONTEXTS),
        devices=counts(DEVICES),
        listeners=events // 10,
        new_listeners=events // 400,
        sessions=events // 8,
        positives=positives,
        timed_plays=positives,
        long_plays=round(positives * (0.9 if seed is None else drawn.normal(0.9, 0.01))),
        repeats=round(positives * (0.6 if seed is None else drawn.normal(0.6, 0.01))),
    )
    return replace(day, **changes)


def a_profile(days: Sequence[Day], **changes: object) -> Profile:
    """Makes a profile of these days, with 200 contents and 1,000 listeners."""
    whole = sum_of(list(days))
    counts = {"events": whole.events, "positives": whole.positives, "users": 1_000, "users_with_events": 1_000,
              "contents": 200, "listed": 200, "withdrawn": 0, "by_id_alone": 0, "with_events": 200,
              "events_earlier": 0, "events_later": 0}  # fmt: skip
    profile = Profile(
        store=f"until-{days[-1].date}",
        settings="same",
        has_clock=True,
        counts=counts,
        span=(f"{days[0].date}T00:00:00+00:00", f"{days[-1].date}T23:59:59+00:00"),
        actions=whole.actions,
        kinds=whole.kinds,
        contexts=whole.contexts,
        devices=whole.devices,
        contents_by_kind={"track": 180, "episode": 20},
        hours=whole.hours,
        first_day=days[0].date,
        daily={name: tuple(day.events for day in days) for name in ("events", "new_users", "new_contents")},
        days=tuple(days),
        sessions={"number": whole.sessions, "unknown_share": 0.0, "events_each": {"0.5": 8.0}},
        rates={"skips": 0.35, "repeats": 0.6, "at_once": 0.0, "duplicates": 0.0},
        lacking={"title": {"contents": 0.0, "events": 0.0}, "sound": {"contents": 0.05, "events": 0.02}},
        rejected={},
        rejected_share={},
        top=({"content_id": "a", "title": "<b>A & Co</b>", "kind": "track", "events": 7},),
        activity={"0.5": 40.0},
        signatures={"contents": "", "users": "", "titles": ""},
    )
    return replace(profile, **changes)
