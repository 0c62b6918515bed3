"""The playing order of a list, with smooth transitions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.features.ragged import Ragged

MAX_MOVES = 1_000
"""Largest number of changes of an order; a list of 30 takes some tens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Settings of what makes an order good.

    Args:
        spread: weight, in cosines, of placing strong contents beside weak ones, 0 or more: neighbours whose utilities
            are a and b standard deviations above the list's mean gain -a b times this weight. 0: only smoothness
            counts, by which the weak ones may all come last.
    """

    spread: int | float = 0.05

    def __post_init__(self) -> None:
        if not self.spread >= 0:
            raise UserError(f"spread={self.spread}: must be 0 or more")


def ordered(
    vectors: Float[np.ndarray, "k dim"],
    utility: Float[np.ndarray, " k"],
    artists: Ragged | None = None,
    flow: Flow | None = None,
) -> Int[np.ndarray, " k"]:
    """Returns the order of a list: a permutation of its places.

    The content of the highest utility comes first (the first of several). Two that share an artist are neighbours only
    if unavoidable, which is guaranteed where no content has several artists. Otherwise the order has a high sum of
    cosines of neighbours and of `Flow.spread`: it is the better of the given order with the first content moved, and of
    a nearest-neighbour tour, each improved by reversing a part or moving one content for as long as that gains anything
    (2-opt and or-opt; Croes 1958, Or 1976). The result is deterministic.

    Args:
        vectors: vectors of the contents, any length above 0.
        utility: utility of each content.
        artists: artist codes of each content, without repeats; null: artists do not matter.
        flow: settings; null: the defaults.
    """
    count = len(vectors)
    if count < 2:
        return np.arange(count)
    gains = neighbour_gains(vectors, utility, (flow or Flow()).spread)
    clash = np.zeros((count, count), bool) if artists is None else clashes(artists)
    # A clash costs more than all cosines and spreads together, so none is ever taken for them.
    gains = gains - clash * (2 * count * float(np.abs(gains).max()) + 1.0)
    first = int(np.argmax(utility))
    as_given = np.concatenate([[first], np.delete(np.arange(count), first)])
    starts = (_nearest_each_time(gains, clash, first, artists), as_given)
    return _made_better(max(starts, key=lambda order: float(gains[order[:-1], order[1:]].sum())), gains)


def neighbour_gains(
    vectors: Float[np.ndarray, "k dim"], utility: Float[np.ndarray, " k"], spread: int | float
) -> Float[np.ndarray, "k k"]:
    """Returns the gain of each pair of neighbours: their cosine, and `Flow.spread`."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors.astype(np.float64) / np.where(lengths > 0, lengths, 1.0)
    deviation = float(utility.std())
    above = (utility - utility.mean()) / (deviation if deviation > 0 else 1.0)
    return unit @ unit.T - spread * np.outer(above, above)


def smoothness(vectors: Float[np.ndarray, "k dim"]) -> float:
    """Returns the mean cosine of neighbours in an order; NaN for fewer than two contents."""
    if len(vectors) < 2:
        return float("nan")
    gains = neighbour_gains(vectors, np.zeros(len(vectors)), 0)
    return float(np.diagonal(gains, offset=1).mean())


def clashes(artists: Ragged) -> Bool[np.ndarray, "k k"]:
    """Returns which pairs share an artist."""
    has = _has(artists)
    return (has @ has.T) > 0


def _has(artists: Ragged) -> Int[np.ndarray, "k artists"]:
    """Returns 1 where a content is by an artist, for all artists of the list."""
    names, codes = np.unique(artists.values, return_inverse=True)
    has = np.zeros((len(artists), len(names)), np.int64)
    has[artists.list_of_value, codes] = 1
    return has


def _nearest_each_time(
    gains: np.ndarray, clash: np.ndarray, first: int, artists: Ragged | None
) -> Int[np.ndarray, " k"]:
    """Starts at `first` and takes the best neighbour each time among those that leave an order without a clash
    possible.

    Of m contents left after one by an artist, half (rounded down) may be by that artist, and half (rounded up) by any
    other: then, and only then, no two of one artist need to be neighbours.
    """
    has = np.zeros((len(gains), 0), np.int64) if artists is None else _has(artists)
    order, places = [first], np.delete(np.arange(len(gains)), first)
    left_of = has.sum(axis=0) - has[first]
    while len(places):
        after, trouble = len(places) - 1, clash[order[-1], places]
        too_many = left_of - (after + 1) // 2
        if too_many.max(initial=0) > 0:
            # By how much an artist would have too many, once each of the places had been taken.
            by_place = too_many - has[places] * (1 - after % 2)
            trouble = trouble + np.maximum(by_place, 0).max(axis=1)
        best = places[np.where(trouble == trouble.min(), gains[order[-1], places], -np.inf).argmax()]
        order.append(int(best))
        left_of = left_of - has[best]
        places = places[places != best]
    return np.array(order, np.int64)


def _made_better(order: Int[np.ndarray, " k"], gains: Float[np.ndarray, "k k"]) -> Int[np.ndarray, " k"]:
    """Applies the best reversal or move again and again, until none gains anything."""
    beyond = np.pad(gains, (0, 1))  # the place after the last content has gain 0
    for _ in range(MAX_MOVES):
        places = np.append(order, len(order))
        in_order = beyond[places[:, None], places]
        reversal, by_reversal = _best_reversal(in_order)
        move, by_move = _best_move(in_order)
        if max(by_reversal, by_move) <= 1e-9:
            break
        if by_reversal >= by_move:
            start, end = reversal
            order = np.concatenate([order[:start], order[start : end + 1][::-1], order[end + 1 :]])
        else:
            source, target = move
            order = np.insert(np.delete(order, source), target, order[source])
    return order


def _best_reversal(gains: Float[np.ndarray, "k_plus_one k_plus_one"]) -> tuple[tuple[int, int], float]:
    """Returns the first and last place of the part whose reversal gains most, and the gain; the first content stays.

    Args:
        gains: gains of neighbours, by their places in the order; 0 in the last row and column, after the last content.
    """
    count = len(gains) - 1
    links = np.diagonal(gains, offset=1)
    # Reversing start..end joins start - 1 with end and start with end + 1.
    gain = np.triu(gains[:-2, 1:-1] + gains[1:-1, 2:] - links[:-1, None] - links[None, 1:], 1)
    best = int(np.argmax(gain))
    start, end = divmod(best, count - 1)
    return (start + 1, end + 1), float(gain[start, end])


def _best_move(gains: Float[np.ndarray, "k_plus_one k_plus_one"]) -> tuple[tuple[int, int], float]:
    """Returns the place of a content and its target (counted without it) with the largest gain, and the gain.

    Args:
        gains: as in `_best_reversal`.
    """
    count = len(gains) - 1
    links = np.diagonal(gains, offset=1)
    source = np.arange(1, count)
    bridged = np.where(source + 1 < count, gains[source - 1, np.minimum(source + 1, count)], 0.0)
    taken_out = bridged - links[source - 1] - links[source]
    # Between place t and t + 1, for t from 0 on; beside itself nothing changes.
    put_in = gains[1:-1, :-1] + gains[1:-1, 1:] - links[None, :]
    gain = taken_out[:, None] + put_in
    gain[source - 1, source] = gain[source - 1, source - 1] = 0.0
    best = int(np.argmax(gain))
    moved, after = best // count + 1, best % count
    return (moved, after + 1 if after < moved else after), float(gain[moved - 1, after])
