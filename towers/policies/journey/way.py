"""The cheapest path through layers of candidates, one of each layer, without using a candidate twice."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

NOT_THERE = 1e12
"""Cost of a candidate that is not in a layer, for assignment; above the cost of any path."""

Costs = Sequence[Float[np.ndarray, " _"]]
Steps = Sequence[Float[np.ndarray, "_ _"]]


def cheapest_way(places: Costs, steps: Steps, same: Sequence[Int[np.ndarray, " _"]]) -> list[int]:
    """Returns the candidate of each layer, such that the costs of all places and steps have a small sum.

    Dynamic programming (Viterbi 1967) finds the best path if it uses no candidate twice. A candidate that is used twice
    is kept in the layer where its place is cheapest and closed in all others, and the search is repeated until none is
    used twice. Then one candidate after the other is replaced as long as that lowers the cost.

    Args:
        places: for each layer, the cost of each of its candidates; finite, at least one.
        steps: for each layer but the last, the cost of a step from each candidate to each of the next layer; finite.
        same: for each layer, a number that identifies each candidate across layers.

    Raises:
        ValueError: there are fewer distinct candidates than layers.
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
            # A candidate stays where the layer has no other one.
            left = {layer: len(np.unique(same[layer][~closed[layer]])) for layer in layers}
            stood = {layer: float(places[layer][way[layer]]) for layer in layers}
            kept = min(layers, key=lambda layer: (left[layer] > 1, stood[layer], layer))
            for layer, numbers in enumerate(same):
                if layer != kept:
                    closed[layer] |= numbers == number


def cost_of(way: Sequence[int], places: Costs, steps: Steps) -> float:
    """Returns the sum of the costs of a path."""
    stood = sum(float(cost[at]) for cost, at in zip(places, way, strict=True))
    return stood + sum(float(step[at, to]) for step, (at, to) in zip(steps, pairwise(way), strict=True))


def _cheapest(places: Costs, steps: Steps) -> list[int] | None:
    """Returns the best path, which may use a candidate twice; null where none has a finite cost."""
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
    """Returns the path that is best where steps cost nothing."""
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
    """Replaces candidates by others of their layers that are not on the path, as long as that lowers the cost."""
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
