"""Simulated listeners that live by a fitted model: they come, choose, react, leave and come back."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.simulation.listeners import sessions
from towers.simulation.listeners.model import ListenerModel
from towers.simulation.listeners.replay import PLACES, record
from towers.simulation.listeners.response import TRAITS, Reaction
from towers.simulation.listeners.returning import gaps_of
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import ListenerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Listeners at one time: their states, and the posteriors of their traits given their plays.

    Args:
        state: state after their last plays.
        modes: posterior mode of each trait for each listener, by name.
        deviations: posterior standard deviation of each trait, by name.
        pace_shape: `[listeners]`, shape of the gamma posterior of each listener's pace.
        pace_rate: `[listeners]`, rate of that posterior.
        contexts: `[listeners, contexts]`, sessions in each context.
        devices: `[listeners, devices]`, sessions on each device.
        user_ids: raw ids.
        context_names: names of contexts, by code.
        device_names: names of devices, by code.
    """

    state: ListenerState
    modes: dict[str, Float[np.ndarray, " listeners"]]
    deviations: dict[str, Float[np.ndarray, " listeners"]]
    pace_shape: Float[np.ndarray, " listeners"]
    pace_rate: Float[np.ndarray, " listeners"]
    contexts: Float[np.ndarray, "listeners contexts"]
    devices: Float[np.ndarray, "listeners devices"]
    user_ids: tuple[str, ...]
    context_names: tuple[str, ...]
    device_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user_ids)

    def drawn(self, rows: Integer[np.ndarray, " drawn"]) -> "Population":
        """Returns the listeners in some rows, possibly repeated, each with a state of its own."""
        state = ListenerState(self.state.space, len(rows), self.state.drift, self.state.memory.content.shape[1])
        state.take(np.arange(len(rows)), self.state, rows)
        return replace(
            self, state=state, modes={name: mode[rows] for name, mode in self.modes.items()},
            deviations={name: deviation[rows] for name, deviation in self.deviations.items()},
            pace_shape=self.pace_shape[rows], pace_rate=self.pace_rate[rows], contexts=self.contexts[rows],
            devices=self.devices[rows], user_ids=tuple(self.user_ids[row] for row in rows),
        )  # fmt: skip


def new_population(
    model: ListenerModel, space: Space, contexts: tuple[str, ...], devices: tuple[str, ...], number: int, at_us: int
) -> Population:
    """Returns listeners without plays: empty memories, and traits of the population that the model was fitted to.

    Args:
        model: fitted model.
        space: space of the contents, with the plays of the fit.
        contexts: names of the codes of contexts.
        devices: names of the codes of devices.
        number: number of listeners.
        at_us: arrival, microseconds: first sessions follow as if one had just ended.
    """
    state = ListenerState(space, number, model.drift, PLACES)
    state.now_us[:], state.ended_us[:] = at_us, at_us
    spreads = {name: chance.spread for name, chance in model.response.chances.items()}
    spreads |= {"leave": model.sessions.leaving.spread, "repeat": model.choosing.repeat.spread}
    shape = np.full(number, model.returning.shape, float)
    return Population(
        state=state, modes={name: np.zeros(number) for name in spreads},
        deviations={name: np.full(number, spread) for name, spread in spreads.items()}, pace_shape=shape,
        pace_rate=shape.copy(), contexts=np.zeros((number, len(contexts))), devices=np.zeros((number, len(devices))),
        user_ids=tuple(f"new-{row}" for row in range(number)), context_names=contexts, device_names=devices,
    )  # fmt: skip


