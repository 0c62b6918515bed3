"""Free-running simulation: from a time on listeners come, listen and leave without any real play in between."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

import numpy as np
from jaxtyping import Int, Integer

from towers.simulation.listeners.live import Acting, Listeners, population_of
from towers.simulation.listeners.model import ListenerModel
from towers.simulation.listeners.session_log import COLUMNS, SessionLog, joined
from towers.simulation.listeners.space import Space

Choose = Callable[[Integer[np.ndarray, " some"]], Int[np.ndarray, " some"]]
"""Function that chooses what listeners, each in a session, play now: rows of listeners to rows of contents."""
MAX_PLAYS = 200
"""Number of plays after which a session ends in any case."""


def listen(model: ListenerModel, space: Space, before: SessionLog, begin_us: int, end_us: int, seed: int) -> SessionLog:
    """Simulates what the listeners of a log do from a time on.

    Args:
        model: model of the listeners.
        space: space of the contents, with the plays of the fit.
        before: earlier plays, all before `begin_us`; rows of listeners stay the same.
        begin_us: start of the simulation, microseconds.
        end_us: time before which simulated sessions begin.
        seed: seed of all random draws.
    """
    population = population_of(model, space, before, begin_us)
    listeners = Listeners(model, population, seed)
    return lived(listeners, begin_us, end_us, before.user_ids, before.contexts, before.devices)


def lived(
    listeners: Acting,
    begin_us: int,
    end_us: int,
    user_ids: tuple[str, ...],
    contexts: tuple[str, ...],
    devices: tuple[str, ...],
    choose: Choose | None = None,
) -> SessionLog:
    """Simulates the plays of listeners between two times.

    Listeners do not wait for each other: a step takes each through one play at its own time.

    Args:
        listeners: acting listeners; those without a session so far never come.
        begin_us: start of the simulation.
        end_us: time before which sessions begin.
        user_ids: ids of the listeners.
        contexts: names of the codes of contexts.
        devices: names of the codes of devices.
        choose: chooses what they play; null: their own choice.
    """
    choose = choose or listeners.choose
    state, number = listeners.state, len(listeners.state)
    everybody = np.flatnonzero(state.sessions > 0)
    start_us = np.full(number, np.iinfo(np.int64).max)
    start_us[everybody] = listeners.next_session_us(everybody, np.full(len(everybody), begin_us))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    rows = everybody[start_us[everybody] < end_us]
    is_new = np.ones(len(rows), bool)
    while len(rows):
        new = rows[is_new]
        listeners.begin(new, start_us[new])
        listeners.go_on(rows[~is_new])
        content, at_us = choose(rows), state.now_us[rows].copy()
        reaction = listeners.react(rows, content)
        pieces = asdict(reaction) | {
            "listener": rows, "content": content, "start_us": at_us, "session": state.sessions[rows],
            "context": state.context[rows], "device": state.device[rows],
        }  # fmt: skip
        for name in COLUMNS:
            parts[name].append(pieces[name])
        leaves = listeners.leave(rows) | (state.position[rows] >= MAX_PLAYS)
        gone = rows[leaves]
        start_us[gone] = listeners.next_session_us(gone, state.ended_us[gone])
        stays = ~leaves | (start_us[rows] < end_us)
        rows, is_new = rows[stays], leaves[stays]
    if not parts["listener"]:
        parts = {name: [np.zeros(0, _TYPES.get(name, np.int64))] for name in COLUMNS}
    return joined(parts, user_ids, contexts, devices)


_TYPES: Final = {"outcome": np.int8, "fraction": np.float32, "liked": bool, "saved": bool, "disliked": bool}
