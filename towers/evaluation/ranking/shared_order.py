"""Lists of scorers that say the same of most contents to everybody: one order for all, and each listener's exceptions.

Neighbours, sessions and counts score a few thousand contents of a listener's own, and all others alike for everybody:
by popularity, or 0. So nobody's scores of the whole catalogue are made or searched: the exceptions are sorted, and the
rest is read off one order of the contents, from which the listener's exceptions and what they heard are left out.
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
"""Listeners whose exceptions are asked for at a time."""

_ENTRY_BYTES = 90
"""What is held at most for each exception while lists are made; parts of a block hold as many as fit `BLOCK_BYTES`."""

_MANY = 4
"""Times as many exceptions as places, from which on the best are told apart before they are sorted."""


@runtime_checkable
class SparseScorer(Scorer, Protocol):
    """A scorer whose scores are the same for everybody but for some of a listener's own."""

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Scores of whatever is no exception."""
        ...

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """`[users, contents]` of the listeners at `positions`: whatever is stored stands in the place of `base`."""
        ...


class SharedOrder:
    """Contents in one order, of which each listener gets the first that are not left out for them.

    Args:
        rows: the contents, first to last.
        num_contents: rows of the store, in the order or not.
    """

    def __init__(self, rows: Int[np.ndarray, " listed"], num_contents: int):
        self._rows = np.append(rows, -1)
        self._place = np.full(num_contents, -1)
        self._place[rows] = np.arange(len(rows))

    def first(self, left_out: Ragged, k: int) -> Int[np.ndarray, "users ranks"]:
        """The first `k` contents of each listener, -1 where there are fewer.

        Args:
            left_out: per listener the rows of contents that are not for them, without repeats.
            k: how many.
        """
        places, users = self._place[left_out.values], left_out.list_of_value
        is_listed = places >= 0
        users, places = users[is_listed], places[is_listed]
        order = np.lexsort((places, users))
        users, places = users[order], places[order]
        # The j-th place left out, counted from 0, is passed by whatever comes at rank place - j or later.
        ranks = places - (np.arange(len(users)) - np.searchsorted(users, users))
        passed = np.zeros((len(left_out), k), dtype=np.int64)
        is_near = ranks < k
        np.add.at(passed, (users[is_near], ranks[is_near]), 1)
        found = np.arange(k) + np.cumsum(passed, axis=1)
        return self._rows[np.minimum(found, len(self._rows) - 1)]


class SparseRanker:
    """Ranks a `SparseScorer` from one order of the contents; the lists are those of `DenseRanker`.

    Args:
        task: what is ranked for whom.
        scorer: gives the scores.
        block_size: listeners whose exceptions are asked for at a time.

    Raises:
        ValueError: scores of the base that are not a number; the message names the scorer.
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
            ValueError: exceptions that are not a number; the message names the scorer.
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
        """The lists of some of the listeners, from their exceptions."""
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
        """The best of the exceptions that are allowed and of what the order has for everybody."""
        rows = shared.first(left_out, k)
        rest = Ranked(rows=rows, scores=np.where(rows >= 0, self._base[rows], -np.inf).astype(self._base.dtype))
        allowed = allowed & (scores > -np.inf)
        kept, scores = entries.where(allowed), scores[allowed]
        if k and len(scores) > _MANY * k * len(kept):
            enters = scores >= levels(scores, kept, k)[kept.list_of_value]  # sorting what is below takes longest
            kept, scores = kept.where(enters), scores[enters]
        own = best_of_pairs(kept.list_of_value, kept.values, scores, (len(kept), k))
        return merged(rest, own)


def _parts(offsets: Int[np.ndarray, " users_plus_one"]) -> Iterator[slice]:
    """Listeners one after the other with at most `BLOCK_BYTES` of exceptions together, or one listener with more."""
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
