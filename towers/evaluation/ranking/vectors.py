"""Inner products of vectors as a ranker, for catalogues of any size.

Some listeners at a time meet the candidates tile by tile, so listeners times contents are never held. Every pair is
scored once: candidates without a play in training (cold) come after all others (warm) and have a running list of their
own; what the listener has heard is taken out of the tile and set aside. The three lists are put together from these:
`unseen_cold` is the cold list, `unseen` the warm one with the cold one, `everything` that with what was heard.

A content whose vector is all zeros has no place in the space (an export does not hold it) and stands in no list. Its
product would be 0, before everything that points away from the listener. Where it is a target it stays one, and is
missed.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_info, threadpool_limits

from towers.evaluation.ranking.rankers import Ranked, Ranking
from towers.evaluation.ranking.top_k import RunningTopK
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

PART_SIZE = 512
"""Listeners that a thread ranks at a time."""

TILE_SIZE = 8192
"""Candidates that they are scored with at a time: 16 MB of scores. Tiles of fewer would cost more: numpy compares rows
of fewer than 8192 values, the size of its buffer, at half the speed."""

SLICE_SIZE = 64
"""Listeners of a part whose lists are brought up to date together, so that their scores fit into a core's cache."""


class VectorRanker:
    """Ranks by the inner product of listener and content, in float32.

    Every thread ranks listeners of its own, with a BLAS library that is held to one thread meanwhile: on a machine with
    other work that is twice as fast as a product on all cores followed by a search on all cores, which wait for each
    other. There are as many threads as BLAS would use (`OMP_NUM_THREADS` and the like count).

    Beside the vectors it is given it holds those of the candidates once more, and for each thread about
    `4 * PART_SIZE * (TILE_SIZE + 12 * k)` bytes and 10 MB, whatever the number of listeners and contents: 30 MB for
    k = 100.

    Contents whose scores are equal as computed are in the order of content rows. A library may round the products of
    one pair differently at another place of another tile, so equal vectors may differ in the last digit.

    Args:
        task: what is ranked for whom.
        name: in reports.
        user_vectors: `[users of the task, dim]`.
        content_vectors: `[contents, dim]`; all zeros for what stands in no list.
        block_size: listeners ranked at a time. Null: a part for each thread.
        tile_size: candidates scored at a time.

    Raises:
        ValueError: vectors that are not finite, or whose products would not be.
    """

    def __init__(
        self,
        task: EvaluationTask,
        name: str,
        user_vectors: Float[np.ndarray, "users dim"],
        content_vectors: Float[np.ndarray, "contents dim"],
        *,
        block_size: int | None = None,
        tile_size: int = TILE_SIZE,
    ):
        self.name = name
        self._num_threads = num_threads()
        self.block_size = block_size or PART_SIZE * self._num_threads
        self._tile_size = tile_size
        self._histories = task.histories
        self._candidates = Candidates.of(task, content_vectors)
        self._user_vectors = np.asarray(user_vectors, dtype=np.float32)
        self._content_vectors = np.asarray(content_vectors[self._candidates.rows[:-1]], dtype=np.float32)
        check_products(name, self._user_vectors, self._content_vectors)

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `rankers.Ranker`."""
        # Never empty, so that the lists of nobody have their shapes too.
        part_size = max(1, min(PART_SIZE, -(-len(positions) // self._num_threads)))
        parts = [positions[start : start + part_size] for start in range(0, max(len(positions), 1), part_size)]
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(self._num_threads) as threads:
            ranked = list(threads.map(lambda part: self._rank_part(part, k), parts))
        return {ranking: _stacked([lists[ranking] for lists in ranked]) for ranking in ranked[0]}

    def _rank_part(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        vectors = self._user_vectors[positions]
        slices = [slice(start, start + SLICE_SIZE) for start in range(0, max(len(positions), 1), SLICE_SIZE)]
        listeners = [_Listeners(self._candidates, self._histories.take(positions[some]), k) for some in slices]
        buffer = np.empty(len(positions) * self._tile_size, dtype=np.float32)
        for start, stop in self._candidates.tiles(self._tile_size):
            scores = buffer[: len(positions) * (stop - start)].reshape(-1, stop - start)
            np.matmul(vectors, self._content_vectors[start:stop].T, out=scores)
            for some, met in zip(slices, listeners, strict=True):
                met.meet(scores[some], start)
        ranked = [met.lists() for met in listeners]
        return {ranking: _stacked([lists[ranking] for lists in ranked]) for ranking in ranked[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The candidates that have a vector as columns: warm ones first, then cold ones, each in the order of content rows.

    Args:
        rows: their content rows; after the last one -1, at which the column -1 of a place without a content points.
        num_warm: how many of them are warm.
        num_cold: cold candidates of the task, with a vector or without: lists are as long for everybody who ranks.
        num_contents: rows of the store, candidates or not.
        column_of_row: `[contents]`, where a content stands; -1 for what stands in no list.
    """

    rows: Int[np.ndarray, " columns_plus_one"]
    num_warm: int
    num_cold: int
    num_contents: int
    column_of_row: Int[np.ndarray, " contents"]

    @classmethod
    def of(cls, task: EvaluationTask, content_vectors: Float[np.ndarray, "contents dim"]) -> "Candidates":
        """Those of `task` whose vector is not all zeros."""
        has_place = task.is_candidate & content_vectors.any(axis=1)
        warm = np.flatnonzero(has_place & ~task.is_cold)
        rows = np.concatenate([warm, np.flatnonzero(has_place & task.is_cold)])
        column_of_row = np.full(task.num_contents, -1)
        column_of_row[rows] = np.arange(len(rows))
        return cls(
            rows=np.append(rows, -1),
            num_warm=len(warm),
            num_cold=int((task.is_candidate & task.is_cold).sum()),
            num_contents=task.num_contents,
            column_of_row=column_of_row,
        )

    def __len__(self) -> int:
        return len(self.rows) - 1

    def tiles(self, size: int) -> list[tuple[int, int]]:
        """Where tiles of at most `size` columns start and stop, each of them all warm or all cold."""
        starts = [*range(0, self.num_warm, size), *range(self.num_warm, len(self), size)]
        return list(zip(starts, [*starts[1:], len(self)], strict=True)) if starts else []

    def heard(self, histories: Ragged) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """The (listener, column) pairs of `histories` without repeats, in the order of columns."""
        columns = self.column_of_row[histories.values]
        is_candidate = columns >= 0
        # Sorted, then without repeats: np.unique hashes first, which takes ten times as long.
        keys = np.sort(columns[is_candidate] * len(histories) + histories.list_of_value[is_candidate])
        keys = keys[np.diff(keys, prepend=-1) > 0]
        columns, users = np.divmod(keys, max(len(histories), 1))
        return users, columns

    def ranked(self, columns: Int[np.ndarray, "users ranks"], scores: Float[np.ndarray, "users ranks"]) -> Ranked:
        """Content rows for columns; -1 stays."""
        return Ranked(rows=self.rows[columns], scores=scores)

    def lists(
        self,
        warm: Ranked,
        cold: Ranked,
        heard_users: Int[np.ndarray, " pairs"],
        heard_columns: Int[np.ndarray, " pairs"],
        heard_scores: Float[np.ndarray, " pairs"],
    ) -> dict[Ranking, Ranked]:
        """The three lists, each as long as `warm` and `cold`, from the best warm and cold candidates that each
        listener has not heard, and from all that they have.
        """
        unseen = merged(warm, cold)
        k = unseen.rows.shape[1]
        enters = heard_scores >= unseen.scores[heard_users, -1] if k else np.zeros(len(heard_users), dtype=bool)
        heard = best_of_pairs(
            heard_users[enters], self.rows[heard_columns[enters]], heard_scores[enters], unseen.rows.shape
        )
        num_cold = min(k, self.num_cold)
        return {
            "everything": merged(unseen, heard),
            "unseen": unseen,
            "unseen_cold": Ranked(rows=cold.rows[:, :num_cold], scores=cold.scores[:, :num_cold]),
        }