def population_of(model: ListenerModel, space: Space, log: SessionLog, until_us: int) -> Population:
    """Returns the listeners of a log after their plays; one without plays is new, with the population's traits.

    Args:
        model: fitted model, possibly fitted to other listeners.
        space: space of the contents, with the plays of the fit.
        log: plays of the listeners, all before `until_us`.
        until_us: present time, microseconds.
    """
    seen = record(log, space, model.drift)
    number = len(log.user_ids)
    found = model.response.traits_of(log, space, seen.of_content, seen.of_moment)
    is_last = np.append(log.session[1:] != log.session[:-1], True)
    found["leave"] = model.sessions.leaving.traits(seen.leave, is_last, log.listener, number)
    found["repeat"] = model.choosing.repeat.traits(seen.repeat, seen.is_repeat, log.listener, number)
    listener, ended, until, came_back, skip_share = gaps_of(log, seen.ended_us, until_us)
    exposure = model.returning.exposure_of(ended, until) * model.returning.keenness(skip_share)
    exposure = np.bincount(listener, exposure, number)
    shape, rate = model.returning.posterior(np.bincount(listener, came_back, number), exposure)
    begins = log.session_begins
    return Population(
        state=seen.state, modes={name: mode for name, (mode, _) in found.items()},
        deviations={name: deviation for name, (_, deviation) in found.items()}, pace_shape=shape, pace_rate=rate,
        contexts=sessions.counts_of(log.listener[begins], log.context[begins], log, len(log.contexts)),
        devices=sessions.counts_of(log.listener[begins], log.device[begins], log, len(log.devices)),
        user_ids=log.user_ids, context_names=log.contexts, device_names=log.devices,
    )  # fmt: skip


