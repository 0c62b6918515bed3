"""Listeners of a planted world, who come, choose, react, leave and come back by their hidden tastes."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.listeners.logistic import sigmoid
from towers.simulation.listeners.replay import PLACES
from towers.simulation.listeners.response import Reaction
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import FINISH, FINISHED, PARTIAL, SKIP, SessionLog
from towers.simulation.listeners.space import Space
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
from towers.simulation.planted.returns import LOSS, SESSIONS_A_DAY, ByHazard, ByWeibull, Returns, next_scores
from towers.simulation.planted.world import START_US, PlantedWorld

CONTEXTS: Final = ("home", "search", "radio")
_CONTEXT_PRIOR: Final = np.array([3.0, 1.5, 1.5])
_REPEATS: Final = np.array([-0.3, 0.2, -1.5])
"""Log-odds of a known content as the next one, by context."""
_LEAVES, _LEAVES_A_SKIP = -2.1, 0.3
_SPREADS: Final = {"skip": 0.5, "leave": 0.4, "repeat": 0.6}
"""Standard deviations of listeners' traits, in log-odds."""
_MAX_MISMATCH: Final = 6.0
_FINISHES: Final = 2.0
_UNRELEASED: Final = 1e30
_RETURNS: Final[dict[str, Returns]] = {
    "hazard": ByHazard(), "weibull": ByWeibull(), "satisfaction": ByHazard(loss=LOSS),
}  # fmt: skip


