"""Calibrated lists: contents chosen so that a list has styles in the shares in which its listener plays them.

Styles are given as shares: a row for each content that sums to 1, or to 0 where its style is not known. What is missing
to 1 counts as a style of its own, "unknown", on both sides, so that contents without any style appear in the share that
they have in the history and are not squeezed out.

`by_greedy` is the method of Steck 2018; over whole lists it is the better of the two where they were measured
(`benchmarks/playlists/calibration.py`): it costs less at an equal divergence. `by_flow` has no weight to choose.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from towers.features.calibration import ALPHA

LEAST_OF_LARGEST = 0.5
"""A content may fill a place of a style whose share in it is at least this part of its largest share: shares that are
guessed from neighbours are small for many styles."""


def listener_mix(
    shares: Float[np.ndarray, "chosen styles"],
    age: Float[np.ndarray, " chosen"] | None = None,
    half_life: float | None = None,
) -> Float[np.ndarray, " styles"]:
    """Returns the share of each style in a history; sums to less than 1 where styles are unknown, to 0 without choices.

    Args:
        shares: styles of each content that the listener chose, repeats included.
        age: age of each of these choices, in days or in later choices; null: the number of later choices.
        half_life: age at which a choice counts half; null: all count equally.
    """
    if not len(shares):
        return np.zeros(shares.shape[1])
    if half_life is None:
        return shares.mean(axis=0, dtype=np.float64)
    old = np.arange(len(shares))[::-1] if age is None else age - age.min()
    weights = 0.5 ** (old / half_life)
    return weights @ shares / weights.sum()


def places_of(p: Float[np.ndarray, " styles"], k: int) -> Int[np.ndarray, " styles"]:
    """Returns how many of `k` places each style gets, by largest remainders; ties go to the first.

    Args:
        p: shares, which sum to 1.
        k: number of places.

    >>> places_of(np.array([0.5, 0.3, 0.2]), 4).tolist()
    [2, 1, 1]
    """
    exact = np.maximum(k * p, 0.0)
    places = np.floor(exact + 1e-9).astype(np.int64)
    left = np.argsort(-(exact - places), kind="stable")[: max(k - int(places.sum()), 0)]
    places[left] += 1
    return places


def by_flow(
    u: Float[np.ndarray, " n"],
    s: Float[np.ndarray, "n styles"],
    p: Float[np.ndarray, " styles"],
    k: int,
    miss: float | None = None,
) -> Int[np.ndarray, " k"]:
    """Returns the `k` candidates of the highest total utility that fill each style's places (`places_of`), best first.

    A content of several styles fills a place of one of them, the one that serves the list best: a minimum-cost flow,
    solved as an assignment of contents to places. As many places as possible are filled by their own style, the others
    by the best of the remaining contents.

    Args:
        u: utilities.
        s: styles of the candidates, see above.
        p: styles that the list is to have, sum 1 or less; if the sum is 0, the best are chosen regardless of style.
        k: length of the list; less where there are fewer candidates.
        miss: utility that a place of the wrong style costs: the smaller, the more a good content of another style may
            take it. Null: more than any difference in utility.
    """
    k = min(k, len(u))
    if p.sum() <= 0 or k == 0:
        return np.argsort(-u, kind="stable")[:k]
    wanted, of = with_unknown(p), with_unknown(s)
    places = places_of(wanted, k)
    used = np.flatnonzero(places)
    fits = (of[:, used] > 0) & (of[:, used] >= LEAST_OF_LARGEST * of.max(axis=1, keepdims=True))
    cost = np.where(fits, 0.0, k * float(np.ptp(u)) + 1.0 if miss is None else miss).T - u
    _, chosen = linear_sum_assignment(np.repeat(cost, places[used], axis=0))
    return chosen[np.lexsort((chosen, -u[chosen]))].astype(np.int64)


def by_greedy(
    u: Float[np.ndarray, " n"],
    s: Float[np.ndarray, "n styles"],
    p: Float[np.ndarray, " styles"],
    k: int,
    weight: float = 0.5,
    alpha: float = ALPHA,
    of_whole: bool = False,
    bars: Callable[[int], Int[np.ndarray, " barred"]] | None = None,
) -> Int[np.ndarray, " picks"]:
    """Returns `k` candidates, added one by one, each the one that raises (1 - weight) sum of u - weight KL(p || q~)
    most.

    This is equation 7 of Steck 2018, "Calibrated recommendations", with the greedy algorithm below it, which reaches at
    least 1 - 1/e of the best value. The result is in the order of addition.

    Args:
        u: utilities.
        s: styles of the candidates, see above.
        p: styles that the list is to have, sum 1 or less; if the sum is 0, the best are chosen regardless of style.
        k: length of the list; less where there are fewer candidates, or all others are barred.
        weight: lambda, 0 (utility alone) to 1 (styles alone).
        alpha: as in `features.calibration.kl_terms`, above 0.
        of_whole: whether q is the share among all k places, instead of among those filled so far, as in the paper.
            Where each content has one style, the list is then the best of all: the gain of one more content of a style
            falls with each one, independently of other styles.
        bars: function that is given each chosen candidate and returns the others that may not be beside it; null: all
            may.
    """
    k = min(k, len(u))
    wanted = with_unknown(p) if p.sum() > 0 else np.zeros(len(p) + 1)
    has_share = wanted > 0
    wanted, of = wanted[has_share], with_unknown(s)[:, has_share]
    # Only the styles of a content change by adding it, and it has few: its effect on the others is the same for all.
    contents, styles = np.nonzero(of)
    own = of[contents, styles]
    worth, counts, chosen = (1 - weight) * u, np.zeros(len(wanted)), np.zeros(k, np.int64)
    for place in range(k):
        scale = (1 - alpha) / (k if of_whole else place + 1)
        mixed = counts * scale + alpha * wanted
        gains = wanted[styles] * np.log1p(own * scale / mixed[styles])
        total = worth + weight * np.bincount(contents, gains, minlength=len(u))
        chosen[place] = best = int(np.argmax(total))
        if total[best] == -np.inf:
            return chosen[:place]
        counts += of[best]
        worth[best] = -np.inf
        if bars is not None:
            worth[bars(best)] = -np.inf
    return chosen


def with_unknown(shares: Float[np.ndarray, "*lists styles"]) -> Float[np.ndarray, "*lists styles_and_one"]:
    """Returns the shares with one more column, what is missing to a sum of 1."""
    missing = np.maximum(1 - shares.sum(axis=-1, keepdims=True, dtype=np.float64), 0.0)
    return np.concatenate([shares, np.where(missing < 1e-6, 0.0, missing)], axis=-1)
