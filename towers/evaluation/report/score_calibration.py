"""What a score is worth: how many of the recommended contents turn out to be right, by the score they were given."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.ranking.rankers import Ranked
from towers.evaluation.slices import pair_keys
from towers.evaluation.task import EvaluationTask

NUM_GROUPS = 10
NORMAL_95 = 1.959964
"""Standard errors on either side of a mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreGroup:
    """Recommended contents of about the same score.

    Args:
        lowest: score in the group.
        highest: score in the group.
        share: of them that are targets, in [0, 1].
        low: lower 95 % bound of the share.
        high: the upper one.
        pairs: of listener and content in the group.
    """

    lowest: float
    highest: float
    share: float
    low: float
    high: float
    pairs: int


def score_groups(task: EvaluationTask, ranked: Ranked, num_groups: int = NUM_GROUPS) -> tuple[ScoreGroup, ...]:
    """The filled places of the lists in groups of equal size by score, lowest first; equal scores stay together.

    The bounds take the listener, not the pair, as the unit: the share is a ratio of two sums over listeners, its error
    that of the ratio estimator (Cochran 1977, "Sampling techniques", equation 2.46).

    Args:
        task: whose listeners the lists are of, in its order.
        ranked: `[users, ranks]`; minus infinity where a list is not filled.
        num_groups: at most; fewer where many scores are equal.
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
    """Which contents of the lists of all listeners, in the task's order, are targets of the listener."""
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
