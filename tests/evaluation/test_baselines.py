import numpy as np
import pytest

from tests.contracts.ranker import (
    CollaborativeRankerContract,
    KnowingRankerContract,
    PersonalRankerContract,
    RankerContract,
    make_task,
)
from towers.contract.durations import DAY_US
from towers.errors import UserError
from towers.evaluation.baselines.chance import Random
from towers.evaluation.baselines.counts import OwnMostPlayed, Popularity, Recency
from towers.evaluation.baselines.linear import EASE, ItemKNN
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import DenseRanker
from towers.features.ragged import Ragged


def random_histories(listeners=40, contents=12, seed=0) -> tuple[Ragged, np.ndarray]:
    """Draws histories with repeats, and the same as a dense binary matrix; the last content is never heard."""
    generator = np.random.default_rng(seed)
    plays = generator.poisson(0.4, size=(listeners, contents))
    plays[:, -1] = 0
    lists = [generator.permutation(np.repeat(np.arange(contents), row)) for row in plays]
    return Ragged.from_lists(lists), (plays > 0).astype(np.float64)


def one_content_each(contents: int):
    """Listener i has heard content i alone, so that their scores are row i of the model's matrix."""
    return make_task([[row] for row in range(contents)], [[0]] * contents, contents)


class TestRandom(RankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: Random(task, seed=3)

    def test_another_seed_gives_other_scores(self, task):
        assert not np.array_equal(Random(task, seed=0).scores(np.arange(2)), Random(task).scores(np.arange(2))[::-1])
        assert not np.array_equal(Random(task, seed=0).scores(np.arange(2)), Random(task, seed=1).scores(np.arange(2)))

    def test_scores_like_chance(self):
        # 80 contents, 40 of them cold, one cold target each: 10 of 40 and 10 of 80 places. Four standard errors.
        listeners = 800
        task = make_task(
            [[]] * listeners, [[40 + user % 40] for user in range(listeners)], 80, cold=tuple(range(40, 80))
        )
        means = evaluate(task, DenseRanker(task, Random(task)), ks=(10,), filter_seen=False).means()
        for key, chance in (("recall@10/cold_among_cold", 10 / 40), ("recall@10/cold_content", 10 / 80)):
            error = np.sqrt(chance * (1 - chance) / listeners)
            assert means[key] == pytest.approx(chance, abs=4 * error)


class TestPopularity(KnowingRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: Popularity(task)

    def test_orders_by_training_plays(self):
        task = make_task([[0, 0, 0]], [[1]], 4, train_counts=[0, 7, 2, 7])
        assert Popularity(task).scores(np.array([0])).tolist() == [[0, 2, 1, 2]]

    def test_counts_that_float32_would_round_stay_apart(self):
        task = make_task([[]], [[1]], 2, train_counts=[2**24, 2**24 + 1])
        low, high = Popularity(task).scores(np.array([0]))[0]
        assert low < high


class TestRecency(KnowingRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: Recency(task, histories, np.arange(len(histories.values)))

    def test_orders_by_recent_plays_then_by_popularity(self):
        task = make_task([[]], [[1]], 4, train_counts=[9, 1, 5, 1])
        histories = Ragged.from_lists([[0, 0, 0, 1, 3], [2, 1, 2, 3]])
        times_us = np.array([0, 0, 0, 5, 9, 5, 6, 9, 10]) * DAY_US
        assert Recency(task, histories, times_us, days=5.0).scores(np.array([0])).tolist() == [[0, 1, 2, 1]]
        assert Recency(task, histories, times_us, days=1.0).scores(np.array([0])).tolist() == [[1, 0, 2, 3]]

    def test_refuses_data_without_a_clock(self, task):
        with pytest.raises(UserError, match="no timestamps"):
            Recency(task, task.histories, None)

    def test_refuses_no_days(self, task):
        with pytest.raises(ValueError, match="days must be above 0"):
            Recency(task, task.histories, np.zeros(len(task.histories.values), dtype=np.int64), days=0.0)


class TestOwnMostPlayed(PersonalRankerContract, KnowingRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: OwnMostPlayed(task)

    def test_orders_by_own_plays_then_by_popularity(self):
        task = make_task([[3, 3, 1, 2]], [[0]], 5, train_counts=[9, 1, 4, 0, 2])
        assert np.argsort(-OwnMostPlayed(task).scores(np.array([0]))[0]).tolist() == [3, 2, 1, 0, 4]


class TestItemKNN(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        return ItemKNN

    def test_equals_dense_cosine(self):
        histories, heard = random_histories()
        norms = np.sqrt(heard.sum(axis=0).clip(1))
        expected = heard.T @ heard / norms / norms[:, None]
        np.fill_diagonal(expected, 0)
        expected[:, -1] = -1
        ranker = ItemKNN(one_content_each(12), histories, neighbours=12)
        np.testing.assert_allclose(ranker.scores(np.arange(12)), expected, rtol=1e-5)

    def test_only_the_nearest_count(self):
        histories, _ = random_histories()
        full = ItemKNN(one_content_each(12), histories, neighbours=12).scores(np.arange(12))
        expected = np.zeros_like(full)
        for row, cosines in enumerate(full):
            nearest = sorted(range(11), key=lambda other: (-cosines[other], other))[:3]
            expected[row, nearest] = cosines[nearest]
        expected[:, -1] = -1
        found = ItemKNN(one_content_each(12), histories, neighbours=3).scores(np.arange(12))
        np.testing.assert_array_equal(found, expected)

    def test_scores_are_sums_over_what_was_heard_however_often(self):
        histories, _ = random_histories()
        rows = ItemKNN(one_content_each(12), histories).scores(np.arange(12))
        ranker = ItemKNN(make_task([[1, 4, 4]], [[0]], 12), histories)
        np.testing.assert_allclose(ranker.scores(np.array([0]))[0, :-1], (rows[1] + rows[4])[:-1], rtol=1e-6)

    def test_matrix_larger_than_a_block(self, monkeypatch):
        histories, _ = random_histories()
        whole = ItemKNN(one_content_each(12), histories).scores(np.arange(12))
        monkeypatch.setattr("towers.evaluation.baselines.heard._PRODUCTS", 20)
        parts = ItemKNN(one_content_each(12), histories).scores(np.arange(12))
        np.testing.assert_array_equal(parts, whole)

    def test_refuses_no_neighbours(self, task):
        with pytest.raises(ValueError, match="neighbours must be at least 1"):
            ItemKNN(task, task.histories, neighbours=0)


class TestEASE(CollaborativeRankerContract):
    @pytest.fixture
    def build(self):
        return lambda task, histories: EASE(task, histories, l2=1.0)

    def test_equals_the_dense_closed_form(self):
        histories, heard = random_histories()
        inverse = np.linalg.inv(heard.T @ heard + 10 * np.eye(12))
        expected = np.eye(12) - inverse / np.diag(inverse)
        weights = EASE(one_content_each(12), histories, l2=10.0).scores(np.arange(12))
        np.testing.assert_allclose(weights[:, :-1], expected[:, :-1], atol=1e-5)
        np.testing.assert_array_equal(np.diag(weights)[:-1], 0)
        np.testing.assert_array_equal(weights[:, -1], weights[:, :-1].min(axis=1) - 1)

    def test_is_where_the_gradient_vanishes(self):
        # min |X - XB|^2 + l2 |B|^2 with a zero diagonal: off the diagonal, (X'X + l2 I) B - X'X is zero.
        histories, heard = random_histories()
        gram = heard.T @ heard
        weights = EASE(one_content_each(12), histories, l2=10.0).scores(np.arange(12))
        gradient = (gram + 10 * np.eye(12)) @ weights - gram
        # The last content was never heard: its weights are 0, and its scores are not.
        np.testing.assert_allclose((gradient - np.diag(np.diag(gradient)))[:, :-1], 0, atol=1e-4)

    def test_refuses_a_large_catalogue(self, task):
        with pytest.raises(UserError, match=r"8 contents are more than max_contents=7"):
            EASE(task, task.histories, max_contents=7)

    def test_refuses_no_regularisation(self, task):
        with pytest.raises(ValueError, match="l2 must be above 0"):
            EASE(task, task.histories, l2=0.0)

    def test_refuses_a_regularisation_that_rounding_swallows(self):
        task = make_task([[0, 1]] * 100, [[0]] * 100, 2)
        with pytest.raises(ValueError, match="l2=1e-09: is too small beside so many"):
            EASE(task, task.histories, l2=1e-9)
        EASE(task, task.histories, l2=0.1)
