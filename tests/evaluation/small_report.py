"""A report of a real, small evaluation: vectors from contents heard together, beside two baselines."""

import numpy as np
import pyarrow as pa

from towers.data.store import Store
from towers.evaluation.baselines.counts import OwnMostPlayed, Popularity
from towers.evaluation.checks.honesty import Check
from towers.evaluation.from_store import all_histories, task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.list_metrics import ListMetrics
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.report.data_profile import data_profile
from towers.evaluation.report.pieces import Report, build_report
from towers.evaluation.slicings import HistoryLength, PopularityParts

MARKUP = '<script>alert("&")</script>'
CHECKS = (
    Check(name="permuted targets", passed=True, detail="as chance has it"),
    Check(name="shuffled listeners", passed=None, detail=MARKUP),
    Check(name="memorised validation", passed=False, detail="clear"),
)
TRAINING = (
    {"step": 9.0, "loss": 7.5},
    {"step": 19.0, "loss": 7.0, "validation/recall@5": 0.25, "validation/recall@5/discovery": 0.125},
    {"step": 29.0, "loss": 6.0, "validation/recall@5": 0.5, "validation/recall@5/discovery": 0.25},
)


def small_report(store: Store, *, num_baselines: int = 2, min_users: int = 3) -> Report:
    """Returns a report whose titles and genres hold markup, so that every view has to escape it."""
    task = task_from_store(store, "test")
    heard = np.zeros((len(task.user_rows), task.num_contents))
    np.add.at(heard, (task.histories.list_of_value, task.histories.values), 1.0)
    _, _, directions = np.linalg.svd(heard, full_matrices=False)
    contents = directions[:8].T + 1e-6
    contents /= np.linalg.norm(contents, axis=1, keepdims=True)
    model = VectorRanker(task, "towers", heard @ contents, contents)
    scorers = (Popularity(task), OwnMostPlayed(task))[:num_baselines]
    slicings = [
        rule.slicing(store, task, "test") for rule in (HistoryLength(bounds=(0, 10, 30)), PopularityParts(parts=2))
    ]
    judge = ListMetrics(task, all_histories(store, "validation"), {}, k=5)
    evaluations = [
        evaluate(
            task,
            ranker,
            filter_seen=False,
            ks=(5, 20),
            min_users=min_users,
            slicings=slicings,
            list_judge=judge,
        )
        for ranker in (model, *(DenseRanker(task, scorer) for scorer in scorers))
    ]
    return build_report(
        title=f"world {MARKUP}",
        period="test",
        task=task,
        evaluations=evaluations,
        contents=with_markup(store.contents),
        content_vectors=contents,
        user_ids=store.user_ids,
        profile=data_profile(store),
        config=f"name: {MARKUP}\n",
        environment={"libraries": {"numpy": "2"}, "device": MARKUP},
        training=TRAINING,
        checks=CHECKS,
        main_metric="recall@5",
    )


def with_markup(contents: pa.Table) -> pa.Table:
    """Returns the same contents under titles and genres that a page must not take for its own markup."""
    titles = [f"{MARKUP} {title}" for title in contents["title"].to_pylist()]
    genres = [[f"$x^{{{genre}}}$ <b>" for genre in names or ()] for names in contents["genres"].to_pylist()]
    for name, values in (("title", titles), ("genres", genres)):
        contents = contents.set_column(
            contents.schema.get_field_index(name), name, pa.array(values, contents.schema.field(name).type)
        )
    return contents
