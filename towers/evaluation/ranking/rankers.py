"""Interface of rankers, and a ranker that makes lists from scores.

A ranker makes three lists, of candidates only, best first, with equal scores in the order of content rows:

- `everything`: all candidates.
- `unseen`: candidates that the listener has not heard.
- `unseen_cold`: candidates that the listener has not heard and that have no play in the training period.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.ranking.top_k import top_k
from towers.evaluation.task import EvaluationTask

Ranking = Literal["everything", "unseen", "unseen_cold"]
RANKINGS: Final[tuple[Ranking, ...]] = ("everything", "unseen", "unseen_cold")

BLOCK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Ranked lists, one per listener, best first.

    Args:
        rows: `[users, ranks]`, content rows; -1 at empty places of a shorter list.
        scores: `[users, ranks]`, scores by which they are ranked; minus infinity at empty places.
    """

    rows: Int[np.ndarray, "users ranks"]
    scores: Float[np.ndarray, "users ranks"]


@runtime_checkable  # for the tests, which check annotations at run time
class Ranker(Protocol):
    """Makes lists for listeners: a baseline, vectors, an index or a GPU."""

    @property
    def name(self) -> str:
        """Name in reports, unique among the rankers of one report."""
        ...

    @property
    def block_size(self) -> int:
        """Preferred number of listeners to rank at a time, at least 1."""
        ...

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> Mapping[Ranking, Ranked]:
        """Returns the first `k` contents (or all, if there are fewer) of each of `RANKINGS`.

        `positions` are indices into the task's `user_rows`.

        Raises:
            ValueError: a score is NaN.
        """
        ...


@runtime_checkable  # for the tests, which check annotations at run time
class Scorer(Protocol):
    """Scores every content for a listener; `DenseRanker` makes lists from the scores."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns scores of all contents of the store, higher is better, for the listeners at `positions`.

        `positions` are indices into the task's `user_rows`. Minus infinity excludes a content from the listener's list;
        NaN is an error. Scores of contents that are no candidates are ignored.
        """
        ...


class DenseRanker:
    """Makes lists from a scorer, holding the scores of all contents for a block of listeners in memory.

    Args:
        task: listeners, candidates and targets.
        scorer: scorer of the contents.
        block_size: number of listeners scored at a time; about `20 * block_size * contents` bytes are in use. Null:
            256, or as many as fit into `BLOCK_BYTES`.
    """

    def __init__(self, task: EvaluationTask, scorer: Scorer, *, block_size: int | None = None):
        self._task = task
        self._scorer = scorer
        self._cold = np.flatnonzero(task.is_cold & task.is_candidate)
        self.name = scorer.name
        self.block_size = block_size or max(1, min(256, BLOCK_BYTES // (20 * task.num_contents)))

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `Ranker`.

        Raises:
            ValueError: scores contain NaN or have the wrong shape; the message names the scorer.
        """
        task, scores = self._task, np.asarray(self._scorer.scores(positions))
        if scores.shape != (len(positions), task.num_contents):
            raise ValueError(
                f"ranker {self.name!r} gave scores of shape {scores.shape}, "
                f"expected {(len(positions), task.num_contents)}"
            )
        if np.isnan(scores).any():
            raise ValueError(f"ranker {self.name!r} gave scores that are not a number")
        # A copy, because the scorer may keep what it returned.
        scores = np.where(task.is_candidate, scores, -np.inf)
        everything = _best(scores, k)
        heard = task.histories.take(positions)
        scores[heard.list_of_value, heard.values] = -np.inf
        unseen = _best(scores, k)
        among_cold = _best(scores[:, self._cold], k)
        # An empty place has row -1, which selects the appended -1.
        cold_rows = np.append(self._cold, -1)[among_cold.rows]
        cold = Ranked(rows=cold_rows, scores=among_cold.scores)
        return {"everything": everything, "unseen": unseen, "unseen_cold": cold}


def _best(scores: Float[np.ndarray, "users contents"], k: int) -> Ranked:
    rows = top_k(scores, k)
    # take_along_axis fails on empty arrays, so these are built with the shape of the rows.
    empty = np.zeros(rows.shape, scores.dtype)
    found = np.take_along_axis(scores, np.maximum(rows, 0), axis=1) if rows.size else empty
    return Ranked(rows=rows, scores=np.where(rows >= 0, found, -np.inf))
