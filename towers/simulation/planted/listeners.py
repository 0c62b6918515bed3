"""Listeners of a planted world: they come, choose, react, leave and come back by their hidden tastes."""

from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners.logistic import sigmoid
from towers.simulation.listeners.replay import PLACES
from towers.simulation.listeners.response import Reaction
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import FINISH, FINISHED, PARTIAL, SKIP, SessionLog
from towers.simulation.listeners.space import DAY_US
from towers.simulation.listeners.state import Drift, ListenerState
from towers.simulation.listening import (
    DEVICES,
    DISLIKE_SHARE,
    GOOD_MATCH_QUANTILE,
    LIKE_SHARE,
    MAIN_DEVICE_SHARE,
    NOVELTY,
    NOVELTY_DAYS,
    SAVE_SHARE,
    SKIP_AT_GOOD_MATCH,
    SKIP_PER_MISMATCH,
    SKIP_WHEN_KNOWN,
)
from towers.simulation.planted.returns import LOSS, ByHazard, ByWeibull, Returns
from towers.simulation.planted.world import START_US, PlantedWorld

CONTEXTS: Final = ("home", "search", "radio")
_CONTEXT_PRIOR: Final = np.array([3.0, 1.5, 1.5])
_REPEATS: Final = np.array([-0.3, 0.2, -1.5])
"""Log-odds of a known content as the next, by context."""
_LEAVES, _LEAVES_A_SKIP = -2.1, 0.3
_SPREADS: Final = {"skip": 0.5, "leave": 0.4, "repeat": 0.6}
"""Standard deviations of listeners' traits, in log-odds."""
_MAX_MISMATCH: Final = 6.0
_FINISHES: Final = 2.0
_UNRELEASED: Final = 1e30


