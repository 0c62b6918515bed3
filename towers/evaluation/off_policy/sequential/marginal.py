"""Marginalised importance sampling: a weight for where a listener is, instead of a product over how they came there.

The variance of a product of weights grows exponentially with its length, that of a ratio of densities of states does
not. States are few and discrete here, so that the new policy's density goes forward from the first step: through the
transitions of the log, each by the ratio of its own step alone (Xie, Ma and Wang 2019, "Towards optimal off-policy
evaluation for reinforcement learning with marginalized importance sampling"). It is right where what follows depends on
the discrete state and the slate alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.evaluation.intervals import drawn_listeners
from towers.evaluation.off_policy.log import Slates

_ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Marginal:
    """Steps of a log in discrete states.

    Args:
        states: `[listeners, steps]`, from 0; a listener who has left is in the last state of all.
        ratios: `[listeners, steps]`, of the chances of the step's slate, new over old; 1 of who has left.
    """

    states: Int[np.ndarray, "listeners steps"]
    ratios: Float[np.ndarray, "listeners steps"]

    def weights(self, counts: Float[np.ndarray, " listeners"] | None = None) -> Float[np.ndarray, "listeners steps"]:
        """Density of each step's state and slate under the new policy over that of the log.

        Transitions and rewards of a state are means by the steps' ratios over their sum, as in self-normalised IPS. A
        state in which the log shows nothing that the new policy would has no weight, and the weights of its step then
        average less than 1.

        Args:
            counts: how often each listener counts; null: once each.
        """
        listeners, steps = self.states.shape
        counts = np.ones(listeners) if counts is None else counts
        num_states = int(self.states.max()) + 1
        found = np.zeros((listeners, steps))
        density = np.bincount(self.states[:, 0], counts, num_states) / counts.sum()
        for step in range(steps):
            state, ratio = self.states[:, step], self.ratios[:, step]
            mass = np.bincount(state, counts * ratio, num_states)
            over = np.divide(density, mass, out=np.zeros(num_states), where=mass > 0)
            share = over[state] * ratio
            found[:, step] = share * counts.sum()
            if step + 1 < steps:
                density = np.bincount(self.states[:, step + 1], counts * share, num_states)
        return found


def discrete_states(states: Float[np.ndarray, "rows features"], most: int, seed: int = 0) -> Int[np.ndarray, " rows"]:
    """Numbers of states from 0: each different one, or where they are more than `most` as many clusters (k-means).

    Args:
        states: features; clusters look at them in units of their deviations.
        most: states.
        seed: of the clusters' first middles.
    """
    # Distinct states are looked for in a sample first, as sorting all rows of many features takes long.
    if len(np.unique(states[: 50 * most], axis=0)) <= most:
        distinct, found = np.unique(states, axis=0, return_inverse=True)
        if len(distinct) <= most:
            return found.reshape(-1)
    deviation = states.std(axis=0)
    scaled = (states - states.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    middles = _first_middles(scaled, most, np.random.default_rng([seed, 17]))
    nearest = np.full(len(scaled), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, _nearest(scaled, middles)
        if (before == nearest).all():
            break
        sums = np.stack([np.bincount(nearest, column, most) for column in scaled.T], axis=1)
        sizes = np.bincount(nearest, minlength=most)[:, None]
        middles = np.where(sizes > 0, sums / np.maximum(sizes, 1), middles)
    return np.unique(nearest, return_inverse=True)[1].reshape(-1)


def _first_middles(
    points: Float[np.ndarray, "rows features"], number: int, rng: np.random.Generator
) -> Float[np.ndarray, "number features"]:
    """Draws rows, each by its squared distance to those before (Arthur and Vassilvitskii 2007, k-means++)."""
    middles = [points[rng.integers(len(points))]]
    distance = np.full(len(points), np.inf)
    while len(middles) < number:
        distance = np.minimum(distance, np.square(points - middles[-1]).sum(axis=1))
        total = distance.sum()
        middles.append(points[rng.choice(len(points), p=distance / total) if total > 0 else 0])
    return np.stack(middles)


def _nearest(
    points: Float[np.ndarray, "rows features"], middles: Float[np.ndarray, "number features"]
) -> Int[np.ndarray, " rows"]:
    return (np.square(middles).sum(axis=1) - 2 * points @ middles.T).argmin(axis=1)


MARGINAL, MARGINAL_DR = "marginal", "marginal_dr"


def marginal_values(
    marginal: Marginal, slates: Slates, counts: Float[np.ndarray, " listeners"] | None = None
) -> dict[str, float]:
    """Estimates by marginal weights, by `MARGINAL` and, where there is a model, `MARGINAL_DR`.

    The second is doubly robust with these weights in the place of products (Kallus and Uehara 2020).

    Args:
        marginal: steps.
        slates: the same, with rewards and perhaps a model.
        counts: how often each listener counts; null: once each.
    """
    counts = np.ones(len(slates)) if counts is None else counts
    weights, share = marginal.weights(counts), counts / counts.sum()
    earned, first = _earned(slates)
    return {name: float(share @ ((weights * earned[name]).sum(axis=1) + first[name])) for name in earned}


def resampled_marginal_values(
    marginal: Marginal, slates: Slates, *, seed: int, resamples: int
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """`marginal_values` of each resample of listeners, each with weights of its own, as the weights are estimated too.

    All that a step needs are sums over the listeners of a state, which are linear in how often each listener counts.
    """
    states, ratios = marginal.states, marginal.ratios
    number, steps = int(states.max()) + 1, states.shape[1]
    earned, first = _earned(slates)
    found: dict[str, list[np.ndarray]] = {name: [] for name in earned}
    for counts in drawn_listeners(len(slates), seed, resamples):
        share = counts / len(slates)
        sums = {name: share @ first[name] for name in earned}
        density = _summed(share, states[:, 0], np.ones(len(slates)), number)
        for step in range(steps):
            state, ratio = states[:, step], ratios[:, step]
            mass = _summed(share, state, ratio, number)
            over = np.divide(density, mass, out=np.zeros_like(mass), where=mass > 0)
            for name in earned:
                sums[name] += (over * _summed(share, state, ratio * earned[name][:, step], number)).sum(axis=1)
            if step + 1 < steps:
                moved = _summed(share, state * number + states[:, step + 1], ratio, number * number)
                density = np.einsum("rs,rst->rt", over, moved.reshape(-1, number, number))
        for name in earned:
            found[name].append(sums[name])
    return {name: np.concatenate(pieces) for name, pieces in found.items()}


def _summed(
    share: Float[np.ndarray, "resamples listeners"],
    group: Int[np.ndarray, " listeners"],
    values: Float[np.ndarray, " listeners"],
    number: int,
) -> Float[np.ndarray, "resamples groups"]:
    """Sums of the values of each group, in each resample."""
    of_group = sparse.csr_array((values, (np.arange(len(group)), group)), shape=(len(group), number))
    return share @ of_group


def _earned(
    slates: Slates,
) -> tuple[dict[str, Float[np.ndarray, "listeners steps"]], dict[str, Float[np.ndarray, " listeners"]]]:
    """What the weights of each estimate are of, and what is added without a weight, by its name."""
    earned, first = {MARGINAL: slates.rewards}, {MARGINAL: np.zeros(len(slates))}
    if slates.estimates is not None and slates.new_estimates is not None:
        after = np.column_stack([slates.new_estimates[:, 1:], np.zeros(len(slates))])
        earned[MARGINAL_DR] = slates.rewards + after - slates.estimates
        first[MARGINAL_DR] = slates.new_estimates[:, 0]
    return earned, first
