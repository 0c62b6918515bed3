"""The regions of the space as a listener sees them: where they are at home, what is new, and how one gets there."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.policies.journey.apart import Apart
from towers.policies.journey.ends import NowhereToLead, regions_of
from towers.policies.listener import Listener
from towers.retrieval.listen_chance import chance
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import EXACT_BELOW

BEST = 10
"""What a region is worth to a listener is the mean over so many of its pieces, the best."""
LOOKED_AT = 50
"""Of a large catalogue, so many pieces of each region are looked at, those nearest to the listener."""
AT_HOME = 1.0
"""A listener who listens to a region at least so many times as much as everybody does is at home there."""
UNFAMILIAR = 0.5
"""One who does less than so many times as much is not familiar with it."""
SMALL_STEP = 3
"""A step between regions is small where it is no longer than that to the third nearest region is in the median."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A way over regions.

    Args:
        regions: their places in the export's `regions`, from where the listener is at home to the destination.
        steps: the length of each move, as a share of what random regions are apart.
    """

    regions: tuple[int, ...]
    steps: tuple[float, ...]

    @property
    def longest(self) -> float:
        """The longest move; 0 of a way that does not move."""
        return max(self.steps, default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionView:
    """The regions of one export for one listener, all arrays in the order of the export's `regions`.

    Args:
        heard_share: of what they chose, in each region; sums to 1, or all 0.
        usual_share: of what everybody chose lately; sums to 1.
        worth: what a listen there is worth to expect: the mean over the best pieces that they have not heard, or over
            the best of all where they have heard everything; 0 where nothing of it may come.
        far: between each pair, 0 on the diagonal.
    """

    heard_share: Float[np.ndarray, " regions"]
    usual_share: Float[np.ndarray, " regions"]
    worth: Float[np.ndarray, " regions"]
    far: Float[np.ndarray, "regions regions"]

    @classmethod
    def of(
        cls,
        listener: Listener,
        query: Query | None = None,
        long_term: Float[np.ndarray, " contents"] | None = None,
        apart: Apart | None = None,
        ear_share: int | float = 0.3,
    ) -> "RegionView":
        """The view of a listener.

        Args:
            listener: of an export that has regions.
            query: what may come; null: whatever can be played.
            long_term: what a listen to each content is worth later, 0 or more; null: all are worth 1.
            apart: of the export; null: made here.
            ear_share: how much of a distance is by ear.

        Raises:
            UserError: the export has no regions.
        """
        export = listener.export
        regions, region = regions_of(export), np.asarray(regions_of(export).region_of_content)
        count = len(regions.ids)
        chosen = region[listener.chosen]
        rows = np.zeros(0, np.int64)
        for include_heard in (False, True):  # who has heard everything is led to what they hear little of
            if not len(rows):
                asked = replace(query or Query(), include_heard=include_heard, familiar=None)
                rows = _nearest_of_each(listener, allowed(export, asked, listener.standing), region)
        worth = worths(listener, rows, long_term)
        plays = np.where(region >= 0, 1.0 + export.facts.recent_positives, 0.0)
        usual = np.bincount(region[region >= 0], plays[region >= 0], count)
        return cls(
            heard_share=_shares(np.bincount(chosen[chosen >= 0], minlength=count).astype(np.float64)),
            usual_share=_shares(usual),
            worth=_mean_of_best(worth, region[rows], count),
            far=(apart or Apart(export)).regions(ear_share),
        )

    @property
    def lift(self) -> Float[np.ndarray, " regions"]:
        """How many times as much as everybody the listener listens to each region."""
        return self.heard_share / np.maximum(self.usual_share, 1e-12)

    @property
    def home(self) -> Int[np.ndarray, " homes"]:
        """Regions where the listener is at home, the one that they listen to most first; of one who chose nothing,
        where everybody is most."""
        if not self.heard_share.any():
            return np.array([int(self.usual_share.argmax())])
        most = np.argsort(-self.heard_share, kind="stable")
        at_home = most[(self.lift[most] >= AT_HOME) & (self.heard_share[most] > 0)]
        return at_home if len(at_home) else most[:1]

    @property
    def unfamiliar(self) -> Bool[np.ndarray, " regions"]:
        """Regions that the listener hardly knows and that have something for them; where there is none, the one but
        their first that they know least."""
        has_something = self.worth > 0
        has_something[self.home[0]] = False
        found = has_something & (self.lift < UNFAMILIAR)
        if not found.any() and has_something.any():
            found[np.flatnonzero(has_something)[self.lift[has_something].argmin()]] = True
        return found

    @property
    def small_step(self) -> float:
        """What counts as a small step between two regions."""
        others = np.sort(self.far, axis=1)[:, 1:]
        return float(np.median(others[:, min(SMALL_STEP, others.shape[1]) - 1])) if others.size else 0.0

    def route(self, to: int, moves: int) -> Route:
        """The way to a region from where the listener is at home, in at most so many moves: the sum of the squares of
        its steps is least, so that many small ones are better than one that is long (Bellman 1958)."""
        costs, before = np.full(len(self.far), np.inf), []
        costs[self.home] = 0
        for _ in range(moves):
            through = costs[:, None] + self.far**2
            before.append(through.argmin(axis=0))
            costs = through.min(axis=0)
        way = [to]
        for back in reversed(before):
            way.append(int(back[way[-1]]))
        way.reverse()
        met = [way[0], *(after for at, after in pairwise(way) if after != at)]
        steps = tuple(float(self.far[at, after]) for at, after in pairwise(met))
        return Route(regions=tuple(met), steps=steps)

    def destination(self, moves: int) -> Route:
        """The way to the region that the listener would adopt: of those that they hardly know and that can be reached
        in small steps, the one that is worth most to them. Where no way has small steps alone, the one whose longest
        is the shortest.

        Args:
            moves: at most so many.

        Raises:
            NowhereToLead: there is no region that is new to them and has something for them.
        """
        routes = [self.route(to, moves) for to in np.flatnonzero(self.unfamiliar).tolist()]
        if not routes:
            raise NowhereToLead("there is no region that is new to this listener and has something for them; say to=")
        small = [route for route in routes if route.longest <= self.small_step]
        if not small:
            return min(routes, key=lambda route: route.longest)
        return max(small, key=lambda route: self.worth[route.regions[-1]])


def _nearest_of_each(
    listener: Listener, among: Bool[np.ndarray, " contents"], region: Int[np.ndarray, " contents"]
) -> Int[np.ndarray, " rows"]:
    """Of some contents those that lie in regions; of very many, the nearest to the listener of each region."""
    rows = np.flatnonzero(among & (region >= 0))
    if len(rows) < EXACT_BELOW:
        return rows
    order = np.lexsort((-listener.affinity(rows), region[rows]))
    starts = np.searchsorted(region[rows][order], np.arange(region.max() + 1))
    place = np.arange(len(rows)) - starts[region[rows][order]]
    return np.sort(rows[order[place < LOOKED_AT]])


def worths(
    listener: Listener, rows: Int[np.ndarray, " rows"], long_term: Float[np.ndarray, " contents"] | None = None
) -> Float[np.ndarray, " rows"]:
    """What contents are worth to a listener: the chance of a listen, times what a listen is worth later, where that is
    known.

    Args:
        listener: whose chance it is.
        rows: of the contents, each once.
        long_term: of all contents, 0 or more; null: all are worth 1.
    """
    found = chance(listener.utility(rows)) if len(rows) else np.zeros(0)
    return found if long_term is None else found * long_term[rows]


def _shares(amounts: Float[np.ndarray, " regions"]) -> Float[np.ndarray, " regions"]:
    total = amounts.sum()
    return amounts / total if total > 0 else amounts


def _mean_of_best(
    values: Float[np.ndarray, " rows"], region: Int[np.ndarray, " rows"], count: int
) -> Float[np.ndarray, " regions"]:
    """By region the mean of its largest values; 0 where it has none."""
    found = np.zeros(count)
    for place in range(count):
        own = np.sort(values[region == place])[::-1][:BEST]
        found[place] = own.mean() if len(own) else 0.0
    return found
