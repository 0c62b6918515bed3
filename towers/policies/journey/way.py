"""The cheapest way over layers of candidates, one of each, without coming twice to the same."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

NOT_THERE = 1e12
"""The cost of what cannot be assigned, since no candidate of the layer is it; above all costs of a way."""

Costs = Sequence[Float[np.ndarray, " _"]]
Steps = Sequence[Float[np.ndarray, "_ _"]]


def cheapest_way(places: Costs, steps: Steps, same: Sequence[Int[np.ndarray, " _"]]) -> list[int]:
    """The candidate of each layer, so that the costs of all places and steps have a small sum.

    By dynamic programming (Viterbi 1967), whose way is the best of all where nothing comes twice in it. Where something
    does, it stays in the layer where its place is cheapest and is closed to it in all others, and the way is looked for
    again, until nothing comes twice. Then one candidate after the other is replaced as long as that gains anything.

    Args:
        places: for each layer, what it costs to stand at each of its candidates; finite, at least one.
        steps: for each layer but the last, what a step costs from each candidate to each of the next layer; finite.
        same: for each layer a number that the same candidates share, wherever they stand.

    Raises:
        ValueError: there are fewer different candidates than the way needs.
    """
    closed = [np.zeros(len(one), bool) for one in places]
    while True:
        way = _cheapest([np.where(shut, np.inf, one) for one, shut in zip(places, closed, strict=True)], steps)
        if way is None:  # too much was closed, which happens where there are hardly more candidates than layers
            return _improved(_assigned(places, same), places, steps, same)
        taken = np.array([numbers[at] for numbers, at in zip(same, way, strict=True)])
        values, counts = np.unique(taken, return_counts=True)
        twice = values[counts > 1]
        if not len(twice):
            return _improved(way, places, steps, same)
        for number in twice.tolist():
            layers = np.flatnonzero(taken == number).tolist()
            # What has no other candidate keeps it.
            left = {layer: len(np.unique(same[layer][~closed[layer]])) for layer in layers}
            stood = {layer: float(places[layer][way[layer]]) for layer in layers}
            kept = min(layers, key=lambda layer: (left[layer] > 1, stood[layer], layer))
            for layer, numbers in enumerate(same):
                if layer != kept:
                    closed[layer] |= numbers == number


def cost_of(way: Sequence[int], places: Costs, steps: Steps) -> float:
    """The sum of the costs of a way."""
    stood = sum(float(cost[at]) for cost, at in zip(places, way, strict=True))
    return stood + sum(float(step[at, to]) for step, (at, to) in zip(steps, pairwise(way), strict=True))


def _cheapest(places: Costs, steps: Steps) -> list[int] | None:
    """The best way, though something comes twice in it; null where there is none of a finite cost."""
    cost, before = places[0], []
    for step, here in zip(steps, places[1:], strict=True):
        through = cost[:, None] + step
        before.append(through.argmin(axis=0))
        cost = through.min(axis=0) + here
    if not np.isfinite(cost.min()):
        return None
    way = [int(cost.argmin())]
    for back in reversed(before):
        way.append(int(back[way[-1]]))
    return way[::-1]


def _assigned(places: Costs, same: Sequence[Int[np.ndarray, " _"]]) -> list[int]:
    """The way that is best where steps cost nothing."""
    numbers = np.unique(np.concatenate(same))
    costs = np.full((len(places), len(numbers)), NOT_THERE)
    for layer, (cost, own) in enumerate(zip(places, same, strict=True)):
        np.minimum.at(costs[layer], np.searchsorted(numbers, own), cost)
    if len(numbers) < len(places):
        raise ValueError("there are fewer different candidates than the way needs")
    layers, taken = linear_sum_assignment(costs)
    if costs[layers, taken].max() >= NOT_THERE:
        raise ValueError("there are fewer different candidates than the way needs")
    return [
        int(np.where(own == numbers[number], cost, np.inf).argmin())
        for cost, own, number in zip(places, same, taken, strict=True)
    ]


def _improved(way: list[int], places: Costs, steps: Steps, same: Sequence[Int[np.ndarray, " _"]]) -> list[int]:
    """Replaces a candidate by another of its layer that does not stand on the way, as long as that gains anything."""
    way, has_gained = list(way), True
    while has_gained:
        has_gained = False
        for layer, cost in enumerate(places):
            through = cost.copy()
            if layer:
                through += steps[layer - 1][way[layer - 1]]
            if layer + 1 < len(places):
                through += steps[layer][:, way[layer + 1]]
            others = [numbers[at] for place, (numbers, at) in enumerate(zip(same, way, strict=True)) if place != layer]
            through[np.isin(same[layer], others)] = np.inf
            best = int(through.argmin())
            if through[best] < through[way[layer]] - 1e-12:
                way[layer], has_gained = best, True
    return way