@runtime_checkable
class Acting(Protocol):
    """Acting listeners of any kind; see `Listeners` for the methods."""

    state: ListenerState

    def next_session_us(
        self, rows: Integer[np.ndarray, " some"], after_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, " some"]:
        """Returns the start of each listener's next session, later than `after_us`; the largest integer for never."""
        ...

    def begin(self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]) -> None:
        """Begins a session of each listener."""
        ...

    def choose(self, rows: Integer[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Returns the content of each listener's own choice."""
        ...

    def react(self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, " some"]) -> Reaction:
        """Returns each listener's reaction to a content that plays now; moves the state to the play's end."""
        ...

    def leave(self, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Returns whether each listener ends the session after the play that just ended."""
        ...

    def go_on(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Moves the clock over the pause before the next play."""
        ...

    def arrays(self) -> dict[str, Any]:
        """Returns all state, for `restore`."""
        ...

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        ...


class Listeners:
    """Listeners that act by a fitted model.

    Args:
        model: model of their behaviour.
        population: present listeners; their state is changed in place.
        seed: seed of all random draws, traits included.
    """

    def __init__(self, model: ListenerModel, population: Population, seed: int):
        self.model, self.state = model, population.state
        self.rng = np.random.default_rng(seed)
        self.state.space = self.state.space.drawn(self.rng)
        self.traits = {
            name: self.rng.normal(mode, population.deviations[name]) for name, mode in population.modes.items()
        }
        self.pace = self.rng.gamma(population.pace_shape) / population.pace_rate
        self._contexts = model.sessions.contexts.of_counts(population.contexts).cumsum(axis=1)
        self._devices = model.sessions.devices.of_counts(population.devices).cumsum(axis=1)
        self.who = np.arange(len(population))
        """Row of each listener in the population that it was drawn from."""
        self._source = population

    @classmethod
    def drawn(cls, model: ListenerModel, population: Population, number: int, seed: int) -> "Listeners":
        """Draws listeners from a population, which stays unchanged; `renew` replaces them by others of it."""
        listeners = cls(model, population.drawn(np.arange(number) % len(population)), seed)
        listeners._source = population
        listeners.renew(np.arange(number))
        return listeners

    def renew(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Replaces the listeners in some rows by others of the population, without repeats where it is large enough."""
        source, rng = self._source, self.rng
        number, there = len(rows), len(source)
        who = rng.permutation(there)[:number] if number <= there else rng.integers(there, size=number)
        self.who[rows] = who
        self.state.take(rows, source.state, who)
        for name, mode in source.modes.items():
            self.traits[name][rows] = rng.normal(mode[who], source.deviations[name][who])
        self.pace[rows] = rng.gamma(source.pace_shape[who]) / source.pace_rate[who]
        habits = self.model.sessions
        self._contexts[rows] = habits.contexts.of_counts(source.contexts[who]).cumsum(axis=1)
        self._devices[rows] = habits.devices.of_counts(source.devices[who]).cumsum(axis=1)

    def next_session_us(
        self, rows: Integer[np.ndarray, " some"], after_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, " some"]:
        """Returns the start of each listener's next session, later than `after_us`; the largest integer for never."""
        returning, state = self.model.returning, self.state
        # Before their first play listeners are neither satisfied nor dissatisfied.
        keenness = np.where(state.plays[rows] > 0, returning.keenness(state.skip_share(rows)), 1.0)
        return returning.draw(self.pace[rows] * keenness, state.ended_us[rows], after_us, self.rng)

    def begin(self, rows: Integer[np.ndarray, " some"], time_us: Integer[np.ndarray, " some"]) -> None:
        """Begins a session of each listener, in a context and on a device drawn by habit."""
        context, device = (self._drawn(chances[rows]) for chances in (self._contexts, self._devices))
        self.state.begin_session(rows, time_us, context, device)

    def choose(self, rows: Integer[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
        """Returns the content of each listener's own choice."""
        choosing, state = self.model.choosing, self.state
        content = np.zeros(len(rows), int)
        repeats = self.rng.random(len(rows)) < choosing.repeats(state, rows, self.traits["repeat"][rows])
        if repeats.any():
            content[repeats] = choosing.draw_known(state, rows[repeats], self.rng)
        if not repeats.all():
            content[~repeats] = choosing.draw_new(state, rows[~repeats], self.rng)
        return content

    def attraction(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
    ) -> Float[np.ndarray, "some many"]:
        """Returns the log-weight of each content in its listener's own choice, relative to an average content; see
        `Choosing.attraction`."""
        return self.model.choosing.attraction(self.state, rows, content, self.traits["repeat"][rows], self.rng)

    def sessions_a_day(self, rows: Integer[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """Returns each listener's true long-run number of sessions a day."""
        return self.model.returning.sessions_a_day(self.pace[rows])

    def skip_chance(
        self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, "some many"]
    ) -> Float[np.ndarray, "some many"]:
        """Returns the true chance that each listener would skip each content if it played now."""
        response = self.model.response
        return response.skip_chance(response.of_plays(self.state, rows, content), self.traits["skip"][rows, None])

    def react(self, rows: Integer[np.ndarray, " some"], content: Integer[np.ndarray, " some"]) -> Reaction:
        """Returns each listener's reaction to a content that plays now; moves the state to the play's end."""
        response = self.model.response
        read = response.of_plays(self.state, rows, content[:, None])[:, 0]
        traits = {name: self.traits[name][rows] for name in TRAITS}
        reaction = response.draw(read, self.state.space, content, traits, self.rng)
        self.state.play(rows, content, reaction.outcome, reaction.fraction)
        return reaction

    def leave(self, rows: Integer[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Returns whether each listener ends the session after the play that just ended."""
        read = sessions.leave_features(self.state, rows, len(self._contexts[0]))
        return self.rng.random(len(rows)) < self.model.sessions.leaving.chance(read, self.traits["leave"][rows])

    def go_on(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Moves the clock over the pause before the next play."""
        self.state.at(rows, self.state.ended_us[rows] + self.model.sessions.draw_pause_us(len(rows), self.rng))

    def _drawn(self, cumulative: Float[np.ndarray, "some codes"]) -> Int[np.ndarray, " some"]:
        drawn = self.rng.random((len(cumulative), 1)) * cumulative[:, -1:]
        return (drawn > cumulative).sum(axis=1)

    def arrays(self) -> dict[str, Any]:
        """Returns all state, for `restore`."""
        return {"state": {name: value.copy() for name, value in self.state.arrays().items()},
                "traits": {name: value.copy() for name, value in self.traits.items()}, "pace": self.pace.copy(),
                "contexts": self._contexts.copy(), "devices": self._devices.copy(), "who": self.who.copy(),
                "log_popularity": self.state.space.log_popularity,
                "rng": self.rng.bit_generator.state}  # fmt: skip

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        self.state.restore(arrays["state"])
        self.state.space = self.state.space.with_log_popularity(arrays["log_popularity"])
        self.traits = {name: value.copy() for name, value in arrays["traits"].items()}
        self.pace = arrays["pace"].copy()
        self._contexts, self._devices = arrays["contexts"].copy(), arrays["devices"].copy()
        self.who = arrays["who"].copy()
        self.rng.bit_generator.state = arrays["rng"]
