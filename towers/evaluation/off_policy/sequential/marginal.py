"""Marginalised importance sampling: weights by a listener's current state instead of products over all earlier steps.

The variance of a product of weights grows exponentially with its length; that of a ratio of state densities does not.
States are few and discrete here, so that the new policy's state density is propagated from the first step through the
transitions of the log, each weighted by the ratio of its own step (Xie, Ma and Wang 2019, "Towards optimal off-policy
evaluation for reinforcement learning with marginalized importance sampling"). It is correct if the future depends only
on the discrete state and the slate.
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
    """Steps of a log with discrete states.

    Args:
        states: `[listeners, steps]`, state numbers from 0; a listener who has left is in the highest state.
        ratios: `[listeners, steps]`, ratios of the probabilities of the step's slate, new over logging policy; 1 after
            a listener has left.
    """

    states: Int[np.ndarray, "listeners steps"]
    ratios: Float[np.ndarray, "listeners steps"]

    def weights(self, counts: Float[np.ndarray, " listeners"] | None = None) -> Float[np.ndarray, "listeners steps"]:
        """Returns the density of each step's state and slate under the new policy, divided by that of the log.

        Transitions and rewards of a state are means weighted by the steps' ratios, as in self-normalised IPS. A state
        in which the log shows nothing that the new policy would show has weight 0, and the weights of its step then
        average less than 1.

        Args:
            counts: multiplicity of each listener; null: 1 each.
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
    """Numbers states from 0: one for each distinct state, or k-means clusters if there are more than `most`.

    Args:
        states: features, which are standardised for clustering.
        most: largest number of states.
        seed: seed of the initial centres.
    """
    # A sample is checked first, because sorting all rows takes long.
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
    """Draws initial centres with probability by squared distance (Arthur and Vassilvitskii 2007, k-means++)."""
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
    """Returns estimates by marginal weights: `MARGINAL` and, if there is a model, `MARGINAL_DR`.

    The second is doubly robust with these weights in place of products (Kallus and Uehara 2020).

    Args:
        marginal: steps with discrete states.
        slates: the same steps with rewards, and with a model's estimates if there is one.
        counts: multiplicity of each listener; null: 1 each.
    """
    counts = np.ones(len(slates)) if counts is None else counts
    weights, share = marginal.weights(counts), counts / counts.sum()
    earned, first = _earned(slates)
    return {name: float(share @ ((weights * earned[name]).sum(axis=1) + first[name])) for name in earned}


def resampled_marginal_values(
    marginal: Marginal, slates: Slates, *, seed: int, resamples: int
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Returns `marginal_values` of each resample of listeners, with weights estimated anew in each.

    A step only needs sums over the listeners of a state, which are linear in the multiplicities.
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
    """Sums the values of each group, in each resample."""
    of_group = sparse.csr_array((values, (np.arange(len(group)), group)), shape=(len(group), number))
    return share @ of_group


def _earned(
    slates: Slates,
) -> tuple[dict[str, Float[np.ndarray, "listeners steps"]], dict[str, Float[np.ndarray, " listeners"]]]:
    """Returns the weighted and the unweighted terms of each estimate, by name."""
    earned, first = {MARGINAL: slates.rewards}, {MARGINAL: np.zeros(len(slates))}
    if slates.estimates is not None and slates.new_estimates is not None:
        after = np.column_stack([slates.new_estimates[:, 1:], np.zeros(len(slates))])
        earned[MARGINAL_DR] = slates.rewards + after - slates.estimates
        first[MARGINAL_DR] = slates.new_estimates[:, 0]
    return earned, first
