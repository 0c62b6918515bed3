"""Own choice: which content a listener plays without recommendations, a known or a new one.

Whether it is known is a logistic regression with a trait of the listener (novelty seeking, with negative sign). Which
content it is, is a conditional logit over the known contents or over all new ones (McFadden 1974, "Conditional logit
analysis of qualitative choice behavior"), fitted to the chosen content beside some drawn evenly, which keeps weights
unbiased (McFadden 1978, "Modelling the choice of residential location").
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners.choice_features import (
    BY_CONTEXT,
    OF_KNOWN,
    OF_NEW,
    directions_of,
    knows,
    of_known,
    of_new,
    repeat_features,
)
from towers.simulation.listeners.logistic import MixedLogistic
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import ListenerState

_NEWTON_STEPS: Final = 12
_HALVINGS: Final = 12
_RIDGE: Final = 1.0
_BLOCK: Final = 256
"""Listeners whose contents are weighed at once: data that stay in a core's cache are several times faster."""
_DRAWN_KNOWN: Final = 16
_DRAWN_NEW: Final = 32
"""Numbers of contents from which the total weight of all known and of all new ones is estimated for a listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """Fitted models of own choice.

    Args:
        repeat: chance that the next content is a known one, with a trait of the listener.
        known: `[2, features]`, weights for the choice among known contents (`OF_KNOWN`, the last two by context), for
            the first play of a session and for later ones.
        new: `[2, features]`, weights for the choice among new contents (`OF_NEW`), likewise.
        num_contexts: number of codes of contexts.
        max_candidates: maximum number of contents that are weighed for a new one.
    """

    repeat: MixedLogistic
    known: Float[np.ndarray, "2 known_features"]
    new: Float[np.ndarray, "2 new_features"]
    num_contexts: int
    max_candidates: int

    def repeats(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], trait: Float[np.ndarray, " some"]
    ) -> Float[np.ndarray, " some"]:
        """Returns the chance that each listener's next content is a known one."""
        chance = self.repeat.chance(repeat_features(state, rows, self.num_contexts), trait)
        return np.where(state.memory.met[rows] > 0, chance, 0.0)

    def draw_known(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int[np.ndarray, " some"]:
        """Draws a known content for each of some listeners who know at least one."""
        drawn = np.zeros(len(rows), int)
        # Listeners with similar numbers of known contents share a block, as its largest number determines its width.
        order = np.argsort(state.memory.met[rows], kind="stable")
        for begin in range(0, len(rows), _BLOCK):
            some = order[begin : begin + _BLOCK]
            place = state.memory.listed(rows[some])
            picked = _drawn(self.known_utility(state, rows[some], place), place >= 0, rng)
            drawn[some] = state.memory.content[rows[some], place[np.arange(len(some)), picked]]
        return drawn

    def draw_new(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], rng: np.random.Generator
    ) -> Int[np.ndarray, " some"]:
        """Draws a new content for each listener; any content where none is new."""
        candidates, log_weight = self.candidates(state.space, rng)
        drawn = np.zeros(len(rows), int)
        for begin in range(0, len(rows), _BLOCK):
            some = rows[begin : begin + _BLOCK]
            may_come = ~knows(state, some)[:, candidates]
            may_come &= state.space.released_us[candidates] <= state.now_us[some, None]
            may_come[~may_come.any(axis=1)] = True
            utility = self.new_utility(state, some, candidates) + log_weight
            drawn[begin : begin + _BLOCK] = candidates[_drawn(utility, may_come, rng)]
        return drawn

    def known_utility(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], place: Integer[np.ndarray, "some met"]
    ) -> Float[np.ndarray, "some met"]:
        """Returns the utility of known contents, by their places in the memory: `known_features` times weights."""
        return self._known_utility(state, rows, place, directions_of(state, rows))

    def new_utility(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "..."]
    ) -> Float[np.ndarray, "some many"]:
        """Returns the utility of new contents, `[many]` or `[some, many]`: `new_features` times weights."""
        return self._new_utility(state, rows, content, directions_of(state, rows))

    def _known_utility(
        self, state: ListenerState, rows: np.ndarray, place: np.ndarray, directions: np.ndarray
    ) -> Float[np.ndarray, "some met"]:
        return _utility(of_known(state, rows, place, directions), OF_KNOWN, self.known, state, rows)

    def _new_utility(
        self, state: ListenerState, rows: np.ndarray, content: np.ndarray, directions: np.ndarray
    ) -> Float[np.ndarray, "some many"]:
        return _utility(of_new(state, rows, content, directions), OF_NEW, self.new, state, rows)

    def attraction(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        content: Integer[np.ndarray, "some many"],
        trait: Float[np.ndarray, " some"],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "some many"]:
        """Returns the log-likelihood of each content in its listener's own choice, relative to an average content.

        It is the chance of the content by `repeats` and by the choice among known or new contents, times the number of
        playable contents. The normalisers of those choices are estimated from a few drawn contents.

        Args:
            state: state of the listeners.
            rows: rows of the listeners.
            content: contents of each listener.
            trait: trait of `repeat` of each listener.
            rng: generator of the draws.
        """
        offered, log_weight = replace(self, max_candidates=_DRAWN_NEW).candidates(state.space, rng)
        found = np.empty(content.shape, np.float32)
        for begin in range(0, len(rows), _BLOCK):
            at = slice(begin, begin + _BLOCK)
            found[at] = self._attraction(state, rows[at], content[at], trait[at], offered, log_weight, rng)
        return found

    def _attraction(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        content: Integer[np.ndarray, "some many"],
        trait: Float[np.ndarray, " some"],
        offered: Int[np.ndarray, " offered"],
        log_weight: Float[np.ndarray, " offered"],
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "some many"]:
        many, met, directions = content.shape[1], state.memory.met[rows], directions_of(state, rows)
        repeats = self.repeats(state, rows, trait)
        drawn = state.memory.order[rows[:, None], (rng.random((len(rows), _DRAWN_KNOWN)) * met[:, None]).astype(int)]
        place = state.memory.places_of(rows, content)
        places = np.concatenate([np.maximum(place, 0), drawn], axis=1)
        known = self._known_utility(state, rows, places, directions)
        chances = np.maximum(np.stack([repeats, 1.0 - repeats]), 1e-9)
        of_known = np.log(chances[0] * state.space.is_playable.sum() / np.maximum(met, 1)) - _log_mean(known[:, many:])
        of_new = np.log(chances[1]) + _log_mean(log_weight[None])
        of_new -= _log_mean(self._new_utility(state, rows, offered, directions) + log_weight)
        new = self._new_utility(state, rows, content, directions)
        return np.where(place >= 0, known[:, :many] + of_known[:, None], new + of_new[:, None])

    def candidates(
        self, space: Space, rng: np.random.Generator
    ) -> tuple[Int[np.ndarray, " candidates"], Float[np.ndarray, " candidates"]]:
        """Returns all playable contents, or a sample favouring popular ones, with log-weights that correct for it."""
        playable = np.flatnonzero(space.is_playable)
        if len(playable) <= self.max_candidates:
            return playable, np.zeros(len(playable), np.float32)
        keys = 0.5 * space.log_popularity[playable] + rng.gumbel(size=len(playable))
        drawn = playable[np.argpartition(-keys, self.max_candidates)[: self.max_candidates]]
        return drawn, -0.5 * space.log_popularity[drawn]

    def facts(self) -> dict[str, Any]:
        """Returns the parameters by name, for a file."""
        return {"repeat": self.repeat.facts()} | {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "Choosing":
        """Rebuilds the models from the result of `facts`."""
        return cls(repeat=MixedLogistic(**facts["repeat"]), **{name: facts[name] for name in _PLAIN})


_PLAIN: Final = ("known", "new", "num_contexts", "max_candidates")


def fit_choice(
    read: Float[np.ndarray, "choices offered features"],
    may_come: Bool[np.ndarray, "choices offered"],
    weights: Float[np.ndarray, " choices"],
) -> Float[np.ndarray, " features"]:
    """Fits weights of a conditional logit by maximum likelihood, with a ridge negligible for thousands of choices.

    Args:
        read: features of the offered contents; the first one was chosen.
        may_come: false for empty places.
        weights: weight of each choice.
    """
    scale = np.maximum(read[may_come].std(axis=0, dtype=float), 1e-3)
    rows = (read / scale).astype(np.float32)
    found = np.zeros(read.shape[-1])
    chance = _chances(rows, found, may_come)
    likelihood = _likelihood(chance, weights, found)
    for _ in range(_NEWTON_STEPS):
        expected = np.einsum("mk,mkf->mf", chance, rows)
        gradient = weights @ (rows[:, 0] - expected) - _RIDGE * found
        weighed = (rows * np.sqrt(chance * weights[:, None])[..., None].astype(np.float32)).reshape(-1, rows.shape[-1])
        outer = weighed.T @ weighed - (expected * weights[:, None]).T @ expected
        step = np.linalg.solve(outer + _RIDGE * np.eye(len(found)), gradient)
        # A whole step may overshoot where choices are nearly certain; it is halved until the likelihood grows.
        for _ in range(_HALVINGS):
            chance = _chances(rows, found + step, may_come)
            if (reached := _likelihood(chance, weights, found + step)) > likelihood:
                break
            step = step / 2.0
        else:
            break
        found, gained, likelihood = found + step, reached - likelihood, reached
        if gained < 1e-3:
            break
    return found / scale


def _likelihood(chance: np.ndarray, weights: np.ndarray, found: np.ndarray) -> float:
    return float(weights @ np.log(chance[:, 0] + 1e-30)) - 0.5 * _RIDGE * float(found @ found)


def _chances(rows: np.ndarray, found: np.ndarray, may_come: np.ndarray) -> Float[np.ndarray, "choices offered"]:
    utility = np.where(may_come, rows @ found.astype(np.float32), -np.inf)
    chance = np.exp(utility - utility.max(axis=1, keepdims=True))
    return chance / chance.sum(axis=1, keepdims=True)


def _utility(
    found: dict[str, np.ndarray],
    names: tuple[str, ...],
    weights: Float[np.ndarray, "2 features"],
    state: ListenerState,
    rows: Integer[np.ndarray, " some"],
) -> Float[np.ndarray, "some many"]:
    """Returns the result of `_stacked` times the weights, float32, without the many columns that are 0."""
    of_row = weights.astype(np.float32)[(state.position[rows] > 0).astype(int)]
    plain = len(names) - BY_CONTEXT
    num_contexts = (of_row.shape[1] - plain) // BY_CONTEXT
    total = np.zeros_like(found[names[0]], np.float32)
    for place, name in enumerate(names):
        column = place if place < plain else plain + (place - plain) * num_contexts + state.context[rows]
        total += of_row[np.arange(len(rows)), column][:, None] * found[name].astype(np.float32, copy=False)
    return total


def _log_mean(utility: Float[np.ndarray, "some many"]) -> Float[np.ndarray, " some"]:
    """Returns the logarithm of the mean of the exponentials of utilities."""
    top = utility.max(axis=-1, keepdims=True)
    return np.log(np.exp(utility - top).mean(axis=-1)) + top[..., 0]


def _drawn(utility: np.ndarray, may_come: np.ndarray, rng: np.random.Generator) -> Int[np.ndarray, " some"]:
    """Draws one column of each row, by a softmax of its utilities."""
    utility = np.where(may_come, utility, -np.inf)
    cumulative = np.exp(utility - utility.max(axis=1, keepdims=True)).cumsum(axis=1, dtype=float)
    return (cumulative <= rng.random((len(utility), 1)) * cumulative[:, -1:]).sum(axis=1)
