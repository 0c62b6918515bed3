"""All checks of one evaluation of vectors, in the order of their report."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from towers.contract.provenance import Provenance
from towers.data.store import Store
from towers.evaluation.baselines.counts import Popularity
from towers.evaluation.checks.future import baseline_view, future_leak, histories_end, sampled_rows, trained_before
from towers.evaluation.checks.honesty import (
    Check,
    list_audit,
    memorised_validation,
    permuted_targets,
    shuffled_listeners,
)
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker, Ranker
from towers.evaluation.result import Evaluation
from towers.evaluation.slicings import Period
from towers.evaluation.task import EvaluationTask


@runtime_checkable  # for the tests, which check annotations at run time
class Listeners(Protocol):
    """Function that returns listeners' vectors from the histories of a store, up to the start of a period."""

    def __call__(self, store: Store, rows: Int[np.ndarray, " users"], period: Period) -> Float[np.ndarray, "users dim"]:
        """Returns the vectors of the listeners at `rows` of the store."""
        ...


def all_checks(
    protocol: EvaluationProtocol,
    evaluations: Sequence[Evaluation],
    listeners: Listeners,
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    provenance: Provenance,
) -> list[Check]:
    """Runs all checks: training data, leaks from the future, list contents, chance, personalisation, memorisation.

    Args:
        protocol: protocol of the evaluation.
        evaluations: evaluations of all rankers, the model first.
        listeners: the model's function from histories to vectors.
        users: listeners' vectors that were evaluated, `[users of the task, dim]`.
        contents: content vectors that were evaluated, `[contents, dim]`.
        provenance: data on which the model was trained. Memorised validation targets are only checked on the test
            period, and only for a model that was not trained on validation.
    """
    store, task, period, k = protocol.store, protocol.task, protocol.period, protocol.list_k
    rows = sampled_rows(task)
    views = {
        "listeners' vectors": lambda other: listeners(other, rows, period),
        "what baselines read": baseline_view(period, rows),
    }
    checks = [
        trained_before(store, period, provenance),
        histories_end(store, task, period),
        future_leak(store, period, views),
        list_audit(task, evaluations),
        permuted_targets(task, lambda drawn: protocol.ranker(drawn, evaluations[0].ranker, users, contents), k=k),
        shuffled_listeners(
            task, evaluations[0], users, lambda others: protocol.ranker(task, "shuffled", others, contents), k=k
        ),
    ]
    if period == "test" and not provenance.has_seen_validation:
        checks.append(_memorised(protocol, evaluations, listeners, contents))
    return checks


def _memorised(
    protocol: EvaluationProtocol,
    evaluations: Sequence[Evaluation],
    listeners: Listeners,
    contents: Float[np.ndarray, "contents dim"],
) -> Check:
    """Checks for memorised validation targets, with popularity as reference: a stronger one would leave no lift.

    Rankings of the test period that exist already are reused.
    """
    k, store, model = protocol.list_k, protocol.store, evaluations[0]

    def of(ranker: Ranker, task: EvaluationTask) -> Evaluation:
        return evaluate(task, ranker, filter_seen=True, ks=(k,), min_users=protocol.min_users)

    earlier = task_from_store(store, "validation")
    before = protocol.ranker(earlier, model.ranker, listeners(store, earlier.user_rows, "validation"), contents)
    popular = next((one for one in evaluations if one.ranker == Popularity.name), None)
    if popular is None:
        popular = of(DenseRanker(protocol.task, Popularity(protocol.task)), protocol.task)
    validation = of(before, earlier), of(DenseRanker(earlier, Popularity(earlier)), earlier)
    return memorised_validation(validation, (model, popular), f"recall@{k}/discovery")
