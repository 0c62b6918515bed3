from itertools import pairwise
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from towers.evaluation.metrics import average_precision, hit_rate, mrr, ndcg, precision, ranked_metrics, recall

# Four listeners, lists of four. Hits at ranks: 1 and 3; 4; none; all.
HITS = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
TARGETS = np.array([3, 1, 2, 4])


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [1 / 1, 0, 0, 1]),
        (2, [1 / 2, 0, 0, 1]),
        (3, [2 / 3, 0, 0, 1]),
        (4, [2 / 3, 1 / 1, 0, 1]),
        (10, [2 / 3, 1 / 1, 0, 1]),
    ],
)
def test_recall_is_capped_by_k(k, expected):
    np.testing.assert_allclose(recall(HITS, TARGETS, k), expected)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [1, 0, 0, 1]),
        (2, [1 / (1 + 1 / log2(3)), 0, 0, 1]),
        (3, [(1 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 0, 0, 1]),
        (4, [(1 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(5), 0, 1]),
        (10, [(1 + 1 / 2) / (1 + 1 / log2(3) + 1 / 2), 1 / log2(5), 0, 1]),
    ],
)
def test_ndcg_over_the_best_list(k, expected):
    np.testing.assert_allclose(ndcg(HITS, TARGETS, k), expected)


@pytest.mark.parametrize(("k", "expected"), [(1, [1, 0, 0, 1]), (4, [1, 1 / 4, 0, 1]), (10, [1, 1 / 4, 0, 1])])
def test_mrr_is_one_over_the_first_rank(k, expected):
    np.testing.assert_allclose(mrr(HITS, TARGETS, k), expected)


@pytest.mark.parametrize(("k", "expected"), [(1, [1, 0, 0, 1]), (3, [1, 0, 0, 1]), (4, [1, 1, 0, 1])])
def test_hit_rate(k, expected):
    np.testing.assert_array_equal(hit_rate(HITS, TARGETS, k), expected)


@pytest.mark.parametrize(("k", "expected"), [(1, [1, 0, 0, 1]), (3, [2 / 3, 0, 0, 1]), (4, [2 / 4, 1 / 4, 0, 1])])
def test_precision_is_over_k(k, expected):
    np.testing.assert_allclose(precision(HITS, TARGETS, k), expected)


def test_precision_of_a_short_list_is_over_k_too():
    np.testing.assert_allclose(precision(HITS, TARGETS, 10), [2 / 10, 1 / 10, 0, 4 / 10])


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [1 / 1, 0, 0, 1]),
        (2, [1 / 2, 0, 0, 1]),
        (3, [(1 / 1 + 2 / 3) / 3, 0, 0, 1]),
        (4, [(1 / 1 + 2 / 3) / 3, 1 / 4, 0, 1]),
        (10, [(1 / 1 + 2 / 3) / 3, 1 / 4, 0, 1]),
    ],
)
def test_average_precision_is_over_what_could_be_found(k, expected):
    np.testing.assert_allclose(average_precision(HITS, TARGETS, k), expected)


def test_a_target_listed_twice_counts_twice_where_hits_are_added():
    hits, targets = np.array([[True, True]]), np.array([1])
    found = {key: float(figures[0]) for key, figures in ranked_metrics(hits, targets, ks=(2,)).items()}
    assert found == pytest.approx(
        {
            "recall@2": 2 / 1,
            "precision@2": 2 / 2,
            "ndcg@2": 1 + 1 / log2(3),
            "map@2": (1 / 1 + 2 / 2) / 1,
            "mrr@2": 1,
            "hit_rate@2": 1,
        }
    )


def test_lists_without_a_place_miss_everything():
    for values in ranked_metrics(np.zeros((2, 0), dtype=bool), np.array([1, 5])).values():
        np.testing.assert_array_equal(values, [0, 0])


def test_nobody():
    assert all(len(values) == 0 for values in ranked_metrics(HITS[:0], TARGETS[:0]).values())


def test_keys_name_metric_and_k():
    keys = set(ranked_metrics(HITS, TARGETS, ks=(1, 20)))
    assert keys == {
        f"{metric}@{k}" for metric in ("recall", "precision", "ndcg", "mrr", "hit_rate", "map") for k in (1, 20)
    }


@pytest.mark.parametrize(("targets", "ks"), [([1, 1, 0, 1], (10,)), ([1, 1, 1, 1], (10, 0))])
def test_refuses_what_has_no_meaning(targets, ks):
    with pytest.raises(ValueError, match="at least"):
        ranked_metrics(HITS, np.array(targets), ks=ks)


@pytest.mark.parametrize("metric", [recall, ndcg, average_precision])
def test_what_divides_by_targets_refuses_listeners_without_any(metric):
    with pytest.raises(ValueError, match="at least one target"):
        metric(HITS, np.array([1, 1, 0, 1]), 2)


@given(hits=arrays(bool, st.tuples(st.integers(1, 5), st.integers(0, 8))), missed=st.integers(0, 4))
def test_ranges_and_growth_with_k(hits, missed):
    targets = hits.sum(axis=1) + missed + (hits.sum(axis=1) + missed == 0)
    ks = range(1, 11)
    values = ranked_metrics(hits, targets, ks=ks)
    for figures in values.values():
        assert ((figures >= 0) & (figures <= 1 + 1e-12)).all()
    for small, large in pairwise(ks):
        hits_small = values[f"recall@{small}"] * np.minimum(small, targets)
        hits_large = values[f"recall@{large}"] * np.minimum(large, targets)
        assert (hits_small <= hits_large + 1e-12).all()
        assert (values[f"mrr@{small}"] <= values[f"mrr@{large}"]).all()
        assert (values[f"hit_rate@{small}"] <= values[f"hit_rate@{large}"]).all()
