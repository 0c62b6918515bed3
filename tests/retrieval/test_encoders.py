"""Histories that share a call of the network."""

import numpy as np
import pytest

from towers.retrieval.encoders import CALL_IN_EVENTS, _run_apart


@pytest.mark.parametrize(
    ("lengths", "apart"),
    [([7], 0), ([5, 5, 200], 2), ([100, 110], 0), ([0, 90, 95, 100], 1), ([10] * 4 + [10 + CALL_IN_EVENTS // 4], 0)],
)
def test_short_histories_are_run_apart_where_that_saves_more_padding_than_a_call_costs(lengths, apart):
    assert _run_apart(np.array(lengths)) == apart
