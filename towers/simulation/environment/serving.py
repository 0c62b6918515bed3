"""An episode in which a policy serves all listeners of a world, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import ServingPolicy
from towers.simulation.environment.world import ListeningWorld, Step


@runtime_checkable
class Learning(Protocol):
    """A serving policy that learns from the outcomes of its slates while it serves."""

    def learn(self, observation: Observation, slates: Int[np.ndarray, "listeners slate"], step: Step) -> None:
        """Learns from the outcomes of the slates chosen for these observations; all three have the same rows."""
        ...


@runtime_checkable
class Clairvoyant(Protocol):
    """A serving policy that reads the true state of simulated listeners, which no service knows."""

    def act_in(
        self, world: ListeningWorld, rows: Integer[np.ndarray, " listeners"]
    ) -> Int[np.ndarray, "listeners slate"]:
        """Returns a slate of content rows for each of the listeners in these rows of a world."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A step of some listeners.

    Args:
        rows: rows of the listeners in the world.
        slates: slate that each was offered.
        start_us: start of each play, microseconds.
        step: result of the step.
    """

    rows: Int[np.ndarray, " some"]
    slates: Int[np.ndarray, "some slate"]
    start_us: Int[np.ndarray, " some"]
    step: Step


def begun(policy: ServingPolicy, world: ListeningWorld, seed: int) -> None:
    """Starts an episode of every listener, the same ones for every policy, and a period of the policy."""
    world.reset(np.arange(len(world)), np.random.default_rng([seed, 32]))
    policy.begin(seed)


def turns(policy: ServingPolicy, world: ListeningWorld) -> Iterator[Turn]:
    """Serves all listeners of a world to the end of their episodes; call `begun` first.

    Listeners wait at midnight for all others, so that the streams of a day are complete.

    Args:
        policy: serving policy; one that is `Clairvoyant` or `Learning` gets more than the observation.
        world: world whose episodes have just begun.
    """
    is_over = np.zeros(len(world), bool)
    streamed = None
    for midnight_us in range((world.begin_us // DAY_US + 1) * DAY_US, world.end_us + DAY_US, DAY_US):
        policy.begin_day(streamed)
        streamed = np.zeros(len(world.space), np.int64)
        while len(rows := np.flatnonzero(~is_over & (world.now_us < midnight_us))):
            turn = _turn(policy, world, rows)
            np.add.at(streamed, turn.step.content, turn.step.parts["streams"])
            is_over[rows] = turn.step.terminated | turn.step.truncated
            yield turn


def _turn(policy: ServingPolicy, world: ListeningWorld, rows: Int[np.ndarray, " some"]) -> Turn:
    start_us = world.now_us[rows].copy()
    if isinstance(policy, Clairvoyant):
        slates = policy.act_in(world, rows)
        return Turn(rows=rows, slates=slates, start_us=start_us, step=world.step(rows, slates))
    seen = world.observe(rows)
    slates = policy.act(seen)
    step = world.step(rows, slates)
    if isinstance(policy, Learning):
        policy.learn(seen, slates, step)
    return Turn(rows=rows, slates=slates, start_us=start_us, step=step)


def region_counts(
    rows: Integer[np.ndarray, " plays"], region: Integer[np.ndarray, "plays ..."], shape: tuple[int, int]
) -> Float[np.ndarray, "listeners regions"]:
    """Returns how often each region occurs in the rows of each listener; the last column is for no region.

    Args:
        rows: row of the listener for each row of `region`.
        region: codes of regions, -1 for none.
        shape: numbers of listeners, and of regions with the one for none.
    """
    listener = np.broadcast_to(rows.reshape(-1, *[1] * (region.ndim - 1)), region.shape)
    cell = listener * shape[1] + np.where(region < 0, shape[1] - 1, region)
    return np.bincount(cell.ravel(), minlength=shape[0] * shape[1]).reshape(shape).astype(float)
