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
    """A serving policy that learns from what comes of its slates, while it serves."""

    def learn(self, observation: Observation, slates: Int[np.ndarray, "listeners slate"], step: Step) -> None:
        """Is told what came of the slates that it chose for these observations; rows of all three belong together."""
        ...


@runtime_checkable
class Clairvoyant(Protocol):
    """A serving policy that reads what no service knows: the true state of simulated listeners."""

    def act_in(
        self, world: ListeningWorld, rows: Integer[np.ndarray, " listeners"]
    ) -> Int[np.ndarray, "listeners slate"]:
        """A slate of content rows for each of the listeners in these rows of a world."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One step of some listeners.

    Args:
        rows: of the listeners in the world.
        slates: what each was offered.
        start_us: when each play began, microseconds.
        step: what came of it.
    """

    rows: Int[np.ndarray, " some"]
    slates: Int[np.ndarray, "some slate"]
    start_us: Int[np.ndarray, " some"]
    step: Step


def begun(policy: ServingPolicy, world: ListeningWorld, seed: int) -> None:
    """Lets listeners in, the same ones for every policy, and tells the policy that a period begins."""
    world.reset(np.arange(len(world)), np.random.default_rng([seed, 32]))
    policy.begin(seed)


def turns(policy: ServingPolicy, world: ListeningWorld) -> Iterator[Turn]:
    """Serves all listeners of a world to the end of their episodes; `begun` comes first.

    Listeners wait at midnight until all others have come to it, so that what was streamed yesterday is complete.

    Args:
        policy: serves; one that is `Clairvoyant` or `Learning` is told more than others.
        world: whose listeners' episodes have just begun.
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
    """How often each region stands in the rows of each listener; those in no region count in the last column.

    Args:
        rows: a listener's row for each row of `region`.
        region: codes, -1 for none.
        shape: listeners, and regions with the one for none.
    """
    listener = np.broadcast_to(rows.reshape(-1, *[1] * (region.ndim - 1)), region.shape)
    cell = listener * shape[1] + np.where(region < 0, shape[1] - 1, region)
    return np.bincount(cell.ravel(), minlength=shape[0] * shape[1]).reshape(shape).astype(float)
