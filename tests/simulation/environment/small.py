"""A small simulator: fitted to an invented log of listeners who like one of four regions each."""

from dataclasses import replace
from functools import cache

import numpy as np

from towers.contract.durations import DAY_US
from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.live import Population, population_of
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import FINISH, PARTIAL, SKIP, SessionLog
from towers.simulation.listeners.space import Space

REGIONS, CONTENTS, LISTENERS, SESSIONS, PLAYS = 4, 80, 40, 10, 6
UNTIL_US = 20_000 * DAY_US


def space() -> Space:
    """Returns contents of four regions, and one that cannot be played."""
    rng = np.random.default_rng(0)
    region = np.arange(CONTENTS) % REGIONS
    vectors = np.eye(8)[region] + 0.4 * rng.normal(size=(CONTENTS, 8))
    released_us = np.full(CONTENTS, UNTIL_US - 400 * DAY_US)
    # Two came lately, and one comes after the end of the log.
    released_us[-4:-1] = UNTIL_US + np.array([-3, -2, 300]) * DAY_US
    return Space(
        space_id="invented", content_ids=[f"c{row}" for row in range(CONTENTS)],
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        region=region, region_names=tuple("abcd"), artist=np.arange(CONTENTS) // 4,
        duration_ms=np.full(CONTENTS, 200_000.0), released_us=released_us, kind=np.zeros(CONTENTS, int),
        kinds=("track",), is_playable=np.arange(CONTENTS) < CONTENTS - 1, plays=np.zeros(CONTENTS),
    )  # fmt: skip


def log() -> SessionLog:
    """Returns a log of listeners who mostly play their region, and skip more of the others."""
    rng, number = np.random.default_rng(1), LISTENERS * SESSIONS * PLAYS
    listener = np.repeat(np.arange(LISTENERS), SESSIONS * PLAYS)
    session = np.repeat(np.arange(LISTENERS * SESSIONS), PLAYS)
    own = listener % REGIONS
    region = np.where(rng.random(number) < 0.7, own, rng.integers(REGIONS, size=number))
    content = region + REGIONS * (rng.random(number) ** 2 * 18).astype(int)
    is_skip = rng.random(number) < np.where(region == own, 0.2, 0.6)
    outcome = np.where(is_skip, SKIP, np.where(rng.random(number) < 0.9, FINISH, PARTIAL)).astype(np.int8)
    begins_us = UNTIL_US - 40 * DAY_US + np.sort(rng.integers(38 * DAY_US, size=(LISTENERS, SESSIONS)), axis=1)
    place = np.tile(np.arange(PLAYS), LISTENERS * SESSIONS)
    # Sessions of one play and more.
    kept = place < np.repeat(rng.integers(1, PLAYS + 1, LISTENERS * SESSIONS), PLAYS)
    made = SessionLog(
        user_ids=tuple(f"u{row}" for row in range(LISTENERS)), listener=listener, content=content,
        start_us=np.repeat(begins_us.ravel(), PLAYS) + place * 201_000_000, session=session, outcome=outcome,
        fraction=np.where(is_skip, 0.1, np.where(outcome == FINISH, 1.0, 0.5)).astype(np.float32),
        liked=~is_skip & (rng.random(number) < 0.1), saved=~is_skip & (rng.random(number) < 0.05),
        disliked=is_skip & (rng.random(number) < 0.05), context=session % 2, contexts=("home", "work"),
        device=session % 3 % 2, devices=("phone", "speaker"),
    )  # fmt: skip
    return made.taken(kept)


@cache
def simulator() -> Simulator:
    """Returns a simulator fitted to `log`."""
    settings = FitSettings(
        members=1,
        min_listeners=10,
        num_choices=500,
        slow_rates=(0.02,),
        fast_rates=(0.2,),
        drift_listeners=10,
        recovery_hours=(1.0, 1.001),
        free_rounds=0,
    )
    return fit(log(), space(), settings, UNTIL_US)


@cache
def population() -> Population:
    """Returns the listeners of `log`, as they are after it."""
    return population_of(simulator().central, simulator().space, log(), UNTIL_US)


def hidden(simulated: Simulator, by: float) -> Simulator:
    """Returns the same simulator with listeners who skip more and leave less, by so many log-odds."""
    central = simulated.central
    skip = central.response.chances["skip"]
    chances = central.response.chances | {"skip": replace(skip, bias=skip.bias + by)}
    leaving = replace(central.sessions.leaving, bias=central.sessions.leaving.bias - by)
    return replace(
        simulated,
        central=replace(
            central,
            response=replace(central.response, chances=chances),
            sessions=replace(central.sessions, leaving=leaving),
        ),
    )
