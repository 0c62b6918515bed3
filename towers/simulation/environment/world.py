"""A world of listeners who are served: slates go in, and plays and reactions come out.

Listeners step together in numpy, each with their own clock: a step takes each of them through one play.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.simulation.environment.candidates import CandidateRetrieval
from towers.simulation.environment.familiarity import Familiarity
from towers.simulation.environment.observation import Observation, observed
from towers.simulation.environment.picking import OWN, OWN_PULL, LivingListeners, picked
from towers.simulation.environment.rewards import PARTS, Rewards
from towers.simulation.listeners.rollout import MAX_PLAYS

NEVER: Final = np.iinfo(np.int64).max
_DRAWS: Final = 20
_BLOCK: Final = 32
"""Listeners whose candidates are scored at once, so that their vectors stay in a core's cache."""

Rows = Integer[np.ndarray, " some"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Result of a step, with a row for each listener in it.

    Args:
        content: `[some]`, content that was played.
        is_own: `[some]`, whether it was the listener's own choice rather than from the slate.
        parts: `[some]` each, parts of the reward by the names of `rewards.PARTS`.
        terminated: `[some]`, whether the listener never comes back.
        truncated: `[some]`, whether the episode's days are over.
    """

    content: Int[np.ndarray, " some"]
    is_own: Bool[np.ndarray, " some"]
    parts: dict[str, Int[np.ndarray, " some"]]
    terminated: Bool[np.ndarray, " some"]
    truncated: Bool[np.ndarray, " some"]


class ListeningWorld:
    """Listeners of whom each is in a session whenever observed.

    In a step a listener is offered a slate and picks one of its contents or makes an own choice (`picking`). Then they
    react, and stay or leave; a listener who leaves is next observed at the start of their next session.

    An episode lasts `days`. A listener without a session within them gets no episode: another one is drawn.

    Args:
        listeners: acting listeners, with their clocks at `begin_us` or before.
        begin_us: start of episodes, microseconds.
        days: length of an episode.
        slate_size: number of contents of a slate.
        num_candidates: number of candidates of a listener, fewer where fewer can be played.
        own_pull: see `picking.picked`.
    """

    def __init__(
        self,
        listeners: LivingListeners,
        begin_us: int,
        days: float = 28.0,
        slate_size: int = 10,
        num_candidates: int = 200,
        own_pull: float = OWN_PULL,
    ):
        self.listeners, self.space = listeners, listeners.state.space
        self.begin_us, self.end_us = begin_us, begin_us + int(days * DAY_US)
        self.slate_size, self.own_pull = slate_size, own_pull
        self._retrieval = CandidateRetrieval(self.space, num_candidates)
        if self._retrieval.number < slate_size:
            raise UserError(
                f"a slate of {slate_size} contents needs as many that can be played, and there are "
                f"{self._retrieval.number}; make the slate smaller"
            )
        number = len(listeners.state)
        self.rewards = Rewards(number)
        self.candidates = np.full((number, self._retrieval.number), -1, np.int32)
        self._familiarity = Familiarity(number, self._retrieval.number)
        self._away_us = np.zeros(number, np.int64)

    def __len__(self) -> int:
        return len(self.listeners.state)

    @property
    def now_us(self) -> Int[np.ndarray, " listeners"]:
        """Present time of each listener, microseconds."""
        return self.listeners.state.now_us

    def reset(self, rows: Rows, rng: np.random.Generator | None = None) -> None:
        """Starts an episode of other listeners in these rows.

        Args:
            rows: rows of the world.
            rng: generator of all random draws from now on; None: the one used so far.
        """
        listeners = self.listeners
        listeners.rng = listeners.rng if rng is None else rng
        self.rewards.forget(rows)
        start_us = np.full(len(rows), NEVER)
        for _ in range(_DRAWS):
            absent = np.flatnonzero(start_us >= self.end_us)
            if not len(absent):
                break
            listeners.renew(rows[absent])
            start_us[absent] = listeners.next_session_us(rows[absent], np.full(len(absent), self.begin_us))
        # Where hardly any listeners come within the days, the last drawn ones come at once.
        start_us = np.where(start_us < self.end_us, start_us, self.begin_us)
        self._begin(rows, start_us)

    def observe(self, rows: Rows) -> Observation:
        """Returns what a service knows of listeners; see `observation.observed`."""
        begin_us = np.full(len(rows), self.begin_us)
        state = self.listeners.state
        seen = observed(state, rows, self.candidates[rows], self._away_us[rows], begin_us)
        return seen | self._familiarity.told(state, rows, self.candidates[rows])

    def slates_of(self, rows: Rows, query: Float[np.ndarray, "some dim"]) -> Int[np.ndarray, "some slate"]:
        """Returns the candidates of each listener that are nearest to a query, nearest first.

        Raises:
            UserError: a query has a number that is not finite.
        """
        if not np.isfinite(query).all():
            raise UserError("a query vector must be of finite numbers")
        slates = np.empty((len(rows), self.slate_size), np.int64)
        for begin in range(0, len(rows), _BLOCK):
            at = slice(begin, begin + _BLOCK)
            candidates = self.candidates[rows[at]]
            vectors = self.space.vectors[np.maximum(candidates, 0)]
            score = np.matmul(vectors, query[at, :, None].astype(np.float32))[..., 0]
            slates[at] = best_of(np.where(candidates >= 0, score, -np.inf), candidates, self.slate_size)
        # Where fewer are released, the first one is repeated, and counts once.
        return np.where(slates < 0, slates[:, :1], slates)

    def step(self, rows: Rows, slates: Integer[np.ndarray, "some slate"]) -> Step:
        """Lets each listener play one content.

        Args:
            rows: rows of distinct listeners whose episodes are not over.
            slates: rows of contents that each is offered.

        Raises:
            UserError: a content is not in the catalogue; the state is unchanged.
        """
        self._require_contents(slates)
        if not len(rows):
            return _nothing()
        listeners, state = self.listeners, self.listeners.state
        start_us = state.now_us[rows].copy()
        content, slot = picked(listeners, rows, slates, self.own_pull)
        begin_us = np.full(len(rows), self.begin_us)
        was_known = self.rewards.known_before(state, rows, content, begin_us)
        reaction = listeners.react(rows, content)
        parts = self.rewards.of(rows, self.space.artist[content], was_known, start_us, reaction)
        self._familiarity.played(state, rows, self.candidates[rows], content, start_us)
        leaves = listeners.leave(rows) | (state.position[rows] >= MAX_PLAYS)
        listeners.go_on(rows[~leaves])
        truncated = ~leaves & (state.now_us[rows] >= self.end_us)
        gone = rows[leaves]
        next_us = listeners.next_session_us(gone, state.ended_us[gone])
        terminated = np.zeros(len(rows), bool)
        terminated[leaves] = next_us == NEVER
        truncated[leaves] = (next_us >= self.end_us) & (next_us < NEVER)
        parts["kept_artists"] = self.rewards.kept(rows, terminated | truncated, self.end_us)
        comes = next_us < self.end_us
        self._begin(gone[comes], next_us[comes])
        return Step(content=content, is_own=slot == OWN, parts=parts, terminated=terminated, truncated=truncated)

    def _begin(self, rows: Rows, start_us: Rows) -> None:
        state = self.listeners.state
        self._away_us[rows] = np.where(state.sessions[rows] > 0, start_us - state.ended_us[rows], 0)
        self.listeners.begin(rows, start_us)
        self.candidates[rows] = self._retrieval.for_listeners(state, rows)
        self._familiarity.begin(state, rows, self.candidates[rows])

    def _require_contents(self, slates: Integer[np.ndarray, "some slate"]) -> None:
        outside = (slates < 0) | (slates >= len(self.space))
        if outside.any():
            raise UserError(
                f"a slate holds the content row {int(slates[outside][0])}, and the catalogue has "
                f"{len(self.space):,} contents, rows 0 to {len(self.space) - 1}"
            )

    def arrays(self) -> dict[str, Any]:
        """Returns copies of all state, for `restore`."""
        return {"listeners": self.listeners.arrays(), "rewards": self.rewards.arrays(),
                "familiarity": self._familiarity.arrays(), "candidates": self.candidates.copy(),
                "away_us": self._away_us.copy()}  # fmt: skip

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        self.listeners.restore(arrays["listeners"])
        self.rewards.restore(arrays["rewards"])
        self._familiarity.restore(arrays["familiarity"])
        self.candidates[:], self._away_us[:] = arrays["candidates"], arrays["away_us"]


def _nothing() -> Step:
    nothing, no = np.zeros(0, np.int64), np.zeros(0, bool)
    parts: dict[str, np.ndarray] = dict.fromkeys(PARTS, nothing)
    return Step(content=nothing, is_own=no, parts=parts, terminated=no, truncated=no)


def best_of(
    score: Float[np.ndarray, "some candidates"], candidates: Integer[np.ndarray, "some candidates"], number: int
) -> Int[np.ndarray, "some number"]:
    """Returns the candidates with the highest scores, best first."""
    top = np.argpartition(score, score.shape[1] - number, axis=1)[:, -number:]
    order = np.argsort(-np.take_along_axis(score, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, np.take_along_axis(top, order, axis=1), axis=1).astype(np.int64)
