"""Ranking by inner products of vectors, for catalogues of any size.

A block of listeners is scored against tiles of candidates, so that the full score matrix is never in memory. Every pair
is scored once: candidates without a play in training (cold) come after all others (warm) and have a separate running
list; scores of heard contents are moved out of the tile. The three lists are built from these parts: `unseen_cold` is
the cold list, `unseen` the warm and cold lists merged, `everything` adds the heard contents.

A content with a vector of zeros has no place in the space (an export does not hold it) and is in no list. Its product
would be 0, above all contents with negative products. If it is a target, it stays one, and is missed.
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
"""Number of listeners that a thread ranks at a time."""

TILE_SIZE = 8192
"""Number of candidates scored at a time: 16 MB of scores. Smaller tiles are slower: numpy compares rows of fewer than
8192 values, the size of its buffer, at half the speed."""

SLICE_SIZE = 64
"""Number of listeners whose lists are updated together, so that their scores fit into a core's cache."""


class VectorRanker:
    """Ranks by the inner product of listener and content, in float32.

    Every thread ranks its own listeners, with BLAS limited to one thread: on a machine with other load that is twice as
    fast as a product on all cores followed by a search on all cores, which wait for each other. There are as many
    threads as BLAS would use (so `OMP_NUM_THREADS` and the like apply).

    Beside the given vectors it holds a copy of the candidates' vectors, and for each thread about
    `4 * PART_SIZE * (TILE_SIZE + 12 * k)` bytes and 10 MB, for any number of listeners and contents: 30 MB for k = 100.

    Contents with equal computed scores are in the order of content rows. BLAS may round a product differently at
    another position of a tile, so the scores of equal vectors may differ in the last digit.

    Args:
        task: listeners, candidates and targets.
        name: name in reports.
        user_vectors: `[users of the task, dim]`.
        content_vectors: `[contents, dim]`; all zeros for contents that are in no list.
        block_size: number of listeners ranked at a time. Null: a part for each thread.
        tile_size: number of candidates scored at a time.

    Raises:
        ValueError: a vector or a product is not finite.
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
        # At least one part, so that the lists of no listeners have their shapes too.
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
    """Columns of the candidates that have a vector: warm ones first, then cold ones, each in the order of content rows.

    Args:
        rows: content row of each column, and a final -1, which column -1 of an empty place selects.
        num_warm: number of warm candidates.
        num_cold: number of cold candidates of the task, with or without a vector, so that all rankers' lists have the
            same length.
        num_contents: number of content rows in the store.
        column_of_row: `[contents]`, column of each content; -1 for contents that are in no list.
    """

    rows: Int[np.ndarray, " columns_plus_one"]
    num_warm: int
    num_cold: int
    num_contents: int
    column_of_row: Int[np.ndarray, " contents"]

    @classmethod
    def of(cls, task: EvaluationTask, content_vectors: Float[np.ndarray, "contents dim"]) -> "Candidates":
        """Selects the candidates of `task` whose vector is not all zeros."""
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
        """Returns start and stop of tiles of at most `size` columns, each with only warm or only cold candidates."""
        starts = [*range(0, self.num_warm, size), *range(self.num_warm, len(self), size)]
        return list(zip(starts, [*starts[1:], len(self)], strict=True)) if starts else []

    def heard(self, histories: Ragged) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
        """Returns the (listener, column) pairs of `histories` without repeats, in the order of columns."""
        columns = self.column_of_row[histories.values]
        is_candidate = columns >= 0
        # Sorts and removes repeats; np.unique uses hashing, which takes ten times as long.
        keys = np.sort(columns[is_candidate] * len(histories) + histories.list_of_value[is_candidate])
        keys = keys[np.diff(keys, prepend=-1) > 0]
        columns, users = np.divmod(keys, max(len(histories), 1))
        return users, columns

    def ranked(self, columns: Int[np.ndarray, "users ranks"], scores: Float[np.ndarray, "users ranks"]) -> Ranked:
        """Replaces columns by content rows; -1 stays."""
        return Ranked(rows=self.rows[columns], scores=scores)

    def lists(
        self,
        warm: Ranked,
        cold: Ranked,
        heard_users: Int[np.ndarray, " pairs"],
        heard_columns: Int[np.ndarray, " pairs"],
        heard_scores: Float[np.ndarray, " pairs"],
    ) -> dict[Ranking, Ranked]:
        """Builds the three lists, each as long as `warm` and `cold`.

        Args:
            warm: best warm candidates that each listener has not heard.
            cold: best cold candidates that each listener has not heard.
            heard_users: listeners of all pairs with a heard candidate.
            heard_columns: columns of these pairs.
            heard_scores: scores of these pairs.
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
    """A slice of a part's listeners, with their running lists."""

    def __init__(self, candidates: Candidates, histories: Ragged, k: int):
        k = min(k, candidates.num_contents)
        self._candidates = candidates
        self._warm = RunningTopK(len(histories), k)
        self._cold = RunningTopK(len(histories), k)
        self._heard_users, self._heard_columns = candidates.heard(histories)
        self._heard_scores = np.zeros(len(self._heard_users), dtype=np.float32)

    def meet(self, scores: Float[np.ndarray, "users tile"], start: int) -> None:
        """Adds the scores of a tile from column `start` on, after moving those of heard contents out of it."""
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
    """Merges two lists of the same length without common contents into one of that length."""
    rows = np.concatenate([first.rows, second.rows], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = np.lexsort((rows, -scores), axis=-1)[:, : first.rows.shape[1]]
    return Ranked(rows=np.take_along_axis(rows, order, axis=1), scores=np.take_along_axis(scores, order, axis=1))


def check_products(name: str, users: Float[np.ndarray, "users dim"], contents: Float[np.ndarray, "contents dim"]):
    """Checks that no product of two vectors, nor a partial sum of it, can overflow, by the Cauchy-Schwarz bound.

    Raises:
        ValueError: a product might not be finite; the message names the ranker.
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
    """Returns the best pairs of each listener as lists of shape `[users, ranks]`."""
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
    """Returns the number of threads that BLAS would use."""
    return max((library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"), default=1)
