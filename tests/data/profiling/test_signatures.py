"""Tests of signatures of sets of ids."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.data.profiling.signatures import BINS, bindings, deviation, hashes_of, overlap, signature


def ids(begin, end):
    return pa.chunked_array([pa.array([f"user-{at}" for at in range(begin, end)])])


@pytest.mark.parametrize("shared", [0, 500, 1_500, 3_000])
def test_about_what_two_sets_share(shared):
    first, second = ids(0, 3_000), ids(3_000 - shared, 6_000 - shared)
    jaccard = shared / (6_000 - shared)
    found = overlap(signature(first), signature(second))
    assert abs(found - jaccard) <= 4 * deviation(jaccard) + 1e-9
    assert (found == 1) == (shared == 3_000)


def test_neither_order_nor_parts_nor_nulls_matter():
    texts = [f"content-{at}" for at in range(500)]
    whole = pa.chunked_array([texts])
    mixed = pa.chunked_array([texts[200:], [None, *texts[:250]], []], type=pa.large_string())
    assert signature(mixed) == signature(whole)
    assert len(signature(whole)) == BINS


def test_few_listeners_are_not_signed():
    assert signature(ids(0, 511), 512) == ""
    assert overlap("", signature(ids(0, 600))) is None
    assert overlap(signature(ids(0, 10)), signature(ids(0, 10))) is None  # of few contents too few bins are there


@given(st.lists(st.text(max_size=6), max_size=8, unique=True))
def test_a_hash_is_that_of_the_text_wherever_it_stands(texts):
    array = pa.array(["before", *texts, "after"], pa.string())
    alone = [int(hashes_of(pa.array([text]))[0]) for text in texts]
    assert hashes_of(array).tolist()[1:-1] == alone == hashes_of(array.slice(1, len(texts))).tolist()
    assert len(set(alone)) == len(texts)


def test_bits_are_spread():
    hashes = hashes_of(ids(0, 4_000).combine_chunks())
    ones = [float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean()) for bit in range(64)]
    assert min(ones) > 0.45
    assert max(ones) < 0.55


def test_a_title_that_goes_to_another_id():
    def table(titles):
        return pa.table({"content_id": ["a", "b", "c"], "title": titles, "artist_ids": [["x", "y"], None, []]})

    first = bindings(table(["One", "Two", None])).to_pylist()
    assert [text is None for text in first] == [False, False, True]
    assert not set(first[:2]) & set(bindings(table(["Two", "One", None])).to_pylist())
