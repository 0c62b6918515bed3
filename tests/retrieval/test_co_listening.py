"""Neighbours by co-listening, compared with a pass over all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.retrieval.co_listening import Neighbours


@given(st.integers(0, 1000), st.integers(0, 6), st.integers(0, 12))
def test_neighbours_among_some_contents_are_those_that_a_look_at_every_pair_finds(seed, num_chosen, num_rows):
    random = np.random.default_rng(seed)
    near = np.where(random.random((12, 3)) < 0.2, -1, random.integers(12, size=(12, 3))).astype(np.int32)
    neighbours = Neighbours(rows=near, weights=random.random((12, 3), np.float32))
    chosen, rows = random.permutation(12)[:num_chosen], random.permutation(12)[:num_rows]
    expected = [
        (place, whose, float(neighbours.weights[content, nth]))
        for whose, content in enumerate(chosen)
        for nth in range(3)
        for place, row in enumerate(rows)
        if near[content, nth] == row
    ]
    found = neighbours.among(chosen, rows)
    assert list(zip(*(each.tolist() for each in found), strict=True)) == expected
