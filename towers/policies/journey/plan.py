"""A plan over weeks: regions along which a listener can be led to one that they would adopt, and what to offer there.

The planner is greedy: stations are chosen once (`regions.RegionView.destination`), and each week offers what is worth
most to the listener as they would be after playing all that was offered before. That they play all of it is an
assumption, not a forecast; the plan says how far the listener would move if it held, and should be made anew each week
from what they did play.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.policies.journey.apart import Apart, blended, unit
from towers.policies.journey.ends import Destination, regions_of
from towers.policies.journey.regions import RegionView, Route, worths
from towers.policies.listener import Listener
from towers.policies.playlist import Reason
from towers.policies.playlists.hearing import listener_after
from towers.policies.reasons import reasons_for
from towers.policies.rules import Candidates, Rules
from towers.policies.sequencing import ordered
from towers.policies.slate import pick
from towers.retrieval.query import Query, allowed

WEEK_DAYS = 7
MOST_WEEKS = 52


@runtime_checkable  # for the tests, which check annotations at run time
class Worth(Protocol):
    """Function that gives contents' worth to a listener; higher is better, on any scale."""

    def __call__(self, listener: Listener, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns the worth of some contents, each given once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """Settings of a plan.

    Args:
        weeks: number of weeks, 1 to 52.
        a_week: number of pieces that are offered each week.
        known_share: share of the first week's pieces that the listener knows, 0 to 1; it falls to 0 in the last week.
        lead: weight of the nearness to the next station, beside the rank by worth; both are 0 to 1.
        ear_share: share of a distance that is by ear, 0 to 1; the rest is by audience.
        max_per_artist: largest number of pieces of one artist in a week.

    Raises:
        UserError: a number that is out of range.
    """

    weeks: int = 8
    a_week: int = 10
    known_share: int | float = 0.5
    lead: int | float = 0.5
    ear_share: int | float = 0.3
    max_per_artist: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.weeks <= MOST_WEEKS:
            raise UserError(f"weeks={self.weeks}: must be 1 to {MOST_WEEKS}")
        for name in ("known_share", "ear_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must be a share, 0 to 1")
        if not self.lead >= 0:
            raise UserError(f"lead={self.lead}: must be 0 or more")
        Rules(k=self.a_week, max_per_artist=self.max_per_artist)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Station:
    """A region that the plan passes.

    Args:
        region: place of the region in the export's `regions`.
        name: name of the region.
        step: distance from the station before, as a multiple of the mean between regions; 0 for the first.
        heard_share: share of the listener's choices that lie there.
        usual_share: share of all listeners' latest choices that lie there.
        why: reason why it is a station, in words.
    """

    region: int
    name: str
    step: float
    heard_share: float
    usual_share: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Week:
    """Offer of one week.

    Args:
        position: place of the week among the plan's stations, from 0; see `position_of`.
        rows: rows of the contents, known ones first; none is offered by an earlier week.
        known: number of them that the listener knows.
        reasons: reason of each content.
        chance: mean probability of a listen over the contents that are new to the listener, as they would be in this
            week; null where none is new.
        affinity: the listener's inner product with the centre of the destination, once this week's pieces were played.
        why: summary of the week, in words.
    """

    position: float
    rows: Int[np.ndarray, " rows"]
    known: int
    reasons: tuple[Reason, ...]
    chance: float | None
    affinity: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Offers to a listener over weeks.

    Args:
        stations: regions from the listener's home to the destination; one, where both are the same.
        weeks: the weeks, in order.
        affinity: the listener's inner product with the centre of the destination before the first week.
        why: reason for the destination, in words.
    """

    stations: tuple[Station, ...]
    weeks: tuple[Week, ...]
    affinity: float
    why: str


def plan(
    listener: Listener,
    settings: PlanSettings | None = None,
    *,
    to: Destination | None = None,
    query: Query | None = None,
    long_term: Float[np.ndarray, " contents"] | None = None,
    worth: Worth | None = None,
    apart: Apart | None = None,
) -> Plan:
    """Plans weeks for a listener.

    Args:
        listener: listener of an export that has regions.
        settings: settings of the plan; null: the defaults.
        to: region, or content in a region, that the plan leads to; null: a region that they would adopt.
        query: query that says which contents are allowed; null: all that can be played.
        long_term: what a listen to each content is worth later, 0 or more; null: 1 for all.
        worth: worth of contents to a listener, such as an agent's score; null: the probability of a listen, times
            `long_term`.
        apart: distances in the export; null: built here.

    Raises:
        UserError: the export has no regions, `to` is in none, or no content is allowed at a station.
    """
    settings, query = settings or PlanSettings(), query or Query()
    apart = apart or Apart(listener.export)
    view = RegionView.of(listener, query, long_term, apart, settings.ear_share)
    moves = max(settings.weeks - 1, 1)
    route = view.destination(moves) if to is None else view.route(_region(listener, to), moves)
    stations = _stations(listener, view, route)
    greedy: Worth = partial(_greedy, long_term=long_term)
    offers = _Offers(listener, route, settings, query, worth or greedy, apart)
    before = offers.affinity
    weeks = [offers.week(number) for number in range(settings.weeks)]
    why = _why(listener, view, route, is_asked_for=to is not None)
    return Plan(stations=stations, weeks=tuple(weeks), affinity=before, why=why)


def position_of(week: int, weeks: int, stations: int) -> float:
    """Returns where a week is on the way, both counted from 0: at 1.25 it is past the second station by a quarter of
    the way to the third. Weeks are spread evenly; a plan of one week is at its destination."""
    return float(stations - 1) if weeks == 1 else week * (stations - 1) / (weeks - 1)


class _Offers:
    """Makes the offers week by week, in order."""

    def __init__(
        self, listener: Listener, route: Route, settings: PlanSettings, query: Query, worth: Worth, apart: Apart
    ):
        self._listener, self._settings, self._query = listener, settings, query
        self._route, self._worth, self._apart = route, worth, apart
        self._region = np.asarray(regions_of(listener.export).region_of_content)
        self._offered = np.zeros(0, np.int64)
        self._home = listener

    def week(self, number: int) -> Week:
        """Returns the next week."""
        settings, regions = self._settings, self._route.regions
        left = 1 - number / (settings.weeks - 1) if settings.weeks > 1 else 0.0
        position = position_of(number, settings.weeks, len(regions))
        station = int(position)
        at, ahead = regions[station], regions[min(station + 1, len(regions) - 1)]
        known = self._picked(self._known(), round(settings.known_share * left * settings.a_week), at)
        free = settings.a_week - len(known)
        here = self._picked(self._new(at), free - round((position - station) * free), ahead)
        there = self._picked(self._new(ahead), free - len(here), ahead) if ahead != at else here[:0]
        new = np.concatenate([here, there])
        if not len(new) + len(known):
            raise UserError(f"week {number + 1}: nothing new is left in the region {self._name(at)}; plan fewer weeks, "
                            "or fewer pieces a week")  # fmt: skip
        chances = worths(self._listener, new)
        rows = np.concatenate([known, new])
        reasons = reasons_for(self._listener, rows)
        self._offered = np.concatenate([self._offered, self._with_recordings(rows)])
        self._listener = listener_after(self._listener, rows, WEEK_DAYS)
        return Week(
            position=position, rows=rows, known=len(known), reasons=reasons,
            chance=float(chances.mean()) if len(new) else None, affinity=self.affinity,
            why=_in_words(len(known), [(self._name(at), len(here)), (self._name(ahead), len(there))]),
        )  # fmt: skip

    def _known(self) -> Int[np.ndarray, " rows"]:
        """Returns what the listener chose before the plan and was not offered yet."""
        rows = np.intersect1d(self._home.chosen, self._home.standing.heard)
        return rows[self._may_come(include_heard=True)[rows]]

    def _new(self, region: int) -> Int[np.ndarray, " rows"]:
        """Returns the contents of a region that the listener has not heard."""
        return np.flatnonzero(self._may_come(include_heard=False) & (self._region == region))

    def _may_come(self, include_heard: bool) -> Bool[np.ndarray, " contents"]:
        query = replace(self._query, include_heard=include_heard, familiar=None)
        found = allowed(self._home.export, query, self._home.standing)
        found[self._offered] = False
        return found

    def _picked(self, rows: Int[np.ndarray, " rows"], k: int, towards: int) -> Int[np.ndarray, " picks"]:
        """Returns the best contents by worth and by nearness to a region, in playing order."""
        if k < 1 or not len(rows):
            return np.zeros(0, np.int64)
        export, settings = self._listener.export, self._settings
        value = _ranks(self._worth(self._listener, rows)) - settings.lead * _ranks(self._far(rows, towards))
        found = Candidates.of(rows, value, export.facts.artists, export.recordings)
        chosen = found.at(pick(found, Rules(k=k, max_per_artist=settings.max_per_artist)).places)
        return chosen.rows[ordered(export.vectors[chosen.rows], chosen.utility, chosen.artists)]

    def _far(self, rows: Int[np.ndarray, " rows"], region: int) -> Float[np.ndarray, " rows"]:
        """Returns the distances of contents from the centre of a region."""
        members = np.flatnonzero(self._region == region)
        sounds = self._apart.sound(members)
        middle = unit(sounds.mean(axis=0))[None]
        centroid = np.asarray(regions_of(self._listener.export).centroids)[[region]]
        audience, ear = self._apart.audience_from(centroid, rows), self._apart.ear_from(middle, rows)
        return blended(audience, ear, self._settings.ear_share)[0]

    def _with_recordings(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " more"]:
        recordings = self._listener.export.recordings
        return rows if recordings is None else np.flatnonzero(np.isin(recordings, recordings[rows]))

    @property
    def affinity(self) -> float:
        """The listener's inner product with the destination, in their present state of the plan."""
        return float(self._listener.vector @ regions_of(self._home.export).centroids[self._route.regions[-1]])

    def _name(self, region: int) -> str:
        return regions_of(self._listener.export).names[region]


def _in_words(known: int, new: Sequence[tuple[str, int]]) -> str:
    """Returns a week's summary: how many pieces the listener knows, and how many new ones of which region."""
    parts = [f"{known} that they know"] if known else []
    return ", ".join([*parts, *(f"{count} new of {name}" for name, count in new if count)])


def _greedy(
    listener: Listener, rows: Int[np.ndarray, " rows"], long_term: Float[np.ndarray, " contents"] | None
) -> Float[np.ndarray, " rows"]:
    return worths(listener, rows, long_term)


def _ranks(values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    """Returns the share of the values that are smaller than each, so that values of any scale can be weighed."""
    return np.searchsorted(np.sort(values), values) / max(len(values), 1)


def _region(listener: Listener, to: Destination) -> int:
    """Returns the named region, or the region of the named content; raises `UserError` where it is in none."""
    if to.row < 0:
        return to.region
    region = int(regions_of(listener.export).region_of_content[to.row])
    if region < 0:
        raise UserError(f"to: {listener.export.content_ids[to.row]} lies in no region, as it cannot be played")
    return region


def _stations(listener: Listener, view: RegionView, route: Route) -> tuple[Station, ...]:
    names = regions_of(listener.export).names
    found = []
    for place, (region, step) in enumerate(zip(route.regions, (0.0, *route.steps), strict=True)):
        heard, usual = float(view.heard_share[region]), float(view.usual_share[region])
        listens = f"{100 * heard:.0f} % of what they listen to, {100 * usual:.0f} % of what all listeners do"
        words = f"where they are at home: {listens}"
        if place:
            on_the_way = "the destination" if place == len(route.steps) else "on the way"
            words = (
                f"{on_the_way}, {step:.2f} of what random regions are apart from {names[route.regions[place - 1]]}: "
            )
            words += listens
        found.append(
            Station(region=region, name=names[region], step=step, heard_share=heard, usual_share=usual, why=words)
        )
    return tuple(found)


def _why(listener: Listener, view: RegionView, route: Route, is_asked_for: bool) -> str:
    name, worth = regions_of(listener.export).names[route.regions[-1]], view.worth[route.regions[-1]]
    if is_asked_for:
        return f"to {name}, as was asked for"
    unknown = int(view.unfamiliar.sum())
    if route.longest > view.small_step:
        words = f"small steps lead to none of the {unknown} regions that they hardly know, and these are the smallest"
    else:
        words = (f"of the {unknown} regions that they hardly know it is worth most of those that small steps lead to; "
                 f"a listen to its best pieces is worth {worth:.3f} to expect")  # fmt: skip
    return f"to {name}: {words}"
