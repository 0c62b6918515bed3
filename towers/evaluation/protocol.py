"""One protocol for all who are ranked: the same listeners and targets, lists, slices and judges of lists."""

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
    """How everybody is evaluated on one period of one store.

    Args:
        store: the prepared store.
        period: whose targets are to be found.
        filter_seen: see `harness.evaluate`, and so the following two.
        ks: lengths of the lists judged by hits.
        min_users: slices with fewer listeners get no figure.
        list_k: length of the lists judged as lists, and kept.
        rules: divide first listens further, by the name of the division; those that the data says nothing of are left
            out.
        ranker: makes a ranker of vectors, from a task, a name, listeners' vectors and contents'.
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
        """One pass over the listeners.

        Raises:
            ValueError: what the ranker raises.
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
        """Judges whoever ranks by inner products; `users` are those of the task."""
        return self.evaluate(self.ranker(self.task, name, users, contents))
