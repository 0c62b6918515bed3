"""Calibration of scores: the share of hits among recommended contents, by score."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.slices import pair_keys
from towers.evaluation.task import EvaluationTask

NUM_GROUPS = 10
NORMAL_95 = 1.959964
"""Half-width of the central 95 % of a normal distribution, in standard errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreGroup:
    """A group of recommended contents with similar scores.

    Args:
        lowest: lowest score in the group.
        highest: highest score in the group.
        share: share of targets among them, in [0, 1].
        low: lower 95 % bound of the share.
        high: upper 95 % bound of the share.
        pairs: number of pairs of listener and content in the group.
    """

    lowest: float
    highest: float
    share: float
    low: float
    high: float
    pairs: int


def score_groups(task: EvaluationTask, ranked: Ranked, num_groups: int = NUM_GROUPS) -> tuple[ScoreGroup, ...]:
    """Divides the recommended contents into groups of equal size by score, lowest first; equal scores stay together.

    The bounds take the listener, not the pair, as the independent unit: the share is a ratio of two sums over
    listeners, with the error of the ratio estimator (Cochran 1977, "Sampling techniques", equation 2.46).

    Args:
        task: task with the listeners of the lists, in its order.
        ranked: `[users, ranks]`; scores are minus infinity at empty places.
        num_groups: largest number of groups; there are fewer if many scores are equal.
    """
    filled = ranked.rows >= 0
    if not filled.any():
        return ()
    scores = ranked.scores[filled].astype(np.float64)
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, num_groups + 1)))
    codes = np.searchsorted(edges[1:-1], scores, side="right")
    users, hits = np.nonzero(filled)[0], are_targets(task, ranked.rows)[filled]
    return tuple(_group(scores[inside], users[inside], hits[inside]) for inside in _members(codes))


def are_targets(task: EvaluationTask, rows: Int[np.ndarray, "users ranks"]) -> Bool[np.ndarray, "users ranks"]:
    """Returns which contents of the lists of all listeners, in the task's order, are targets of their listener."""
    wanted = np.arange(len(rows))[:, None] * task.num_contents + rows.astype(np.int64)
    return np.isin(wanted, pair_keys(task.ranked_targets, task.num_contents)) & (rows >= 0)


def _members(codes: Int[np.ndarray, " pairs"]) -> list[Bool[np.ndarray, " pairs"]]:
    return [codes == code for code in np.unique(codes)]


def _group(
    scores: Float[np.ndarray, " pairs"], users: Int[np.ndarray, " pairs"], hits: Bool[np.ndarray, " pairs"]
) -> ScoreGroup:
    _, listener = np.unique(users, return_inverse=True)
    listed, right = np.bincount(listener), np.bincount(listener, weights=hits)
    share = float(right.sum() / listed.sum())
    count = len(listed)
    squares = float(((right - share * listed) ** 2).sum())
    error = np.sqrt(squares * count / max(count - 1, 1)) / listed.sum()
    return ScoreGroup(
        lowest=float(scores.min()),
        highest=float(scores.max()),
        share=share,
        low=max(share - NORMAL_95 * float(error), 0.0),
        high=min(share + NORMAL_95 * float(error), 1.0),
        pairs=len(scores),
    )
