"""Who ranks contents for listeners: the protocol, and lists out of plain scores.

Three lists are asked of whoever ranks. All hold candidates alone, best first, equal scores in the order of content
rows:

- `everything`: all candidates.
- `unseen`: without what the listener has heard.
- `unseen_cold`: without what the listener has heard, and without what was played in the training period.
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
    """One list a listener, best first.

    Args:
        rows: `[users, ranks]`, content rows; -1 at the places that a shorter list does not fill.
        scores: `[users, ranks]`, what they were ranked by; minus infinity at such places.
    """

    rows: Int[np.ndarray, "users ranks"]
    scores: Float[np.ndarray, "users ranks"]


@runtime_checkable  # for the tests, which check annotations at run time
class Ranker(Protocol):
    """Whoever gives listeners lists: a baseline, vectors, an index, a GPU."""

    @property
    def name(self) -> str:
        """Stands in reports; unique among the rankers of one report."""
        ...

    @property
    def block_size(self) -> int:
        """How many listeners it likes to rank at a time, at least 1."""
        ...

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> Mapping[Ranking, Ranked]:
        """The first `k` (or all, where there are fewer) of each of `RANKINGS`.

        `positions` index the task's `user_rows`.

        Raises:
            ValueError: scores that are not a number.
        """
        ...


@runtime_checkable  # for the tests, which check annotations at run time
class Scorer(Protocol):
    """Whoever scores every content for a listener; `DenseRanker` makes lists of it."""

    @property
    def name(self) -> str:
        """Stands in reports."""
        ...

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Scores of all contents of the store, higher is better, for the listeners at `positions`.

        `positions` index the task's `user_rows`. Minus infinity leaves a content out of the listener's
        list; NaN is an error. Scores of contents that are no candidates are ignored.
        """
        ...


class DenseRanker:
    """Lists from a scorer whose scores of all contents fit into memory for some listeners at a time.

    Args:
        task: what is ranked for whom.
        scorer: gives the scores.
        block_size: listeners scored at a time; about `20 * block_size * contents` bytes are in use. Null: 256, or as
            many as fit into `BLOCK_BYTES`.
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
            ValueError: scores that hold NaN or have the wrong shape; the message names the scorer.
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
        # The appended -1 is what a place without a content, itself -1, points at.
        cold_rows = np.append(self._cold, -1)[among_cold.rows]
        cold = Ranked(rows=cold_rows, scores=among_cold.scores)
        return {"everything": everything, "unseen": unseen, "unseen_cold": cold}


def _best(scores: Float[np.ndarray, "users contents"], k: int) -> Ranked:
    rows = top_k(scores, k)
    # Of nobody there is nothing to take; the shape is that of the rows all the same.
    empty = np.zeros(rows.shape, scores.dtype)
    found = np.take_along_axis(scores, np.maximum(rows, 0), axis=1) if rows.size else empty
    return Ranked(rows=rows, scores=np.where(rows >= 0, found, -np.inf))
