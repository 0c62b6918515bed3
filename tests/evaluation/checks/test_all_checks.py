"""All checks together, on vectors made of the listening in the small world."""

import numpy as np
import pytest

from towers.contract.provenance import Provenance
from towers.evaluation.baselines.counts import Popularity
from towers.evaluation.checks.all_checks import all_checks
from towers.evaluation.protocol import EvaluationProtocol
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.ranking.vectors import VectorRanker

UNKNOWN = Provenance()


def plays_before(store, rows, period):
    """Returns how often each listener heard each content."""
    histories = store.histories
    ends = histories.train_end if period == "validation" else histories.test_start
    vectors = np.zeros((len(rows), len(store.content_ids)), np.float32)
    for place, user in enumerate(rows):
        heard = histories.content_row[histories.offsets[user] : ends[user]]
        np.add.at(vectors[place], heard[heard >= 0], 1)
    return vectors


class Counting:
    """Makes rankers of vectors, and keeps their names."""

    def __init__(self):
        self.names = []

    def __call__(self, task, name, users, contents):
        self.names.append(name)
        return VectorRanker(task, name, users, contents)


@pytest.fixture
def judged(world_store):
    """Returns the checks by name, and the listeners that they ranked."""

    def judge(*, with_popularity, provenance=UNKNOWN):
        ranker = Counting()
        protocol = EvaluationProtocol(
            world_store, "test", filter_seen=True, ks=(10,), min_users=2, list_k=10, ranker=ranker
        )
        # The contents that training knows, and none of the others.
        contents = np.diag(world_store.train_positives > 0).astype(np.float32)
        users = plays_before(world_store, protocol.task.user_rows, "test")
        evaluations = [protocol.evaluate_vectors("plays", users, contents)]
        if with_popularity:
            evaluations.append(protocol.evaluate(DenseRanker(protocol.task, Popularity(protocol.task))))
        ranker.names.clear()
        checks = all_checks(protocol, evaluations, plays_before, users, contents, provenance)
        return checks, ranker.names

    return judge


def test_honest_vectors_fail_none(world_store, judged):
    checks, names = judged(with_popularity=True, provenance=Provenance(trained_on=world_store.fingerprint))
    assert not [check for check in checks if check.passed is False]
    assert checks[0].name == "trained before test"
    assert checks[0].passed
    # Permuted targets, other listeners, and the validation period: all by the ranker that was evaluated.
    assert names == ["plays", "shuffled", "plays"]


def test_who_has_learnt_the_test_period_fails(world_store, judged):
    until_us = world_store.manifest["test_start_us"] + 1
    late = Provenance(trained_on="another", trained_until_us=until_us)
    checks, _ = judged(with_popularity=True, provenance=late)
    assert [check.name for check in checks if check.passed is False] == ["trained before test"]


def test_popularity_is_the_same_ranked_here_or_before(judged):
    """The last check has the same figures in both cases."""
    assert judged(with_popularity=True)[0][-1] == judged(with_popularity=False)[0][-1]
