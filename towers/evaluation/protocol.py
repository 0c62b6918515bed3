"""Evaluation protocol that all rankers share: the same listeners, targets, slices and list metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from towers.data.store import Store
from towers.evaluation.attributes import content_attributes
from towers.evaluation.from_store import all_histories
from towers.evaluation.harness import evaluate
from towers.evaluation.known import Known
from towers.evaluation.list_metrics import ListMetrics
from towers.evaluation.ranking.rankers import Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.result import Evaluation
from towers.evaluation.slicings import Period, SlicingRule


class EvaluationProtocol:
    """Evaluates all rankers in the same way on one period of one store.

    Args:
        store: prepared store.
        period: period that contains the targets.
        filter_seen: whether the slice `all` excludes heard contents; see `harness.evaluate`.
        ks: list lengths at which metrics of hits are computed.
        min_users: smallest number of listeners for which a slice has a mean.
        list_k: length of the lists for list metrics, and of the lists that are kept.
        rules: further divisions of the slice `discovery`, by name; those without data are skipped.
        ranker: constructor of a ranker of vectors, from a task, a name, the listeners' and the contents' vectors.
    """

    def __init__(
        self,
        store: Store,
        period: Period,
        *,
        filter_seen: bool,
        ks: Sequence[int],
        min_users: int,
        list_k: int,
        rules: Mapping[str, SlicingRule] | None = None,
        ranker: Callable[..., Ranker] = VectorRanker,
    ):
        self.store = store
        self.period: Period = period
        self.known = Known(store, period)
        self.task = self.known.task
        self.ranker = ranker
        self.filter_seen, self.ks, self.min_users, self.list_k = filter_seen, tuple(ks), min_users, list_k
        made = {name: rule.slicing(store, self.task, period) for name, rule in (rules or {}).items()}
        # The configuration's name, so that two divisions by one column stay apart.
        self._slicings = [replace(slicing, name=name) for name, slicing in made.items() if slicing is not None]
        self._list_judge = ListMetrics(
            self.task, all_histories(store, "validation"), content_attributes(store), k=list_k
        )

    def evaluate(self, ranker: Ranker) -> Evaluation:
        """Evaluates a ranker in one pass over the listeners.

        Raises:
            ValueError: the ranker raises it.
        """
        return evaluate(
            self.task,
            ranker,
            filter_seen=self.filter_seen,
            ks=self.ks,
            min_users=self.min_users,
            slicings=self._slicings,
            list_judge=self._list_judge,
            list_length=self.list_k,
        )

    def evaluate_vectors(
        self, name: str, users: Float[np.ndarray, "users dim"], contents: Float[np.ndarray, "contents dim"]
    ) -> Evaluation:
        """Evaluates a ranking by inner products of vectors; `users` are the listeners of the task."""
        return self.evaluate(self.ranker(self.task, name, users, contents))