class PlantedListeners:
    """Listeners that act by the true parameters of a planted world, with the interface of fitted `Listeners`.

    Args:
        world: world with contents, tastes and planted parameters.
        seed: seed of all random draws; tastes and traits are the world's.
        number: number of listeners; None: as many as the world's audience.
    """

    def __init__(self, world: PlantedWorld, seed: int, number: int | None = None):
        self.world, self.rng = world, np.random.default_rng([seed, 34])
        self.who = np.arange(len(world.audience) if number is None else number) % len(world.audience)
        shape = len(self.who), len(world.space)
        self.state = ListenerState(world.space, shape[0], Drift(recovery_hours=world.plant.recovery_hours), PLACES)
        # Signing up counts as a session without a play, after which they come back.
        self.state.sessions[:] = 1
        self.state.ended_us[:] = START_US + world.audience.join_days[self.who] * DAY_US
        self.heard = np.zeros(shape, np.int16)
        self.scores = np.zeros(shape[0])
        self._habits = Habits.of(world)
        self._affinity = np.zeros(shape, np.float32)
        self._good_match = np.zeros(shape[0], np.float32)
        # A softmax over utilities is drawn as the least of exponential draws, each times exp(-utility).
        self._price = np.ones(shape, np.float32)
        self._source: PlantedListeners | None = None
        self._among = np.arange(len(self.who))

    @classmethod
    def drawn(
        cls,
        source: "PlantedListeners",
        number: int,
        seed: int,
        space: Space | None = None,
        among: Integer[np.ndarray, " some"] | None = None,
    ) -> "PlantedListeners":
        """Draws listeners from `source`, which stays unchanged; `renew` replaces them by others of it.

        Args:
            source: listeners after the world's period.
            number: number of listeners, with repeats where the source has fewer.
            seed: seed of all random draws.
            space: the same contents with the plays counted by a service, for serving policies; listeners do not read
                them.
            among: rows of the source that may be drawn; null: all.
        """
        listeners = cls(source.world, seed, number)
        listeners._among = np.arange(len(source.who)) if among is None else among
        listeners.state.space = space or listeners.state.space
        listeners._source = source
        listeners.renew(np.arange(number))
        return listeners

    def renew(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Replaces rows by others of the source, without repeats where it is large enough; no source: does nothing."""
        if (source := self._source) is None:
            return
        number, there = len(rows), len(self._among)
        taken = self.rng.permutation(there)[:number] if number <= there else self.rng.integers(there, size=number)
        taken = self._among[taken]
        self.state.take(rows, source.state, taken)
        for name in _ARRAYS:
            getattr(self, name)[rows] = getattr(source, name)[taken]

    def next_session_us(
        self, rows: Integer[np.ndarray, " some"], after_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, " some"]:
        """Returns the start of each listener's next session, later than `after_us`; the largest integer for never."""
        self.scores[rows] = next_scores(self.scores[rows], self.rng)
        pace, share = self._habits.pace[self.who[rows]], self.state.skip_share(rows)
        return _RETURNS[self.world.plant.returns].draw(
            pace, self.scores[rows], share, self.state.ended_us[rows], after_us, self.rng
        )

    def begin(self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]) -> None:
        """Begins a session of each listener, in a context and on a device drawn by habit."""
        who = self.who[rows]
        context, device = (self._drawn(shares[who]) for shares in (self._habits.contexts, self._habits.devices))
        self.state.begin_session(rows, time_us, context, device)
        affinity = self.world.affinity(who, time_us)
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
        """Returns the content of each listener's own choice."""
        heard = self.heard[rows]
        repeats = self.rng.random(len(rows)) < self._repeats(rows)
        price = self.rng.standard_exponential(heard.shape, np.float32) * self._price[rows] / np.maximum(heard, 1)
        return np.where((heard > 0) == repeats[:, None], price, np.inf).argmin(axis=1)

    def attraction(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
    ) -> Float[np.ndarray, "some many"]:
        """Returns the log-weight of each content in its listener's own choice, relative to an average content."""
        heard = self.heard[rows]
        weight, is_known = np.maximum(heard, 1) / self._price[rows], heard > 0
        repeats = self._repeats(rows)[:, None]
        of_known = repeats / np.maximum((weight * is_known).sum(axis=1, keepdims=True), 1e-30)
        of_new = (1.0 - repeats) / np.maximum((weight * ~is_known).sum(axis=1, keepdims=True), 1e-30)
        chance = np.take_along_axis(weight * np.where(is_known, of_known, of_new), content, axis=1)
        return np.log(np.maximum(chance, 1e-30)) + np.log(heard.shape[1])

    def _repeats(self, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Returns the chance that a listener's own choice is a known content."""
        trait = self._habits.traits["repeat"][self.who[rows]]
        knows = (self.heard[rows] > 0).any(axis=1)
        return np.where(knows, sigmoid(_REPEATS[self.state.context[rows]] + trait), 0.0)

    def react(self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, " some"]) -> Reaction:
        """Returns each listener's reaction to a content that plays now; moves the state to the play's end."""
        rng, number = self.rng, len(rows)
        mismatch = np.clip(self._good_match[rows] - self._affinity[rows, content], None, _MAX_MISMATCH)
        is_skip = rng.random(number) < self.skip_chance(rows, content[:, None])[:, 0]
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

    def sessions_a_day(self, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Returns each listener's true long-run number of sessions a day."""
        return SESSIONS_A_DAY * self._habits.pace[self.who[rows]]

    def skip_chance(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
    ) -> Float[np.ndarray, "some many"]:
        """Returns the true chance that each listener would skip each content if it played now."""
        affinity = np.take_along_axis(self._affinity[rows], content, axis=1)
        mismatch = np.clip(self._good_match[rows, None] - affinity, None, _MAX_MISMATCH)
        known = SKIP_WHEN_KNOWN * (np.take_along_axis(self.heard[rows], content, axis=1) > 0)
        trait = self._habits.traits["skip"][self.who[rows], None]
        usual = SKIP_AT_GOOD_MATCH + SKIP_PER_MISMATCH * mismatch + known + trait
        return sigmoid(usual + self.world.plant.satiation * self.state.satiation_of(rows, content))

    def leave(self, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Returns whether each listener ends the session after the play that just ended."""
        skips = np.minimum(self.state.streak[rows], 5)
        log_odds = _LEAVES + _LEAVES_A_SKIP * skips + self._habits.traits["leave"][self.who[rows]]
        return self.rng.random(len(rows)) < sigmoid(log_odds)

    def go_on(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Moves the clock over the pause before the next play."""
        pause_us = 1e6 * (0.5 + self.rng.exponential(2.0, len(rows)))
        self.state.at(rows, self.state.ended_us[rows] + pause_us.astype(np.int64))

    def _drawn(self, cumulative: Float[np.ndarray, "some codes"]) -> Int[np.ndarray, " some"]:
        return (self.rng.random((len(cumulative), 1)) > cumulative[:, :-1]).sum(axis=1)

    def arrays(self) -> dict[str, Any]:
        """Returns all state, for `restore`."""
        own = {name: getattr(self, name).copy() for name in _ARRAYS}
        state = {name: value.copy() for name, value in self.state.arrays().items()}
        return own | {"state": state, "rng": self.rng.bit_generator.state}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        for name in _ARRAYS:
            getattr(self, name)[:] = arrays[name]
        self.state.restore(arrays["state"])
        self.rng.bit_generator.state = arrays["rng"]


_ARRAYS: Final = ("who", "heard", "scores", "_affinity", "_good_match", "_price")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Constants of each listener besides tastes.

    Args:
        traits: traits by name, in log-odds.
        contexts: `[listeners, contexts]`, cumulated chances.
        devices: `[listeners, devices]`, cumulated chances.
        pace: `[listeners]`, relative frequency of sessions, mean 1.
    """

    traits: dict[str, Float[np.ndarray, " listeners"]]
    contexts: Float[np.ndarray, "listeners contexts"]
    devices: Float[np.ndarray, "listeners devices"]
    pace: Float[np.ndarray, " listeners"]

    @classmethod
    def of(cls, world: PlantedWorld) -> "Habits":
        """Draws the habits of a world's audience with the world's seed."""
        rng, number = np.random.default_rng([world.plant.seed, 33]), len(world.audience)
        shares = np.full((number, len(DEVICES)), (1.0 - MAIN_DEVICE_SHARE) / len(DEVICES))
        shares[np.arange(number), rng.integers(len(DEVICES), size=number)] += MAIN_DEVICE_SHARE
        return cls(
            traits={name: rng.normal(0.0, spread, number) for name, spread in _SPREADS.items()},
            contexts=rng.dirichlet(_CONTEXT_PRIOR, number).cumsum(axis=1), devices=shares.cumsum(axis=1),
            pace=world.audience.activity / world.audience.activity.mean(),
        )  # fmt: skip


def planted_log(world: PlantedWorld, seed: int = 0) -> tuple[SessionLog, PlantedListeners]:
    """Simulates a planted world to the end of its period; returns the plays and the listeners at the end.

    Args:
        world: planted world.
        seed: seed of all random draws besides the world's own.
    """
    listeners = PlantedListeners(world, seed)
    log = lived(listeners, START_US, world.end_us, tuple(world.audience.user_ids), CONTEXTS, DEVICES)
    return log, listeners
