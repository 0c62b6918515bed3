"""A planner that knows the true state of simulated listeners: an upper bound for policies that do not.

In each step it knows the true weight of every candidate for its listener against own choice, the true chance of a skip,
how often the listener comes, and which artists they have met, streamed and adopted in the episode. From these it finds,
exactly, the slate whose pick has the highest expected value: one step of lookahead with true chances. Value beyond the
step is a heuristic value of an artist's next stage with four numbers (`Worth`), chosen by a handful of tries on two
seeds of one world. So it is a strong policy, but no proof of an optimum.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import filled
from towers.simulation.environment.rewards import KEPT_DAYS, RETURN_WEIGHTS
from towers.simulation.environment.world import ListeningWorld, best_of

_BLOCK: Final = 64
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Value of a stream beyond its step.

    An artist is kept if streamed on one day of the episode and on a later one within its last `KEPT_DAYS` days. So a
    stream there of an artist first streamed on an earlier day has the value 1. The first stream of an unknown artist
    has the value of the chance of a second one: `trying * comes * min(1, room * days / (open + 1))`. `days` is the
    expected number of later days with the listener within the last `KEPT_DAYS`, `comes` the chance of any such day, and
    `open` the number of artists that already wait for a second stream.

    Args:
        trying: see above.
        room: number of artists that can be brought to be kept on one day.
        reminding: value of a stream of a waiting artist before the last days, as a share of the chance.
        skip_cost: cost of a skip besides its weight in the return: a listener who skips leaves sooner, returns later.
        pick: value of any pick from the slate; the return has none, and with it a planner trades some return for more
            picks.
    """

    trying: float = 1.0
    room: float = 8.0
    reminding: float = 0.1
    skip_cost: float = 0.05
    pick: float = 0.0


class Planner:
    """Policy of this module; it is `Clairvoyant` and acts by `act_in`.

    Args:
        slate_size: number of contents of a slate; fewer are shown where more would lower the value.
        worth: value of a stream beyond its step.
    """

    name = "planner with the true state"

    def __init__(self, slate_size: int = 10, worth: Worth | None = None):
        self._slate_size, self.worth = slate_size, worth or Worth()

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """Raises `TypeError`: the policy cannot act on an observation."""
        raise TypeError("a planner with the true state needs the world: call act_in")

    def act_in(
        self, world: ListeningWorld, rows: Integer[np.ndarray, " listeners"]
    ) -> Int[np.ndarray, "listeners slate"]:
        """See `serving.Clairvoyant.act_in`."""
        slates = [self._slates(world, rows[begin : begin + _BLOCK]) for begin in range(0, len(rows), _BLOCK)]
        return np.concatenate(slates) if slates else np.zeros((0, self._slate_size), np.int64)

    def _slates(self, world: ListeningWorld, rows: np.ndarray) -> np.ndarray:
        listeners, state = world.listeners, world.listeners.state
        candidates = world.candidates[rows]
        content = np.maximum(candidates, 0).astype(np.int64)
        weight = np.exp(np.clip(listeners.attraction(rows, content).astype(float), -30.0, 30.0))
        may_come = (candidates >= 0) & (world.space.released_us[content] <= state.now_us[rows, None])
        weight = np.where(may_come, weight, 0.0)
        skip, cost = listeners.skip_chance(rows, content), self.worth.skip_cost - RETURN_WEIGHTS["skips"]
        value = (1.0 - skip) * self._ahead(world, rows, content) - skip * cost + self.worth.pick
        usual = (state.skips[rows] + 0.35) / (state.plays[rows] + 1.0)
        return best_slates(weight, value, np.exp(world.own_pull), -cost * usual, candidates, self._slate_size)

    def _ahead(self, world: ListeningWorld, rows: np.ndarray, content: np.ndarray) -> np.ndarray:
        """Returns the value of a stream of each content beyond its step."""
        worth, now_us = self.worth, world.now_us[rows, None]
        artists, artist = world.listeners.state.artists, world.space.artist[content]
        place = artists.places_of(rows, artist)
        met_us = artists.first_us[rows[:, None], np.maximum(place, 0)]
        is_new = (artist >= 0) & ((place < 0) | (met_us >= world.begin_us))
        first_us, last_us = world.rewards.streamed_us(rows, artist)
        late_us = world.end_us - KEPT_DAYS * DAY_US
        # Days after this one that are among the last days of the episode.
        tomorrow_us = (now_us // DAY_US + 1) * DAY_US
        days_left = np.maximum(world.end_us - np.maximum(tomorrow_us, late_us), 0) / DAY_US
        days = days_left * -np.expm1(-world.listeners.sessions_a_day(rows))[:, None]
        comes = -np.expm1(-days)
        open_ = world.rewards.num_open(rows, world.end_us)[:, None]
        chance = worth.trying * comes * np.minimum(worth.room * days / (open_ + 1.0), 1.0)
        is_late = now_us >= late_us
        waits = is_new & (first_us >= 0) & (first_us // DAY_US < now_us // DAY_US)
        is_kept = (first_us // DAY_US < last_us // DAY_US) & (last_us >= late_us)
        ahead = np.where(is_new & (first_us < 0), chance, 0.0)
        waiting = np.where(is_late, RETURN_WEIGHTS["kept_artists"], worth.reminding * chance)
        return np.where(waits & ~is_kept, waiting, ahead)


def best_slates(
    weight: Float[np.ndarray, "listeners candidates"],
    value: Float[np.ndarray, "listeners candidates"],
    own_weight: float,
    own_value: Float[np.ndarray, " listeners"],
    candidates: Integer[np.ndarray, "listeners candidates"],
    number: int,
) -> Int[np.ndarray, "listeners number"]:
    """Returns the slate of at most `number` candidates with the highest expected value of a pick, for each listener.

    A pick is a candidate or own choice, with probabilities proportional to weights (multinomial logit). The best value
    z of a slate is where the sum of the greatest `weight * (value - z)` above 0 equals `own_weight * (z - own_value)`,
    and these form the slate (Rusmevichientong, Shen and Shmoys 2010, "Dynamic assortment optimization with a
    multinomial logit choice model and capacity constraint"); it is found by Dinkelbach's method.

    Args:
        weight: weight of each candidate, 0 where it cannot be picked.
        value: value of a pick of each.
        own_weight: weight of own choice.
        own_value: value of own choice.
        candidates: rows of contents, -1 for none.
        number: number of contents of a slate.
    """
    z = own_value.astype(float)
    for _ in range(_ROUNDS):
        gain = weight * (value - z[:, None])
        top = np.argpartition(gain, gain.shape[1] - number, axis=1)[:, -number:]
        taken = np.take_along_axis(np.where(gain > 0, weight, 0.0), top, axis=1)
        worth = (taken * np.take_along_axis(value, top, axis=1)).sum(axis=1) + own_weight * own_value
        z = worth / (taken.sum(axis=1) + own_weight)
    gain = weight * (value - z[:, None])
    slates = best_of(gain, np.where(gain > 0, candidates, -1), number)
    # Where no candidate is better than own choice, the least harmful one is shown.
    first = np.take_along_axis(candidates, gain.argmax(axis=1)[:, None], axis=1)
    return filled(np.where(slates[:, :1] < 0, first, slates))