class PlantedListeners:
    """Listeners who act by what is true; what they offer is what fitted `Listeners` offer.

    Args:
        world: contents, tastes and what is planted.
        seed: of all that is drawn; their tastes and traits are the world's.
    """

    def __init__(self, world: PlantedWorld, seed: int):
        plant, number = world.plant, len(world.audience)
        self.world, self.rng = world, np.random.default_rng([seed, 34])
        self.state = ListenerState(world.space, number, Drift(recovery_hours=plant.recovery_hours), PLACES)
        born = np.random.default_rng([plant.seed, 33])
        self.traits = {name: born.normal(0.0, spread, number) for name, spread in _SPREADS.items()}
        self._contexts = np.stack([born.dirichlet(_CONTEXT_PRIOR) for _ in range(number)]).cumsum(axis=1)
        main = born.integers(len(DEVICES), size=number)
        shares = np.full((number, len(DEVICES)), (1.0 - MAIN_DEVICE_SHARE) / len(DEVICES))
        shares[np.arange(number), main] += MAIN_DEVICE_SHARE
        self._devices = shares.cumsum(axis=1)
        self._returns = _returns(world)
        # To sign up counts as a session without a play, after which they come back.
        self.state.sessions[:] = 1
        self.state.ended_us[:] = START_US + world.audience.join_days * DAY_US
        self.heard = np.zeros((number, len(world.space)), np.int16)
        self._affinity = np.zeros((number, len(world.space)), np.float32)
        self._good_match = np.zeros(number, np.float32)
        # A choice by a softmax of utilities is the least of exponential draws, each times exp(-utility).
        self._price = np.zeros((number, len(world.space)), np.float32)

    def next_session_us(
        self, rows: Integer[np.ndarray, " some"], after_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, " some"]:
        """When each listener's next session begins, later than `after_us`; the largest number for never."""
        return self._returns.draw(rows, self.state.ended_us[rows], after_us, self.state.skip_share(rows), self.rng)

    def begin(self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]) -> None:
        """Listeners begin a session, in a context and on a device of their habit."""
        context, device = (self._drawn(shares[rows]) for shares in (self._contexts, self._devices))
        self.state.begin_session(rows, time_us, context, device)
        affinity = self.world.affinity(rows, time_us)
        self._affinity[rows] = affinity
        self._good_match[rows] = np.quantile(affinity, GOOD_MATCH_QUANTILE, axis=1)
        space = self.state.space
        age_days = (time_us[:, None] - space.released_us).astype(np.float32) / DAY_US
        shown = self.world.repertoire.log_popularity + np.log1p(
            NOVELTY * np.exp(-np.maximum(age_days, 0.0) / NOVELTY_DAYS)
        )
        price = np.exp(-np.clip(affinity + shown, -30.0, 30.0))
        self._price[rows] = np.where(age_days >= 0.0, price, _UNRELEASED)

    def choose(self, rows: Integer[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """What each listener puts on by their own choice."""
        heard = self.heard[rows]
        is_known = heard > 0
        log_odds = _REPEATS[self.state.context[rows]] + self.traits["repeat"][rows]
        repeats = (self.rng.random(len(rows)) < sigmoid(log_odds)) & is_known.any(axis=1)
        price = self.rng.standard_exponential(heard.shape, np.float32) * self._price[rows]
        price /= np.maximum(heard, 1)
        return np.where(is_known == repeats[:, None], price, np.inf).argmin(axis=1)

    def react(self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, " some"]) -> Reaction:
        """What each listener does with a content that plays now; their state moves on to its end."""
        rng, number = self.rng, len(rows)
        mismatch = np.clip(self._good_match[rows] - self._affinity[rows, content], None, _MAX_MISMATCH)
        is_skip = rng.random(number) < sigmoid(self.skip_log_odds(rows, content))
        is_finished = ~is_skip & (rng.random(number) < sigmoid(_FINISHES - 0.3 * mismatch))
        early = np.minimum(rng.exponential(0.08, number), 0.3)
        fraction = np.where(is_skip, early, np.where(is_finished, 1.0, rng.uniform(0.35, FINISHED, number)))
        fit, drawn = np.minimum(np.exp(-0.5 * mismatch), 2.0), rng.random((2, number))
        reaction = Reaction(
            outcome=np.where(is_skip, SKIP, np.where(is_finished, FINISH, PARTIAL)).astype(np.int8),
            fraction=fraction.astype(np.float32), liked=~is_skip & (drawn[0] < LIKE_SHARE * fit),
            saved=~is_skip & (drawn[1] < SAVE_SHARE * fit),
            disliked=is_skip & (drawn[0] < np.where(mismatch > 1.0, DISLIKE_SHARE, 0.0)),
        )  # fmt: skip
        self.state.play(rows, content, reaction.outcome, reaction.fraction)
        self.heard[rows, content] += 1
        return reaction

    def skip_log_odds(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, " some"]
    ) -> Float[np.ndarray, " some"]:
        """The true log-odds of a skip of a content that would play now."""
        mismatch = np.clip(self._good_match[rows] - self._affinity[rows, content], None, _MAX_MISMATCH)
        satiation = self.state.satiation_of(rows, content)
        known = SKIP_WHEN_KNOWN * (self.heard[rows, content] > 0)
        usual = SKIP_AT_GOOD_MATCH + SKIP_PER_MISMATCH * mismatch + known + self.traits["skip"][rows]
        return usual + self.world.plant.satiation * satiation

    def leave(self, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Whether each listener ends the session after the play that just ended."""
        skips = np.minimum(self.state.streak[rows], 5)
        log_odds = _LEAVES + _LEAVES_A_SKIP * skips + self.traits["leave"][rows]
        return self.rng.random(len(rows)) < sigmoid(log_odds)

    def go_on(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Lets the pause before the next play pass."""
        pause_us = 1e6 * (0.5 + self.rng.exponential(2.0, len(rows)))
        self.state.at(rows, self.state.ended_us[rows] + pause_us.astype(np.int64))

    def _drawn(self, cumulative: Float[np.ndarray, "some codes"]) -> Int[np.ndarray, " some"]:
        return (self.rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(axis=1)

    def arrays(self) -> dict[str, Any]:
        """All that changes, to be kept; `restore` takes it back."""
        own = {name: getattr(self, name).copy() for name in _ARRAYS}
        state = {name: value.copy() for name, value in self.state.arrays().items()}
        return own | {"state": state, "scores": self._returns.scores.copy(), "rng": self.rng.bit_generator.state}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Becomes what `arrays` says."""
        for name in _ARRAYS:
            getattr(self, name)[:] = arrays[name]
        self.state.restore(arrays["state"])
        self._returns.scores[:] = arrays["scores"]
        self.rng.bit_generator.state = arrays["rng"]


_ARRAYS: Final = ("heard", "_affinity", "_good_match", "_price")


def _returns(world: PlantedWorld) -> Returns:
    pace = world.audience.activity / world.audience.activity.mean()
    if world.plant.returns == "weibull":
        return ByWeibull(pace)
    return ByHazard(pace, LOSS if world.plant.returns == "satisfaction" else 0.0)


def planted_log(world: PlantedWorld, seed: int = 0) -> SessionLog:
    """What a planted world's listeners do from their first days to the end of its period.

    Args:
        world: who and what.
        seed: of what is drawn beside the world itself.
    """
    listeners = PlantedListeners(world, seed)
    return lived(listeners, START_US, world.end_us, tuple(world.audience.user_ids), CONTEXTS, DEVICES)
