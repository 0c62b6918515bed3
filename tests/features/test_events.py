from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.features.events import NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS, elapsed_since_previous, encode_events

SECOND, HOUR, DAY, YEAR = 10**6, 3_600 * 10**6, 86_400 * 10**6, 365 * 86_400 * 10**6


def encode(elapsed_us=(-1,), played_fraction=(-1.0,)):
    """Returns codes of events in which only the given fields matter."""
    size = max(len(elapsed_us), len(played_fraction))
    return encode_events(
        action=np.zeros(size, dtype=np.int8),
        elapsed_us=np.resize(np.array(elapsed_us, dtype=np.int64), size),
        played_fraction=np.resize(np.array(played_fraction, dtype=np.float32), size),
        context=np.zeros(size, dtype=np.int32),
    )


@given(st.lists(st.integers(0, 2**60)).map(sorted))
def test_elapsed_since_previous(timestamps):
    elapsed = elapsed_since_previous(np.array(timestamps, dtype=np.int64)).tolist()
    assert elapsed == [-1, *(b - a for a, b in pairwise(timestamps))][: len(timestamps)]


@pytest.mark.parametrize(
    ("elapsed_us", "bucket"),
    [(-1, 0), (0, 1), (SECOND - 1, 1), (SECOND, 2), (3 * SECOND, 3), (HOUR, 12), (DAY, 17), (YEAR, 25), (2**62, 25)],
)
def test_elapsed_goes_by_octaves(elapsed_us, bucket):
    assert encode(elapsed_us=[elapsed_us]).elapsed.tolist() == [bucket]


@pytest.mark.parametrize(
    ("fraction", "bucket"), [(-1.0, 0), (0.0, 1), (0.05, 1), (0.15, 2), (0.55, 6), (0.95, 10), (1.0, 10), (7.0, 10)]
)
def test_played_goes_by_tenths(fraction, bucket):
    assert encode(played_fraction=[fraction]).played.tolist() == [bucket]


@given(st.lists(st.integers(-1, 2**62), min_size=1))
def test_elapsed_rises_and_stays_in_its_range(elapsed_us):
    codes = encode(elapsed_us=sorted(elapsed_us)).elapsed
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 0
    assert codes.max() < NUM_ELAPSED_BUCKETS


@given(st.lists(st.floats(-1, 2, width=32), min_size=1))
def test_played_rises_and_stays_in_its_range(fractions):
    codes = encode(played_fraction=sorted(fractions)).played
    assert (np.diff(codes) >= 0).all()
    assert codes.min() >= 0
    assert codes.max() < NUM_PLAYED_BUCKETS


@given(st.lists(st.integers(0, 7), max_size=6))
def test_the_rest_goes_through(actions):
    codes = encode_events(
        action=np.array(actions, dtype=np.int8),
        elapsed_us=np.zeros(len(actions), dtype=np.int64),
        played_fraction=np.zeros(len(actions), dtype=np.float32),
        context=np.array(actions, dtype=np.int32) + 1,
    )
    assert codes.action.tolist() == actions
    assert codes.context.tolist() == [action + 1 for action in actions]
    assert {codes.action.dtype, codes.elapsed.dtype, codes.played.dtype, codes.context.dtype} == {np.dtype(np.int64)}


def test_any_shape():
    codes = encode_events(
        action=np.zeros((2, 3), dtype=np.int8),
        elapsed_us=np.full((2, 3), -1),
        played_fraction=np.ones((2, 3), dtype=np.float32),
        context=np.zeros((2, 3), dtype=np.int32),
    )
    assert codes.elapsed.shape == codes.played.shape == (2, 3)
