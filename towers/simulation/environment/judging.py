"""Evaluates policies in simulated worlds by what listeners do: the parts of the reward and further figures.

Every policy meets the same listeners at the start of their episodes; later random draws differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped

from towers.contract.durations import DAY_US
from towers.simulation.environment.policies import ServingPolicy
from towers.simulation.environment.rewards import PARTS, RETURN_WEIGHTS, total
from towers.simulation.environment.serving import Turn, begun, region_counts, turns
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.state import ListenerState

FIGURES: Final = (
    *PARTS, "plays", "clicks", "slots", "tried_artists", "region_entropy", "shown_new_artists", "shown_popularity",
)  # fmt: skip
"""Figures of a listener's episode: the parts of the reward; plays; plays picked from a slate; slots shown; artists
unknown before the episode and streamed in it; entropy in bits of the regions of streams, with all contents of no region
as one, 0 without a stream; share of slots with an artist unknown before the episode; mean log-popularity of the
contents shown, 0 being an average content."""
BEFORE: Final = ("plays", "sessions_a_week", "main_region")
"""Facts about a listener at the start of an episode: plays; sessions a week since the first play; share of plays in the
region played most."""
BY_DAY: Final = ("active_days", "adopted_artists", "streams", "skips")
"""Parts of the reward that are also kept by day of the episode."""
_LEAST_WEEKS: Final = 1.0

Progress = Callable[[int, int], None]
"""Callback that gets the number of episodes done and the number in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Results of the listeners of one world under one policy.

    Rows of all seeds are concatenated: equal rows of two policies in the same world are the same listener with the same
    seed.

    Args:
        policy: name of the policy.
        world: name of the world.
        who: `[listeners]`, number of the person in the population; a person may occur with several seeds.
        figures: `[listeners]`, by the names of `FIGURES`.
        before: `[listeners]`, by the names of `BEFORE`.
        shown: `[listeners, regions]`, slots by region; the last column is for no region.
        streamed: `[listeners, regions]`, streams by region.
        by_day: `[listeners, days]`, by the names of `BY_DAY`.
    """

    policy: str
    world: str
    who: Int[np.ndarray, " listeners"]
    figures: Mapping[str, Float[np.ndarray, " listeners"]]
    before: Mapping[str, Float[np.ndarray, " listeners"]]
    shown: Float[np.ndarray, "listeners regions"]
    streamed: Float[np.ndarray, "listeners regions"]
    by_day: Mapping[str, Float[np.ndarray, "listeners days"]]

    def __len__(self) -> int:
        return len(self.who)

    def returns(self, weights: Mapping[str, float] = RETURN_WEIGHTS) -> Float[np.ndarray, " listeners"]:
        """Returns the return of each listener's episode: the long-term one, or with other weights of parts."""
        return total(self.figures, weights)


def judge(
    policies: Sequence[ServingPolicy],
    worlds: Mapping[str, ListeningWorld],
    seeds: Sequence[int],
    progress: Progress | None = None,
    processes: int = 1,
) -> list[Judged]:
    """Lets every policy serve all listeners of every world for an episode, once for each seed.

    Args:
        policies: policies with distinct names.
        worlds: worlds by name, all of the catalogue that the policies were made for.
        seeds: seeds of the listeners and of all random draws.
        progress: called after each episode.
        processes: number of processes that share the episodes, each with a copy of all worlds; any number gives the
            same result.

    Returns:
        The results of all policies, for each world.
    """
    tasks = [(world, place, seed) for world in worlds for place in range(len(policies)) for seed in seeds]
    found: dict[tuple[str, int, int], Judged] = {}
    for task, judged in _done(tasks, policies, worlds, processes):
        found[task] = judged
        if progress is not None:
            progress(len(found), len(tasks))
    return [
        _joined([found[world, place, seed] for seed in seeds]) for world in worlds for place in range(len(policies))
    ]


_Task = tuple[str, int, int]
_given: list[tuple[Sequence[ServingPolicy], Mapping[str, ListeningWorld]]] = []
"""Arguments that a worker process got at its start."""


def _done(
    tasks: list[_Task],
    policies: Sequence[ServingPolicy],
    worlds: Mapping[str, ListeningWorld],
    processes: int,
) -> Iterator[tuple[_Task, Judged]]:
    if processes < 2:
        for world, place, seed in tasks:
            yield (world, place, seed), judged_once(policies[place], world, worlds[world], seed)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (policies, worlds)) as pool:
        waiting = {pool.submit(_of_task, task): task for task in tasks}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _begin(policies: Sequence[ServingPolicy], worlds: Mapping[str, ListeningWorld]) -> None:
    _given.append((policies, worlds))


def _of_task(task: _Task) -> Judged:
    (policies, worlds), (world, place, seed) = _given[-1], task
    return judged_once(policies[place], world, worlds[world], seed)


