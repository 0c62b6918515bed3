"""Advantages of the steps of episodes: generalised advantage estimation with a linear critic.

Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation", equation 16. Rewards
are discounted by the days between steps, not by the number of plays.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from towers.contract.durations import DAY_US
from towers.training.agent.episodes import Episodes

_OWN_STEPS = 10.0
"""Steps after which half of a listener's mean residual from the critic is attributed to the listener."""


def rewards_of(episodes: Episodes, weights: Mapping[str, float], kept_share: float) -> Float[np.ndarray, " steps"]:
    """Returns the reward of each step.

    An adopted artist is known to be kept only at the end of an episode. `kept_share` of the reward for it is given at
    the adoption and subtracted at the end, so that the sum over an episode does not change.

    Args:
        episodes: steps with the parts of their reward.
        weights: weight of each part of the reward, by its name.
        kept_share: approximate share of adopted artists that are kept.
    """
    total = np.zeros(len(episodes))
    for name, weight in weights.items():
        total += weight * getattr(episodes, name)
    early = weights.get("kept_artists", 0.0) * kept_share * episodes.adopted_artists
    is_last = ~episodes.goes_on
    of_listener = np.bincount(episodes.row, early, int(episodes.row.max(initial=0)) + 1)
    total += early
    total[is_last] -= of_listener[episodes.row[is_last]]
    return total


def advantages_of(
    episodes: Episodes, rewards: Float[np.ndarray, " steps"], horizon_days: float, trace: float
) -> Float[np.ndarray, " steps"]:
    """Returns the advantage of each step.

    Args:
        episodes: steps, sorted by listener and time.
        rewards: reward of each step.
        horizon_days: days after which a later reward is discounted to 1/e.
        trace: lambda, from 0 (the critic alone predicts what follows) to 1 (only observed rewards count).
    """
    goes_on = episodes.goes_on
    days = np.append(np.diff(episodes.now_us), 0) / DAY_US
    discount = np.where(goes_on, np.exp(-np.maximum(days, 0.0) / horizon_days), 0.0)
    value = _values(episodes, _summed(rewards, discount))
    surprise = rewards + discount * np.append(value[1:], 0.0) - value
    return _summed(surprise, trace * discount)


def _summed(values: Float[np.ndarray, " steps"], discount: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """Returns the discounted sum of each step's value and those of the same episode after it."""
    total, ahead = np.empty(len(values)), 0.0
    for step in range(len(values) - 1, -1, -1):
        ahead = values[step] + discount[step] * ahead
        total[step] = ahead
    return total


def _values(episodes: Episodes, returns: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """Returns the critic's value of each step: least squares on `known`, plus the listener's shrunk mean residual."""
    weights = np.linalg.lstsq(episodes.known, returns, rcond=None)[0]
    value = episodes.known @ weights
    row, number = episodes.row, int(episodes.row.max(initial=0)) + 1
    steps = np.bincount(row, minlength=number)
    mean = np.bincount(row, returns - value, number) / np.maximum(steps, 1)
    return value + (mean * steps / (steps + _OWN_STEPS))[row]
