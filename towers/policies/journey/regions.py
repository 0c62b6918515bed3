"""Regions of the space from a listener's view: where they are at home, what is new to them, and routes between."""

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
"""A region's worth to a listener is the mean over this number of its best pieces."""
LOOKED_AT = 50
"""Number of pieces of each region, nearest to the listener, that are scored in a large catalogue."""
AT_HOME = 1.0
"""Least ratio of a listener's share of listening in a region to that of all listeners to be at home there."""
UNFAMILIAR = 0.5
"""Ratio below which a region is unfamiliar to the listener."""
SMALL_STEP = 3
"""A step is small if it is at most the median distance of a region to its third nearest one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """A route over regions.

    Args:
        regions: places in the export's `regions`, from where the listener is at home to the destination.
        steps: length of each move, as a multiple of the mean distance of regions.
    """

    regions: tuple[int, ...]
    steps: tuple[float, ...]

    @property
    def longest(self) -> float:
        """The longest move; 0 for a route without moves."""
        return max(self.steps, default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionView:
    """The regions of one export for one listener, all arrays in the order of the export's `regions`.

    Args:
        heard_share: share of the listener's choices in each region; sums to 1, or all 0.
        usual_share: share of all listeners' latest choices in each region; sums to 1.
        worth: expected worth of a listen there: the mean over the best pieces that the listener has not heard, or over
            the best of all if they have heard everything allowed; 0 where no piece is allowed.
        far: distance of each pair of regions, 0 on the diagonal.
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
        """Builds the view of a listener.

        Args:
            listener: listener of an export that has regions.
            query: query that says which contents are allowed; null: all that can be played.
            long_term: what a listen to each content is worth later, 0 or more; null: 1 for all.
            apart: distances in the export; null: built here.
            ear_share: share of a distance that is by ear.

        Raises:
            UserError: the export has no regions.
        """
        export = listener.export
        regions, region = regions_of(export), np.asarray(regions_of(export).region_of_content)
        count = len(regions.ids)
        chosen = region[listener.chosen]
        rows = np.zeros(0, np.int64)
        for include_heard in (False, True):  # a listener who has heard everything is led to what they rarely hear
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
        """Ratio of the listener's share of listening in each region to that of all listeners."""
        return self.heard_share / np.maximum(self.usual_share, 1e-12)

    @property
    def home(self) -> Int[np.ndarray, " homes"]:
        """Regions where the listener is at home, the one with most of their listening first; for a listener without
        choices, the region most listened to."""
        if not self.heard_share.any():
            return np.array([int(self.usual_share.argmax())])
        most = np.argsort(-self.heard_share, kind="stable")
        at_home = most[(self.lift[most] >= AT_HOME) & (self.heard_share[most] > 0)]
        return at_home if len(at_home) else most[:1]

    @property
    def unfamiliar(self) -> Bool[np.ndarray, " regions"]:
        """Regions that the listener hardly knows and that have allowed contents; if there are none, the least known one
        except their first home."""
        has_something = self.worth > 0
        has_something[self.home[0]] = False
        found = has_something & (self.lift < UNFAMILIAR)
        if not found.any() and has_something.any():
            found[np.flatnonzero(has_something)[self.lift[has_something].argmin()]] = True
        return found

    @property
    def small_step(self) -> float:
        """Longest distance between two regions that counts as a small step."""
        others = np.sort(self.far, axis=1)[:, 1:]
        return float(np.median(others[:, min(SMALL_STEP, others.shape[1]) - 1])) if others.size else 0.0

    def route(self, to: int, moves: int) -> Route:
        """Returns the route to a region from where the listener is at home, in at most `moves` moves, with the least
        sum of squared steps, which prefers many small steps to a long one (Bellman 1958)."""
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
        """Returns the route to the region that the listener would adopt: of the unfamiliar ones that can be reached in
        small steps, the one that is worth most to them. If no route has small steps only, the one whose longest step is
        shortest.

        Args:
            moves: largest number of moves.

        Raises:
            NowhereToLead: there is no region that is new to them and has allowed contents.
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
    """Returns the contents that are in regions; of very many, the nearest to the listener in each region."""
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
    """Returns what contents are worth to a listener: the probability of a listen, times what a listen is worth later.

    Args:
        listener: listener whose probability it is.
        rows: rows of the contents, each once.
        long_term: what a listen is worth later, by content row, 0 or more; null: 1 for all.
    """
    found = chance(listener.utility(rows)) if len(rows) else np.zeros(0)
    return found if long_term is None else found * long_term[rows]


def _shares(amounts: Float[np.ndarray, " regions"]) -> Float[np.ndarray, " regions"]:
    total = amounts.sum()
    return amounts / total if total > 0 else amounts


def _mean_of_best(
    values: Float[np.ndarray, " rows"], region: Int[np.ndarray, " rows"], count: int
) -> Float[np.ndarray, " regions"]:
    """Returns the mean of the largest values of each region; 0 where it has none."""
    found = np.zeros(count)
    for place in range(count):
        own = np.sort(values[region == place])[::-1][:BEST]
        found[place] = own.mean() if len(own) else 0.0
    return found
