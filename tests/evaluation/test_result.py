import numpy as np
import pytest

from towers.evaluation.intervals import intervals, paired_differences
from towers.evaluation.result import (
    Evaluation,
    SliceResult,
    metric_key,
    split_key,
)


def evaluation(values, *, name="ranker", positions=None, min_users=1):
    values = np.asarray(values, dtype=np.float64)
    positions = np.arange(len(values)) if positions is None else positions
    found = SliceResult(positions=positions, values={"recall@20": values})
    return Evaluation(ranker=name, user_rows=np.arange(2000), slices={"discovery": found}, min_users=min_users)


def test_keys_name_their_slice_unless_it_is_all():
    assert metric_key("recall@20", "all") == "recall@20"
    for slice_name in ("all", "cold_content"):
        assert split_key(metric_key("ndcg@10", slice_name)) == ("ndcg@10", slice_name)


def test_interval_of_a_coin():
    # The mean of 400 fair coins has a standard error of sqrt(1/4 / 400) = 1/40; 95 % lie within 1.96 of them.
    interval = intervals(evaluation([0, 1] * 200), ["recall@20/discovery"])["recall@20/discovery"]
    assert interval.mean == 1 / 2
    assert interval.low == pytest.approx(1 / 2 - 1.96 / 40, abs=0.006)
    assert interval.high == pytest.approx(1 / 2 + 1.96 / 40, abs=0.006)


def test_interval_of_a_constant_is_a_point():
    interval = intervals(evaluation([0.25] * 100), ["recall@20/discovery"])["recall@20/discovery"]
    assert (interval.low, interval.mean, interval.high) == (0.25, 0.25, 0.25)


def test_interval_is_seeded():
    found = evaluation(np.linspace(0, 1, 100))
    key = "recall@20/discovery"
    assert intervals(found, [key], seed=1)[key] == intervals(found, [key], seed=1)[key]
    assert intervals(found, [key], seed=1)[key] != intervals(found, [key], seed=2)[key]


def test_paired_difference_is_narrower_than_two_intervals():
    easy_and_hard = np.array([0.0, 0.9] * 100)
    first, second = evaluation(easy_and_hard + 0.1), evaluation(easy_and_hard)
    difference = paired_differences(first, second, ["recall@20/discovery"])["recall@20/discovery"]
    assert difference.low == pytest.approx(0.1)
    assert difference.mean == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert (
        intervals(first, ["recall@20/discovery"])["recall@20/discovery"].low
        < intervals(second, ["recall@20/discovery"])["recall@20/discovery"].high
    )


def test_paired_difference_needs_the_same_listeners():
    first, second = evaluation([0, 1], name="a"), evaluation([0, 1], name="b", positions=np.array([0, 2]))
    with pytest.raises(ValueError, match=r"'a' and 'b'.*same listeners"):
        paired_differences(first, second, ["recall@20/discovery"])["recall@20/discovery"]


@pytest.mark.parametrize("key", ["recall@20", "ndcg@20/discovery", "recall@20/discovery"])
def test_no_interval_without_a_figure(key):
    with pytest.raises(ValueError, match=f"no figure '{key}'"):
        intervals(evaluation([0, 1], min_users=100), [key])[key]
