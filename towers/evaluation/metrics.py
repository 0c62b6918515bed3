"""Accuracy of ranked lists, one figure per listener.

Shapes: `hits` is `[users, ranks]`, true where the content at that rank (best first) is a target of the listener;
`num_targets` is `[users]`, how many targets the listener has in all, at least 1. All figures lie in [0, 1] and are
float64.

- A listener without a target is an error, which `ranked_metrics` raises: there was nothing to find, so no figure says
  anything. The harness leaves such listeners out.
- A list shorter than k is taken as it is: the places it lacks are misses.
- Ties are none of the metrics' business: who ranks puts equal scores in the order of content rows, so that a list is
  one list.
- A target that stands in a list twice, which the harness never lets happen, would count twice: recall, precision, ndcg
  and map grow (past 1, but for precision), mrr and the hit rate stay what they are.
- RecTools 0.19 gives the same figures: `recall` is its `Precision(r_precision=True)`, `ndcg` its
  `NDCG(divide_by_achievable=True)`. Its own `Recall` and `MAP` divide by all targets where these divide by those that
  fit into the list.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

DEFAULT_KS = (10, 20, 100)


def recall(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Hits among the first k, over `min(k, num_targets)`: a perfect list has 1 whatever k is.

    The capped form of the literature (Liang et al. 2018, "Variational autoencoders for collaborative
    filtering"). Because the cap grows with k, it may fall as k grows; the hits themselves cannot.

    >>> recall(np.array([[True, False, True]]), np.array([3]), k=2)
    array([0.5])
    """
    return hits[:, :k].sum(axis=1) / _reachable(num_targets, k)


def ndcg(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Discounted cumulative gain at k over that of the best list: `min(k, num_targets)` hits at the top.

    Gain is binary, the discount of rank r (from 1) is `1 / log2(r + 1)` (Järvelin and Kekäläinen 2002).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[_reachable(num_targets, k) - 1]
    head = hits[:, :k]
    return (head * discounts[: head.shape[1]]).sum(axis=1) / ideal


def mrr(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """One over the rank (from 1) of the first hit among the first k; 0 where there is none."""
    head = hits[:, :k]
    if head.shape[1] == 0:
        return np.zeros(len(num_targets))
    return np.where(head.any(axis=1), 1.0 / (1 + head.argmax(axis=1)), 0.0)


def hit_rate(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """1 where at least one target is among the first k, else 0."""
    return np.where(hits[:, :k].any(axis=1), 1.0, 0.0)


def precision(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Hits among the first k, over k, however long the list is.

    >>> precision(np.array([[True, False]]), np.array([3]), k=4)
    array([0.25])
    """
    return hits[:, :k].sum(axis=1) / k


def average_precision(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """The precision at the rank of each hit among the first k, summed, over `min(k, num_targets)`.

    Its mean over listeners is MAP at k. A perfect list has 1.

    >>> average_precision(np.array([[True, False, True]]), np.array([2]), k=3)
    array([0.83333333])
    """
    head = hits[:, :k]
    precisions = np.cumsum(head, axis=1) / np.arange(1, head.shape[1] + 1)
    return (precisions * head).sum(axis=1) / _reachable(num_targets, k)


METRICS = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "mrr": mrr,
    "hit_rate": hit_rate,
    "map": average_precision,
}


def ranked_metrics(
    hits: Bool[np.ndarray, "users ranks"],
    num_targets: Int[np.ndarray, " users"],
    ks: Sequence[int] = DEFAULT_KS,
) -> dict[str, Float[np.ndarray, " users"]]:
    """Every metric at every k, keyed `recall@10`.

    Raises:
        ValueError: a k below 1, or a listener without a target (of whom no metric says anything).
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"ks must be at least 1, got {tuple(ks)}")
    _reachable(num_targets, 1)
    return {f"{name}@{k}": metric(hits, num_targets, k) for name, metric in METRICS.items() for k in ks}


def _reachable(num_targets: Int[np.ndarray, " users"], k: int) -> Int[np.ndarray, " users"]:
    """The targets that fit into a list of k."""
    if num_targets.size and num_targets.min() < 1:
        raise ValueError("every listener must have at least one target")
    return np.minimum(k, num_targets)
