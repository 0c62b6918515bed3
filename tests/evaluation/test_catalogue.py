"""The harness and the baselines on the catalogue with a simulated audience: the figures its README states."""

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from towers.contract.schema import KIND_CODES, PLAYABLE_KINDS
from towers.evaluation.baselines.chance import Random
from towers.evaluation.baselines.counts import OwnMostPlayed, Popularity
from towers.evaluation.baselines.linear import EASE, ItemKNN
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = (ROOT / os.environ.get("TOWERS_SHARED_DATA", "../shared/data")).resolve() / "catalogue"

VALIDATION_STARTS = datetime(2026, 6, 29, tzinfo=UTC)
TEST_STARTS = datetime(2026, 7, 14, tzinfo=UTC)

pytestmark = pytest.mark.skipif(
    not CATALOGUE.is_dir(), reason=f"no data set at {CATALOGUE}; set TOWERS_SHARED_DATA to the folder that has it"
)


def read_plays() -> tuple[np.ndarray, dict[str, np.ndarray], int]:
    """The kind of every content row; user row, content row and time of every play, by listener and time; users."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = "row_number() over (order by {id}) - 1 as {id}_row, {id}"
    for table, key, columns in (("contents", "content_id", ", kind"), ("users", "user_id", "")):
        connection.execute(
            f"create table {table} as select {rows.format(id=key)}{columns} "
            f"from read_parquet('{CATALOGUE}/{table}/*.parquet')"
        )
    kinds = connection.sql("select kind from contents order by content_id_row").fetchnumpy()["kind"]
    [(num_users,)] = connection.sql("select count(*) from users").fetchall()
    plays = connection.sql(
        f"""
        select user_id_row as user, content_id_row as content, epoch_us(timestamp) as time_us
        from read_parquet('{CATALOGUE}/events/*.parquet')
        join users using (user_id)
        join contents using (content_id)
        where action = 'play'
        order by user_id_row, timestamp
        """
    ).fetchnumpy()
    return kinds.astype(str), plays, num_users


@pytest.fixture(scope="module")
def prepared() -> tuple[EvaluationTask, Ragged]:
    """Returns the test period's task, and all listeners' histories before it."""
    kinds, plays, num_users = read_plays()
    in_training = plays["time_us"] < VALIDATION_STARTS.timestamp() * 1e6
    in_history = plays["time_us"] < TEST_STARTS.timestamp() * 1e6

    def by_user(keep: np.ndarray) -> Ragged:
        offsets = np.searchsorted(plays["user"][keep], np.arange(num_users + 1))
        return Ragged(offsets.astype(np.int64), plays["content"][keep].astype(np.int32))

    histories, targets = by_user(in_history), by_user(~in_history).unique()
    users = np.flatnonzero(targets.lengths)
    train_counts = np.bincount(plays["content"][in_training], minlength=len(kinds))
    task = EvaluationTask(
        user_rows=users,
        histories=histories.take(users),
        targets=targets.take(users),
        is_candidate=np.isin(kinds, PLAYABLE_KINDS),
        is_cold=train_counts == 0,
        train_counts=train_counts,
        kind_codes=np.array([KIND_CODES[kind] for kind in kinds]),
        is_cold_user=by_user(in_training).lengths[users] == 0,
    )
    return task, histories


def figures(task: EvaluationTask, ranker, slice_name: str = "") -> tuple[float, float]:
    means = evaluate(task, DenseRanker(task, ranker), filter_seen=False, ks=(20,)).means()
    return means[f"recall@20{slice_name}"], means[f"ndcg@20{slice_name}"]


def test_candidates_and_cold_contents(prepared):
    task, _ = prepared
    assert task.is_candidate.sum() == 1897
    assert (task.is_candidate & task.is_cold).sum() == 121


def test_random(prepared):
    task, _ = prepared
    means = evaluate(task, DenseRanker(task, Random(task)), filter_seen=False, ks=(20,)).means()
    # Three standard deviations over seeds: 0.0008 and 0.010.
    assert means["recall@20"] == pytest.approx(0.013, abs=0.003)
    assert means["recall@20/cold_among_cold"] == pytest.approx(0.165, abs=0.03)


def test_popularity(prepared):
    task, _ = prepared
    ranker = Popularity(task)
    assert figures(task, ranker) == pytest.approx((0.074, 0.062), abs=0.001)
    assert figures(task, ranker, "/discovery") == pytest.approx((0.044, 0.029), abs=0.001)
    assert figures(task, ranker, "/cold_content") == (0, 0)


def test_own_most_played(prepared):
    task, _ = prepared
    # The README does not say how it breaks ties among contents played equally often.
    assert figures(task, OwnMostPlayed(task)) == pytest.approx((0.408, 0.397), abs=0.004)


def test_item_knn(prepared):
    task, histories = prepared
    ranker = ItemKNN(task, histories, neighbours=task.num_contents)
    assert figures(task, ranker, "/discovery") == pytest.approx((0.205, 0.152), abs=0.001)


def test_ease(prepared):
    task, histories = prepared
    ranker = EASE(task, histories, l2=200.0)
    assert figures(task, ranker, "/discovery") == pytest.approx((0.231, 0.171), abs=0.001)