def judged_once(policy: ServingPolicy, name: str, world: ListeningWorld, seed: int) -> Judged:
    """Evaluates one policy in one world with one seed; `name` is the world's."""
    begun(policy, world, seed)
    seen = _Seen(world)
    before, who = _before(world), world.listeners.who.copy()
    for turn in turns(policy, world):
        seen.add(turn)
    return Judged(
        policy=policy.name, world=name, who=who, figures=seen.figures(), before=before, shown=seen.shown,
        streamed=seen.streamed, by_day=seen.by_day,
    )  # fmt: skip


class _Seen:
    """Sums of what listeners do in their episodes."""

    def __init__(self, world: ListeningWorld):
        self._world, number = world, len(world)
        self._sums = {name: np.zeros(number) for name in FIGURES}
        shape = number, len(world.space.region_names) + 1
        self.shown, self.streamed = np.zeros(shape), np.zeros(shape)
        self._first_day = world.begin_us // DAY_US
        days = (world.end_us - 1) // DAY_US - self._first_day + 1
        self.by_day = {name: np.zeros((number, days)) for name in BY_DAY}

    def add(self, turn: Turn) -> None:
        world, rows, step, slates = self._world, turn.rows, turn.step, turn.slates
        sums, space = self._sums, world.space
        for name, part in step.parts.items():
            sums[name][rows] += part
        sums["plays"][rows] += 1
        sums["clicks"][rows] += ~step.is_own
        sums["slots"][rows] += slates.shape[1]
        sums["shown_popularity"][rows] += space.log_popularity[slates].sum(axis=1)
        sums["shown_new_artists"][rows] += _is_new(world, rows, slates).sum(axis=1)
        self.shown += region_counts(rows, space.region[slates], self.shown.shape)
        is_stream = step.parts["streams"] > 0
        self.streamed += region_counts(rows[is_stream], space.region[step.content[is_stream]], self.shown.shape)
        day = np.minimum(turn.start_us // DAY_US - self._first_day, self.by_day["streams"].shape[1] - 1)
        for name, of_day in self.by_day.items():
            of_day[rows, day] += step.parts[name]

    def figures(self) -> dict[str, np.ndarray]:
        """Returns the figures by the names of `FIGURES`."""
        sums = dict(self._sums)
        slots = np.maximum(sums["slots"], 1.0)
        for name in ("shown_popularity", "shown_new_artists"):
            sums[name] = sums[name] / slots
        sums["region_entropy"] = entropy_bits(self.streamed)
        sums["tried_artists"] = tried_artists(self._world.listeners.state, self._world.begin_us)
        return sums


def _is_new(
    world: ListeningWorld, rows: Int[np.ndarray, " some"], slates: Int[np.ndarray, "some slate"]
) -> Shaped[np.ndarray, "some slate"]:
    """Returns whether the artist of each slot is known to the catalogue and was new to the listener in the episode."""
    artists, artist = world.listeners.state.artists, world.space.artist[slates]
    place = artists.places_of(rows, artist)
    return (artist >= 0) & ((place < 0) | (artists.first_us[rows[:, None], np.maximum(place, 0)] >= world.begin_us))


def tried_artists(state: ListenerState, begin_us: int) -> Float[np.ndarray, " listeners"]:
    """Returns the number of artists that each listener first met, and streamed, from a time on."""
    artists = state.artists
    is_new = (artists.content >= 0) & (artists.first_us >= begin_us)
    return (is_new & (artists.plays > artists.skips)).sum(axis=1).astype(float)


def _before(world: ListeningWorld) -> dict[str, np.ndarray]:
    state, memory = world.listeners.state, world.listeners.state.memory
    first_us = np.where(memory.content >= 0, memory.first_us, world.begin_us).min(axis=1)
    weeks = np.maximum((world.begin_us - first_us) / (7.0 * DAY_US), _LEAST_WEEKS)
    plays = state.region_plays
    # A listener whose first session has just begun has come once, without a play.
    came = np.maximum(state.sessions - 1, 0)
    return {
        "plays": state.plays.astype(float), "sessions_a_week": came / weeks,
        "main_region": (plays.max(axis=1) / np.maximum(plays.sum(axis=1), 1e-9)).astype(float),
    }  # fmt: skip


def entropy_bits(counts: Float[np.ndarray, "listeners regions"]) -> Float[np.ndarray, " listeners"]:
    """Returns the entropy of each row's shares in bits; 0 for a row of zeros."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(axis=1)


def _joined(found: Sequence[Judged]) -> Judged:
    first = found[0]
    return Judged(
        policy=first.policy, world=first.world, who=np.concatenate([one.who for one in found]),
        figures={name: np.concatenate([one.figures[name] for one in found]) for name in first.figures},
        before={name: np.concatenate([one.before[name] for one in found]) for name in first.before},
        shown=np.concatenate([one.shown for one in found]), streamed=np.concatenate([one.streamed for one in found]),
        by_day={name: np.concatenate([one.by_day[name] for one in found]) for name in first.by_day},
    )  # fmt: skip
