"""Random crops: of the requested record, and the same for some records as for all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.features.crops import random_crops

RECORDS = np.arange(3 * 2 * 5, dtype=np.float16).reshape(3, 2, 5)


def crops_of(rows, num_frames, part=slice(None), seed=0):
    return random_crops(RECORDS, np.array(rows, np.int64), num_frames, np.random.default_rng(seed), part)


def test_a_crop_is_a_stretch_of_its_record():
    crops = crops_of([2, 0, 2], 3)
    assert crops.dtype == np.float32
    for row, crop in zip([2, 0, 2], crops, strict=True):
        assert any(np.array_equal(crop, RECORDS[row, :, start : start + 3]) for start in range(3))


def test_every_start_comes():
    assert set(crops_of([0] * 100, 3)[:, 0, 0].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("num_frames", [5, 6, 1_000])
def test_no_longer_than_the_record(num_frames):
    assert np.array_equal(crops_of([1], num_frames), RECORDS[1:2])


def test_of_nothing():
    assert crops_of([], 3).shape == (0, 2, 3)


@given(
    rows=st.lists(st.integers(0, 2), max_size=8),
    num_frames=st.integers(1, 6),
    bounds=st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted),
)
def test_a_part_is_a_part_of_all(rows, num_frames, bounds):
    assert np.array_equal(crops_of(rows, num_frames, slice(*bounds)), crops_of(rows, num_frames)[slice(*bounds)])


def test_a_part_leaves_the_generator_where_all_do():
    some, every = np.random.default_rng(3), np.random.default_rng(3)
    rows = np.array([0, 1, 2])
    random_crops(RECORDS, rows, 2, some, slice(1, 2))
    random_crops(RECORDS, rows, 2, every)
    assert some.integers(1_000_000) == every.integers(1_000_000)
