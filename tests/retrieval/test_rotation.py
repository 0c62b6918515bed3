"""Maps between spaces keep inner products; inverses and chains lead to the right space."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.retrieval.rotation import SpaceRotation, SpaceVersion

SEEDS, DIMS = st.integers(0, 2**32 - 1), st.integers(1, 12)


def orthogonal(dim: int, seed: int) -> np.ndarray:
    """Draws a rotation or a reflection."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def rotation(source: str, target: str, matrix: np.ndarray, shared: int = 100, residual: float = 0.0) -> SpaceRotation:
    """Returns a rotation between versions that are named like their spaces."""
    places = (SpaceVersion(version=f"version-{name}", space_id=name) for name in (source, target))
    return SpaceRotation(source=next(places), target=next(places), matrix=matrix, shared=shared, residual=residual)


@given(SEEDS, DIMS)
def test_inner_products_stay_and_there_is_a_way_back(seed, dim):
    there = rotation("b", "a", orthogonal(dim, seed))
    vectors = np.random.default_rng(seed).normal(size=(5, dim))
    mapped = there.apply(vectors)
    np.testing.assert_allclose(mapped @ mapped.T, vectors @ vectors.T, atol=1e-12)
    np.testing.assert_allclose(there.inverse().apply(mapped), vectors, atol=1e-12)
    np.testing.assert_allclose(there.then(there.inverse()).matrix, np.eye(dim), atol=1e-12)


@given(st.lists(SEEDS, min_size=1, max_size=5), DIMS)
def test_a_chain_is_one_map_after_the_other(seeds, dim):
    maps = [rotation(str(place), str(place + 1), orthogonal(dim, seed)) for place, seed in enumerate(seeds)]
    vectors = np.random.default_rng(seeds[0]).normal(size=(3, dim))
    step_by_step = vectors
    for one in maps:
        step_by_step = one.apply(step_by_step)
    chain = SpaceRotation.chain(maps)
    np.testing.assert_allclose(chain.apply(vectors), step_by_step, atol=1e-12)
    assert (chain.source, chain.target) == (maps[0].source, maps[-1].target)


def test_a_quarter_turn():
    turn = rotation("b", "a", np.array([[0.0, -1.0], [1.0, 0.0]]))
    np.testing.assert_array_equal(turn.apply(np.array([[1.0, 0.0], [0.0, 2.0]])), [[0, 1], [-2, 0]])
    np.testing.assert_array_equal(turn.apply(np.array([1.0, 0.0])), [0, 1])
    assert turn.apply(np.ones((1, 2), np.float16)).dtype == np.float16


def test_a_chain_knows_its_weakest_link():
    first, second = rotation("c", "b", np.eye(2), 70, 0.25), rotation("b", "a", np.eye(2), 50, 0.5)
    assert (first.then(second).shared, first.then(second).residual) == (50, 0.75)


def test_maps_that_do_not_meet_are_refused():
    first, other = rotation("c", "b", np.eye(2)), rotation("x", "a", np.eye(2))
    with pytest.raises(UserError, match=r"space b \(version version-b\) cannot be followed by one from x"):
        first.then(other)


@pytest.mark.parametrize("matrix", [2 * np.eye(2), np.zeros((2, 2)), np.full((2, 2), np.nan)])
def test_what_would_change_inner_products_is_no_map(matrix):
    with pytest.raises(ValueError, match="not orthogonal"):
        rotation("b", "a", matrix)


def test_it_is_read_as_it_was_written(tmp_path):
    written = rotation("b", "a", orthogonal(7, 1), 123, 0.25)
    written.save(tmp_path)
    read = SpaceRotation.load(tmp_path)
    np.testing.assert_array_equal(read.matrix, written.matrix)
    assert (read.source, read.target, read.shared, read.residual) == (
        written.source, written.target, 123, 0.25
    )  # fmt: skip
    assert json.loads((tmp_path / "space_map.json").read_text())["target"]["space_id"] == "a"


def test_damaged_files_are_the_callers_to_mend(tmp_path):
    rotation("b", "a", np.eye(3)).save(tmp_path)
    matrix = tmp_path / "space_map.npy"
    matrix.write_bytes(matrix.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"space_map\.npy: cannot be read"):
        SpaceRotation.load(tmp_path)
    np.save(matrix, 2 * np.eye(3))
    with pytest.raises(UserError, match="not orthogonal"):
        SpaceRotation.load(tmp_path)
    matrix.unlink()
    with pytest.raises(UserError, match=r"space_map\.npy: missing"):
        SpaceRotation.load(tmp_path)
