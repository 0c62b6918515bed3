"""Baselines of an agent made from the project's own policies: lists calibrated to a mix of regions, and the home page's
bandit.
page's bandit.

They stand here because a policy and a simulator may not import each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KINDS
from towers.policies.bandit.features import Features
from towers.policies.bandit.linear import LinearThompson
from towers.policies.calibration import by_greedy, listener_mix
from towers.simulation.environment.baselines import Greedy, relevance
from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import filled
from towers.simulation.environment.serving import begun, turns
from towers.simulation.environment.world import ListeningWorld, Step
from towers.simulation.listeners.space import Space

PAIRS: Final = ("familiarity", "artist_familiarity", "popularity", "is_recent")
"""Features of a listener and a card that the bandit reads beside their vectors, each around 0 to 1: logarithms of one
plus the plays of the content, of its artist, and by all listeners; and whether it is among the recent plays."""
_BLOCK: Final = 32
_TRACK: Final = KINDS.index("track")


class CalibratedGreedy(Greedy):
    """Picks the likeliest candidates, calibrated to the regions of the listener's recent streams and their shares
    (Steck 2018, "Calibrated recommendations"), by `policies.calibration.by_greedy`.

    Args:
        space: contents of the simulator.
        chance: calibrated chance of a pick.
        slate_size: number of contents of a slate.
        weight: lambda, from 0 (likeliest only) to 1 (regions only).
    """

    def __init__(self, space: Space, chance: ClickChance, slate_size: int = 10, weight: float = 0.5):
        super().__init__(space, chance, slate_size)
        self.name, self._weight = "greedy, calibrated", weight
        # A content in no region has an empty style, which counts as a style of its own.
        self._styles = np.eye(len(space.region_names) + 1)[space.region][:, :-1]

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates, chance = observation["candidates"], self._chance.of(self._space, observation)
        slates = np.full((len(candidates), self._slate_size), -1, np.int64)
        streamed = (observation["recent"] >= 0) & (observation["recent_skipped"] == 0)
        for row, (some, of) in enumerate(zip(candidates, chance, strict=True)):
            own, is_there = some[some >= 0], some >= 0
            mix = listener_mix(self._styles[observation["recent"][row][streamed[row]]])
            found = by_greedy(relevance(of[is_there]), self._styles[own], mix, self._slate_size, self._weight)
            slates[row, : len(found)] = own[found]
        return filled(slates)


class HomeBandit:
    """The home page's linear Thompson sampling with the candidates as cards, which learns while it serves.

    Its reward is 1 for a card that was picked and not skipped; every slot counts as seen. It learns at the end of each
    day, as the home page does at night.

    Args:
        space: contents of the simulator.
        slate_size: number of cards of a slate.
        settings: keywords of `LinearThompson` beside `features`, `slots` and `seed`.
        start: state of `learned` that an episode begins with; null: untrained.
    """

    name = "home bandit"

    def __init__(
        self,
        space: Space,
        slate_size: int = 10,
        settings: Mapping[str, Any] | None = None,
        start: Mapping[str, np.ndarray] | None = None,
    ):
        self._space, self._slate_size, self._start = space, slate_size, start
        self._settings: dict[str, Any] = {"breadth": 0.5, "floor": 0.02} | dict(settings or {})
        self._popularity = (np.log1p(space.plays) / max(float(np.log1p(space.plays).max()), 1e-6)).astype(np.float32)
        self.begin(0)

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""
        features = Features(dim=self._space.vectors.shape[1], has_times=False, pairs=PAIRS)
        self._policy = LinearThompson(features=features, slots=self._slate_size, seed=seed, **self._settings)
        if self._start is not None:
            self._policy.restore(self._start)
        self._rng = np.random.default_rng([seed, 37])
        self._waiting: list[Outcomes] = []

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`; it learns from the outcomes of the day before."""
        for outcomes in self._waiting:
            self._policy.update(outcomes)
        self._waiting = []

    def learned(self) -> dict[str, np.ndarray]:
        """Returns all that it has learned, for the start of another episode."""
        self.begin_day(None)
        return self._policy.state()

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        slates = np.empty((len(observation["candidates"]), self._slate_size), np.int64)
        for begin in range(0, len(slates), _BLOCK):
            at = slice(begin, begin + _BLOCK)
            seen = {name: column[at] for name, column in observation.items()}
            slates[at] = self._policy.select(_context(seen["taste"]), self._cards(seen), self._rng).content_rows
        return filled(slates)

    def learn(self, observation: Observation, slates: Int[np.ndarray, "listeners slate"], step: Step) -> None:
        """See `serving.Learning.learn`."""
        candidates = observation["candidates"]
        listener, place = np.nonzero((candidates[:, :, None] == slates[:, None]).any(axis=2) & (candidates >= 0))
        content = candidates[listener, place].astype(np.int64)
        is_picked = ~step.is_own[listener] & (step.content[listener] == content)
        self._waiting.append(
            Outcomes(
                context=_context(observation["taste"][listener]), content_rows=content,
                vectors=self._space.vectors[content], kinds=np.full(len(content), _TRACK),
                slots=np.zeros(len(content), np.int64), propensities=np.ones(len(content)),
                is_seen=np.ones(len(content), bool),
                rewards=(is_picked & (step.parts["streams"][listener] > 0)).astype(float),
                pairs={name: pair[listener, place] for name, pair in self._pairs(observation).items()},
            )
        )  # fmt: skip

    @classmethod
    def taught(cls, world: ListeningWorld, seeds: Sequence[int] = (0,), slate_size: int = 10) -> "HomeBandit":
        """Returns a bandit that starts with what it learned in a world of other listeners.

        Args:
            world: world whose listeners take no part in the evaluation.
            seeds: seeds of the episodes, one after the other.
            slate_size: number of cards of a slate.
        """
        policy = cls(world.space, slate_size)
        for seed in seeds:
            begun(policy, world, seed)
            for _ in turns(policy, world):
                pass
            policy = cls(world.space, slate_size, start=policy.learned())
        return policy

    def _cards(self, seen: Observation) -> Candidates:
        """Returns the candidates of all listeners together, each allowed for those whose candidate it is."""
        candidates = seen["candidates"]
        cards, where = np.unique(np.maximum(candidates, 0), return_inverse=True)
        where = where.reshape(candidates.shape)
        listener, place = np.nonzero(candidates >= 0)
        at = listener, where[listener, place]
        is_allowed = np.zeros((len(candidates), len(cards)), bool)
        is_allowed[at] = True
        pairs: dict[str, np.ndarray] = {}
        for name, pair in self._pairs(seen).items():
            pairs[name] = np.zeros((len(candidates), len(cards)), np.float32)
            pairs[name][at] = pair[listener, place]
        return Candidates(
            content_rows=cards.astype(np.int64), vectors=self._space.vectors[cards], kinds=np.full(len(cards), _TRACK),
            is_allowed=is_allowed, pairs=pairs,
        )  # fmt: skip

    def _pairs(self, seen: Observation) -> dict[str, Float[np.ndarray, "listeners candidates"]]:
        candidates = seen["candidates"]
        is_recent = np.zeros(candidates.shape, bool)
        for place in range(seen["recent"].shape[1]):
            is_recent |= candidates == seen["recent"][:, place, None]
        plain = np.log1p(seen["candidate_plays"]), np.log1p(seen["candidate_artist_plays"])
        columns = *(column / 3.0 for column in plain), self._popularity[candidates], is_recent
        return {name: column.astype(np.float32) for name, column in zip(PAIRS, columns, strict=True)}


def _context(taste: Float[np.ndarray, "rows dim"]) -> Context:
    nothing = np.zeros(len(taste), np.int64)
    return Context(user_vectors=taste, segments=nothing - 1, times_us=nothing)
