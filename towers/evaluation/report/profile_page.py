"""Writes the profile of a store's data as one HTML file without scripts, which loads nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from markupsafe import Markup

from towers.data.profiling.profile import Profile, sum_of
from towers.data.profiling.verdict import Verdict
from towers.evaluation.report.bars import bars
from towers.evaluation.report.templates import template
from towers.manifest import atomic_file

FILE = "profile.html"
TEMPLATE = "profile.html.jinja"
MOST_BARS = 200
"""Greatest number of days with a bar each; for more days, bars stand for weeks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its heading and text."""

    title: str
    caption: str
    svg: Markup


def write_profile_page(profile: Profile, verdict: Verdict, path: Path, title: str) -> None:
    """Writes the page atomically.

    Args:
        profile: the profile of a version.
        verdict: the verdict on it.
        path: the file to write.
        title: name of the data set.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(render(profile, verdict, title), encoding="utf-8")


def render(profile: Profile, verdict: Verdict, title: str) -> str:
    """Returns the whole page; the same profile gives the same text."""
    return template(TEMPLATE).render(profile=profile, verdict=verdict, title=title, charts=charts(profile))


def charts(profile: Profile) -> list[Chart]:
    """Returns the charts to draw; none for a store without timestamps."""
    if not profile.days:
        return []
    first = date.fromisoformat(profile.first_day)
    every, daily = (7 if len(profile.daily["events"]) > MOST_BARS else 1), profile.daily
    span = "week" if every == 7 else "day"
    labels = [(first + timedelta(days=place)).isoformat() for place in range(0, len(daily["events"]), every)]
    words = {"events": "Events", "new_users": "New listeners", "new_contents": "New contents"}
    found = [
        Chart(
            title=f"{words[name]} a {span}",
            caption=f"By {span}, UTC; stray days of wrong clocks are left out."
            + (" A content or listener is new at its first event." if name != "events" else ""),
            svg=bars(_summed(daily[name], every), labels, label=f"{words[name]} a {span}"),
        )
        for name in words
    ]
    last, usual = profile.days[-1], sum_of(list(profile.days[-29:-1]))
    found.insert(
        1,
        Chart(
            title="Events by hour of the day",
            caption=f"Share of the four weeks before the last day, UTC; dots: of {last.date}.",
            svg=bars(
                _shares(usual.hours),
                [f"{hour}:00" for hour in range(24)],
                label="Events by hour of the day",
                marked=_shares(last.hours),
            ),
        ),
    )
    days = [day.date for day in profile.days]
    rates = {
        "Skipped": [day.actions.get("skip", 0) / max(_played(day.actions), 1) for day in profile.days],
        "Chosen again": [day.repeats / max(day.positives, 1) for day in profile.days],
        "Listeners": [day.listeners for day in profile.days],
    }
    captions = {
        "Skipped": "Skips among plays and skips, by day of the last weeks.",
        "Chosen again": "Positive events whose content the listener chose before, by day of the last weeks.",
        "Listeners": "Listeners with an event, by day of the last weeks.",
    }
    return found + [
        Chart(title=name, caption=captions[name], svg=bars(values, days, label=captions[name]))
        for name, values in rates.items()
    ]


def _played(actions: Mapping[str, int]) -> int:
    return actions.get("play", 0) + actions.get("skip", 0)


def _summed(numbers: Sequence[int], every: int) -> list[int]:
    return [sum(numbers[place : place + every]) for place in range(0, len(numbers), every)]


def _shares(numbers: Sequence[int]) -> list[float]:
    total = max(sum(numbers), 1)
    return [number / total for number in numbers]