class _Listeners:
    """Some listeners of a part, and what they have met so far."""

    def __init__(self, candidates: Candidates, histories: Ragged, k: int):
        k = min(k, candidates.num_contents)
        self._candidates = candidates
        self._warm = RunningTopK(len(histories), k)
        self._cold = RunningTopK(len(histories), k)
        self._heard_users, self._heard_columns = candidates.heard(histories)
        self._heard_scores = np.zeros(len(self._heard_users), dtype=np.float32)

    def meet(self, scores: Float[np.ndarray, "users tile"], start: int) -> None:
        """Takes in the scores of the candidates from column `start` on, and overwrites those of what was heard."""
        first, last = np.searchsorted(self._heard_columns, [start, start + scores.shape[1]])
        pairs = self._heard_users[first:last], self._heard_columns[first:last] - start
        self._heard_scores[first:last] = scores[pairs]
        scores[pairs] = -np.inf
        running = self._warm if start < self._candidates.num_warm else self._cold
        running.add(scores, start)

    def lists(self) -> dict[Ranking, Ranked]:
        warm, cold = (self._candidates.ranked(*running.best()) for running in (self._warm, self._cold))
        return self._candidates.lists(warm, cold, self._heard_users, self._heard_columns, self._heard_scores)


def merged(first: Ranked, second: Ranked) -> Ranked:
    """The best of two lists of the same length that share no content, as one of that length."""
    rows = np.concatenate([first.rows, second.rows], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = np.lexsort((rows, -scores), axis=-1)[:, : first.rows.shape[1]]
    return Ranked(rows=np.take_along_axis(rows, order, axis=1), scores=np.take_along_axis(scores, order, axis=1))


def check_products(name: str, users: Float[np.ndarray, "users dim"], contents: Float[np.ndarray, "contents dim"]):
    """Refuses vectors of which a product, or a part of its sum, might not be finite (Cauchy-Schwarz).

    Raises:
        ValueError: names the ranker.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        largest = [np.einsum("rd,rd->r", vectors, vectors).max(initial=0) for vectors in (users, contents)]
        if not np.isfinite(largest[0] * largest[1]):
            raise ValueError(f"ranker {name!r} has vectors whose products are not a number or not finite")


def best_of_pairs(
    users: Int[np.ndarray, " pairs"],
    rows: Int[np.ndarray, " pairs"],
    scores: Float[np.ndarray, " pairs"],
    shape: tuple[int, ...],
) -> Ranked:
    """The best pairs of each listener as lists of the given `[users, ranks]`."""
    order = np.lexsort((rows, -scores, users))
    users, rows, scores = users[order], rows[order], scores[order]
    ranks = np.arange(len(users)) - np.searchsorted(users, users)
    keep = ranks < shape[1]
    best = Ranked(rows=np.full(shape, -1), scores=np.full(shape, -np.inf, dtype=scores.dtype))
    best.rows[users[keep], ranks[keep]] = rows[keep]
    best.scores[users[keep], ranks[keep]] = scores[keep]
    return best


def _stacked(parts: list[Ranked]) -> Ranked:
    return Ranked(
        rows=np.concatenate([part.rows for part in parts]), scores=np.concatenate([part.scores for part in parts])
    )


def num_threads() -> int:
    """As many as BLAS would use."""
    return max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)
