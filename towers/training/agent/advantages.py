"""How much better than expected each step turned out: generalised advantages with a critic that is linear.

Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation", equation 16. Time is
the listeners' own: what comes days later counts less by the days between, not by the number of plays.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from towers.contract.durations import DAY_US
from towers.training.agent.episodes import Episodes

_OWN_STEPS = 10.0
"""Steps after which half of a listener's mean distance from the critic is taken to be theirs."""


def rewards_of(episodes: Episodes, weights: Mapping[str, float], kept_share: float) -> Float[np.ndarray, " steps"]:
    """The reward of each step.

    Whether an adopted artist is kept shows at the end of an episode. `kept_share` of it is given at the adoption, and
    taken away again at the end, so that the sum of an episode stays what it is.

    Args:
        episodes: with their parts.
        weights: by name of a part.
        kept_share: of the adopted artists who are kept, about.
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
    """The advantage of each step.

    Args:
        episodes: by listener and time.
        rewards: of each step.
        horizon_days: in which what comes later counts 1/e.
        trace: lambda, from 0 (the critic alone says what follows) to 1 (what followed).
    """
    goes_on = episodes.goes_on
    days = np.append(np.diff(episodes.now_us), 0) / DAY_US
    discount = np.where(goes_on, np.exp(-np.maximum(days, 0.0) / horizon_days), 0.0)
    value = _values(episodes, _summed(rewards, discount))
    surprise = rewards + discount * np.append(value[1:], 0.0) - value
    return _summed(surprise, trace * discount)


def _summed(values: Float[np.ndarray, " steps"], discount: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """Each step's value and what follows it, discounted."""
    total, ahead = np.empty(len(values)), 0.0
    for step in range(len(values) - 1, -1, -1):
        ahead = values[step] + discount[step] * ahead
        total[step] = ahead
    return total


def _values(episodes: Episodes, returns: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """What is expected of each step: by least squares from what is known, and by how the listener differs from that."""
    weights = np.linalg.lstsq(episodes.known, returns, rcond=None)[0]
    value = episodes.known @ weights
    row, number = episodes.row, int(episodes.row.max(initial=0)) + 1
    steps = np.bincount(row, minlength=number)
    mean = np.bincount(row, returns - value, number) / np.maximum(steps, 1)
    return value + (mean * steps / (steps + _OWN_STEPS))[row]
