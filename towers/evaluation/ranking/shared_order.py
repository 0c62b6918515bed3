"""Ranking by sparse scorers: one order of the contents for all listeners, and exceptions for each listener.

Neighbours, sessions and counts score a few thousand contents individually for a listener, and all others equally for
all listeners: by popularity, or 0. So the scores of the whole catalogue are neither made nor searched per listener: the
exceptions are sorted, and the rest is read from one shared order of the contents, without the listener's exceptions and
heard contents.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.evaluation.ranking.rankers import BLOCK_BYTES, RANKINGS, Ranked, Ranking, Scorer
from towers.evaluation.ranking.top_k import levels
from towers.evaluation.ranking.vectors import best_of_pairs, merged
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

BLOCK_SIZE = 256
"""Number of listeners whose exceptions are computed at a time."""

_ENTRY_BYTES = 90
"""Upper bound of the memory for each exception while lists are made; it limits a part of a block to `BLOCK_BYTES`."""

_MANY = 4
"""Ratio of exceptions to places above which exceptions are preselected before they are sorted."""


@runtime_checkable
class SparseScorer(Scorer, Protocol):
    """A scorer whose scores are the same for all listeners, except for some contents of each listener."""

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Scores of the contents that are no exceptions."""
        ...

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns, `[users, contents]`, the scores that replace `base` for the listeners at `positions`."""
        ...


class SharedOrder:
    """One order of contents, from which each listener gets the first ones that are not excluded for them.

    Args:
        rows: content rows in order.
        num_contents: number of content rows in the store.
    """

    def __init__(self, rows: Int[np.ndarray, " listed"], num_contents: int):
        self._rows = np.append(rows, -1)
        self._place = np.full(num_contents, -1)
        self._place[rows] = np.arange(len(rows))

    def first(self, left_out: Ragged, k: int) -> Int[np.ndarray, "users ranks"]:
        """Returns the first `k` contents of each listener; -1 if there are fewer.

        Args:
            left_out: content rows to exclude for each listener, without repeats.
            k: number of contents.
        """
        places, users = self._place[left_out.values], left_out.list_of_value
        is_listed = places >= 0
        users, places = users[is_listed], places[is_listed]
        order = np.lexsort((places, users))
        users, places = users[order], places[order]
        # The j-th excluded place (from 0) shifts all contents from rank `place - j` on by one.
        ranks = places - (np.arange(len(users)) - np.searchsorted(users, users))
        passed = np.zeros((len(left_out), k), dtype=np.int64)
        is_near = ranks < k
        np.add.at(passed, (users[is_near], ranks[is_near]), 1)
        found = np.arange(k) + np.cumsum(passed, axis=1)
        return self._rows[np.minimum(found, len(self._rows) - 1)]


class SparseRanker:
    """Ranks by a `SparseScorer` from one order of the contents; the lists are those of `DenseRanker`.

    Args:
        task: listeners, candidates and targets.
        scorer: scorer of the contents.
        block_size: number of listeners whose exceptions are computed at a time.

    Raises:
        ValueError: a base score is NaN; the message names the scorer.
    """

    def __init__(self, task: EvaluationTask, scorer: SparseScorer, *, block_size: int = BLOCK_SIZE):
        self.name, self.block_size = scorer.name, block_size
        self._task, self._scorer = task, scorer
        self._base = np.asarray(scorer.base)
        _check(self.name, self._base)
        by_score = np.argsort(-self._base, kind="stable")
        by_score = by_score[task.is_candidate[by_score] & (self._base[by_score] > -np.inf)]
        self._is_cold = task.is_cold & task.is_candidate
        self._all = SharedOrder(by_score, task.num_contents)
        self._cold = SharedOrder(by_score[self._is_cold[by_score]], task.num_contents)

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `Ranker`.

        Raises:
            ValueError: an exception is NaN; the message names the scorer.
        """
        own = self._scorer.exceptions(positions)
        own.sort_indices()
        _check(self.name, own.data)
        parts = [self._lists(positions[part], own[part], k) for part in _parts(own.indptr)]
        return {
            ranking: Ranked(
                rows=np.concatenate([part[ranking].rows for part in parts]),
                scores=np.concatenate([part[ranking].scores for part in parts]),
            )
            for ranking in RANKINGS
        }

    def _lists(self, positions: Int[np.ndarray, " part"], own: sparse.csr_array, k: int) -> dict[Ranking, Ranked]:
        """Makes the lists of a part of the listeners from their exceptions."""
        task, contents = self._task, self._task.num_contents
        entries = Ragged(own.indptr.astype(np.int64), own.indices)
        keys = entries.list_of_value * contents + entries.values
        heard = task.histories.take(positions).unique()
        heard_keys = np.append(heard.list_of_value * contents + heard.values, np.iinfo(np.int64).max)
        is_unheard = heard_keys[np.searchsorted(heard_keys, keys)] != keys
        joined = np.sort(np.concatenate([keys[is_unheard], heard_keys[:-1]]))
        users, rows = np.divmod(joined, contents)
        neither = Ragged(np.searchsorted(users, np.arange(len(positions) + 1)).astype(np.int64), rows)
        everything, cold = (np.asarray(each)[entries.values] for each in (task.is_candidate, self._is_cold))
        length, cold_length = min(k, contents), min(k, int(self._is_cold.sum()))
        return {
            "everything": self._listed(self._all, entries, own.data, everything, entries, length),
            "unseen": self._listed(self._all, entries, own.data, everything & is_unheard, neither, length),
            "unseen_cold": self._listed(self._cold, entries, own.data, cold & is_unheard, neither, cold_length),
        }

    def _listed(
        self, shared: SharedOrder, entries: Ragged, scores: np.ndarray, allowed: np.ndarray, left_out: Ragged, k: int
    ) -> Ranked:
        """Merges the allowed exceptions with the contents of the shared order."""
        rows = shared.first(left_out, k)
        rest = Ranked(rows=rows, scores=np.where(rows >= 0, self._base[rows], -np.inf).astype(self._base.dtype))
        allowed = allowed & (scores > -np.inf)
        kept, scores = entries.where(allowed), scores[allowed]
        if k and len(scores) > _MANY * k * len(kept):
            enters = scores >= levels(scores, kept, k)[kept.list_of_value]  # sorting the rest would dominate the time
            kept, scores = kept.where(enters), scores[enters]
        own = best_of_pairs(kept.list_of_value, kept.values, scores, (len(kept), k))
        return merged(rest, own)


def _parts(offsets: Int[np.ndarray, " users_plus_one"]) -> Iterator[slice]:
    """Yields slices of listeners with at most `BLOCK_BYTES` of exceptions, or of one listener with more."""
    start, most, users = 0, BLOCK_BYTES // _ENTRY_BYTES, len(offsets) - 1
    while True:
        fits = int(np.searchsorted(offsets, int(offsets[start]) + most, side="right")) - 1
        stop = min(max(fits, start + 1), users)
        yield slice(start, stop)
        start = stop
        if start >= users:
            return


def _check(name: str, scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise ValueError(f"ranker {name!r} gave scores that are not a number")
