"""Accuracy metrics of ranked lists, one value per listener.

Shapes: `hits` is `[users, ranks]`, true where the content at that rank (best first) is a target of the listener;
`num_targets` is `[users]`, the number of all targets of the listener, at least 1. All values lie in [0, 1] and are
float64.

- A listener without a target is an error, which `ranked_metrics` raises, because every metric is undefined. The harness
  excludes such listeners.
- If a list is shorter than k, its empty places are misses.
- The metrics do not handle ties: rankers put equal scores in the order of content rows, so that a list is unique.
- A target that occurs twice in a list, which the harness never allows, would count twice: recall, precision, ndcg and
  map would grow (beyond 1, except precision), mrr and the hit rate would stay the same.
- RecTools 0.19 gives the same values: `recall` is its `Precision(r_precision=True)`, `ndcg` its
  `NDCG(divide_by_achievable=True)`. Its `Recall` and `MAP` divide by the number of all targets, while the metrics here
  divide by the number of targets that fit into the list.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

DEFAULT_KS = (10, 20, 100)


def recall(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns the hits among the first k, divided by `min(k, num_targets)`: 1 for a perfect list at every k.

    This is the capped recall of the literature (Liang et al. 2018, "Variational autoencoders for collaborative
    filtering"). Because the denominator grows with k, the recall may fall as k grows.

    >>> recall(np.array([[True, False, True]]), np.array([3]), k=2)
    array([0.5])
    """
    return hits[:, :k].sum(axis=1) / _reachable(num_targets, k)


def ndcg(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns the discounted cumulative gain at k over that of the ideal list, with `min(k, num_targets)` hits on top.

    The gain is binary, the discount of rank r (from 1) is `1 / log2(r + 1)` (Järvelin and Kekäläinen 2002).
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[_reachable(num_targets, k) - 1]
    head = hits[:, :k]
    return (head * discounts[: head.shape[1]]).sum(axis=1) / ideal


def mrr(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns 1 / rank (from 1) of the first hit among the first k; 0 without a hit."""
    head = hits[:, :k]
    if head.shape[1] == 0:
        return np.zeros(len(num_targets))
    return np.where(head.any(axis=1), 1.0 / (1 + head.argmax(axis=1)), 0.0)


def hit_rate(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns 1 if at least one target is among the first k, else 0."""
    return np.where(hits[:, :k].any(axis=1), 1.0, 0.0)


def precision(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns the hits among the first k, divided by k, even if the list is shorter.

    >>> precision(np.array([[True, False]]), np.array([3]), k=4)
    array([0.25])
    """
    return hits[:, :k].sum(axis=1) / k


def average_precision(
    hits: Bool[np.ndarray, "users ranks"], num_targets: Int[np.ndarray, " users"], k: int
) -> Float[np.ndarray, " users"]:
    """Returns the sum of the precisions at the ranks of the hits among the first k, over `min(k, num_targets)`.

    Its mean over listeners is MAP at k; a perfect list has 1.

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
    """Returns every metric at every k, by key (`recall@10`).

    Raises:
        ValueError: a k is below 1, or a listener has no target.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"ks must be at least 1, got {tuple(ks)}")
    _reachable(num_targets, 1)
    return {f"{name}@{k}": metric(hits, num_targets, k) for name, metric in METRICS.items() for k in ks}


def _reachable(num_targets: Int[np.ndarray, " users"], k: int) -> Int[np.ndarray, " users"]:
    """Returns the number of targets that fit into a list of length k."""
    if num_targets.size and num_targets.min() < 1:
        raise ValueError("every listener must have at least one target")
    return np.minimum(k, num_targets)
