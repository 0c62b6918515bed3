"""Simple serving policies: baselines for an agent, and policies whose ranking by a simulator is checked."""

from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.simulation.environment.observation import Observation
from towers.simulation.environment.world import best_of
from towers.simulation.listeners.space import Space

MOST_OF_A_REGION: Final = 2


@runtime_checkable
class ServingPolicy(Protocol):
    """A policy that chooses slates from what a service knows."""

    name: str

    def begin(self, seed: int) -> None:
        """Starts a period; forgets what was learned in another one."""
        ...

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """Starts a day, with the day before's number of streams of each content by all listeners; None on the first
        day."""
        ...

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """Returns a slate of content rows for each listener of an observation."""
        ...


class _Policy:
    """Base of policies that do not learn.

    Args:
        space: space of the contents, with the plays of the fit.
        slate_size: number of contents of a slate.
    """

    def __init__(self, space: Space, slate_size: int = 10):
        self._space, self._slate_size = space, slate_size

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""


class RandomCandidates(_Policy):
    """A policy that shows random candidates."""

    name = "random"

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""
        self._rng = np.random.default_rng([seed, 31])

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates = observation["candidates"]
        score = np.where(candidates >= 0, self._rng.random(candidates.shape), -1.0)
        return filled(best_of(score, candidates, self._slate_size))


class MostPlayed(_Policy):
    """A policy that shows all listeners the contents played most in the fit's log."""

    name = "most played"

    def __init__(self, space: Space, slate_size: int = 10):
        super().__init__(space, slate_size)
        self._slate = self._top(np.zeros(len(space)))

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        return np.tile(self._slate, (len(observation["candidates"]), 1))

    def _top(self, streamed: Float[np.ndarray, " contents"]) -> Int[np.ndarray, " slate"]:
        """Returns the most streamed contents; ties are broken by plays in the fit's log."""
        return np.lexsort((-self._space.plays, -streamed, ~self._space.is_playable))[: self._slate_size]


class YesterdaysMostPlayed(MostPlayed):
    """A policy that shows yesterday's most streamed contents; on the first day, those played most in the fit's log."""

    name = "yesterday's most played"

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""
        self._slate = self._top(np.zeros(len(self._space)) if streamed is None else streamed.astype(float))


class Nearest(_Policy):
    """A policy that shows the candidates nearest to the mean of the listener's recent plays."""

    name = "nearest"

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates = observation["candidates"]
        return filled(best_of(self._score(observation), candidates, self._slate_size))

    def _score(self, observation: Observation) -> Float[np.ndarray, "listeners candidates"]:
        candidates = observation["candidates"]
        score = np.empty(candidates.shape, np.float32)
        for row, (some, taste) in enumerate(zip(candidates, observation["taste"], strict=True)):
            score[row] = self._space.vectors[some] @ taste
        return np.where(candidates >= 0, score, -np.inf)


class NearestOfRegions(Nearest):
    """`Nearest` with at most `MOST_OF_A_REGION` contents of a named region, unless nothing else is left."""

    name = "nearest, two of a region"

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates, score = observation["candidates"], self._score(observation)
        return filled(at_most_of_a_region(self._space, candidates, score, self._slate_size, MOST_OF_A_REGION))


def at_most_of_a_region(
    space: Space,
    candidates: Integer[np.ndarray, "listeners candidates"],
    score: Float[np.ndarray, "listeners candidates"],
    number: int,
    most: int,
) -> Integer[np.ndarray, "listeners number"]:
    """Returns the candidates with the highest scores, best first, with at most `most` of a named region unless nothing
    else is left; -1 in the last places where there are too few candidates."""
    order = np.argsort(-score, axis=1, kind="stable")
    sorted_ = np.take_along_axis(candidates, order, axis=1)
    is_over = (earlier_equals(space.region[sorted_]) >= most) & (space.region[sorted_] >= 0)
    # Candidates over the limit come after all others, and empty places after these.
    first = np.argsort(is_over + 2 * (sorted_ < 0), axis=1, kind="stable")[:, :number]
    return np.take_along_axis(sorted_, first, axis=1)


def filled(slates: Integer[np.ndarray, "listeners slate"]) -> Int[np.ndarray, "listeners slate"]:
    """Returns slates with the first content repeated in empty places, where a listener has too few candidates; a repeat
    counts once."""
    return np.where(slates < 0, slates[:, :1], slates).astype(np.int64)


def earlier_equals(values: Integer[np.ndarray, "rows many"]) -> Int[np.ndarray, "rows many"]:
    """Returns the number of equal values before each one in its row."""
    order = np.argsort(values, axis=1, kind="stable")
    sorted_ = np.take_along_axis(values, order, axis=1)
    place = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    begins = np.diff(sorted_, axis=1, prepend=sorted_[:, :1] - 1) != 0
    found = np.empty(values.shape, np.int64)
    np.put_along_axis(found, order, place - np.maximum.accumulate(np.where(begins, place, 0), axis=1), axis=1)
    return found


def five_policies(space: Space, slate_size: int = 10) -> tuple[ServingPolicy, ...]:
    """Returns the policies whose ranking is checked."""
    kinds = RandomCandidates, MostPlayed, YesterdaysMostPlayed, Nearest, NearestOfRegions
    return tuple(kind(space, slate_size) for kind in kinds)
