"""The map between spaces is the planted one, and the nearest where none was planted."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.retrieval.test_rotation import DIMS, SEEDS, orthogonal
from towers.publishing import procrustes
from towers.publishing.procrustes import fit_rotation
from towers.retrieval.rotation import SpaceRotation, SpaceVersion

NEW, OLD = SpaceVersion(version="2", space_id="new"), SpaceVersion(version="1", space_id="old")


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fitted(source: np.ndarray, target: np.ndarray, source_version=NEW, target_version=OLD) -> SpaceRotation:
    """Fits a rotation on the same rows of both versions."""
    rows = np.arange(len(source))
    return fit_rotation(source_version, target_version, source, target, rows, rows)


@given(SEEDS, DIMS, st.integers(0, 20))
def test_a_planted_map_is_found(seed, dim, more):
    """Mirrored spaces are among them; contents are as many as dimensions or more."""
    source, planted = unit(dim + more, dim, seed), orthogonal(dim, seed + 1)
    assume(np.linalg.cond(source) < 1e4)  # else there is nearly no content in some direction
    found = fitted(source, source @ planted.T)
    np.testing.assert_allclose(found.matrix, planted, atol=1e-8)
    assert (found.source, found.target, found.shared) == (NEW, OLD, dim + more)
    assert found.residual < 1e-6


@given(SEEDS, DIMS)
def test_maps_of_planted_versions_chain(seed, dim):
    """The third version is mapped to the first over the second, or at once."""
    first = unit(4 * dim, dim, seed)
    second, third = first @ orthogonal(dim, seed + 1), first @ orthogonal(dim, seed + 2)
    middle = SpaceVersion(version="1b", space_id="middle")
    chain = SpaceRotation.chain([fitted(third, second, NEW, middle), fitted(second, first, middle, OLD)])
    np.testing.assert_allclose(chain.matrix, fitted(third, first).matrix, atol=1e-8)


@given(SEEDS, st.integers(2, 8))
def test_no_other_turn_is_nearer(seed, dim):
    source, target = unit(30, dim, seed), unit(30, dim, seed + 1)
    found = fitted(source, target)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(dim), atol=1e-12)

    def distance(matrix: np.ndarray) -> float:
        return float(np.sqrt(((source @ matrix.T - target) ** 2).sum(axis=1).mean()))

    np.testing.assert_allclose(found.residual, distance(found.matrix), atol=1e-9)
    others = [orthogonal(dim, other) for other in range(5)]
    assert all(distance(other) >= found.residual - 1e-9 for other in [*others, np.eye(dim)])


def test_contents_are_matched_by_row():
    planted, source = orthogonal(3, 0), unit(10, 3, 1)
    target = np.zeros((20, 3))
    target[[19, 3, 7, 5]] = source[[0, 2, 4, 6]] @ planted.T
    found = fit_rotation(NEW, OLD, source, target, np.array([0, 2, 4, 6]), np.array([19, 3, 7, 5]))
    np.testing.assert_allclose(found.matrix, planted, atol=1e-9)


def test_blocks_add_up(monkeypatch):
    source, target = unit(50, 4, 0).astype(np.float32), unit(50, 4, 1).astype(np.float32)
    whole = fitted(source, target)
    monkeypatch.setattr(procrustes, "BLOCK", 7)
    in_blocks = fitted(source, target)
    np.testing.assert_allclose(in_blocks.matrix, whole.matrix, atol=1e-12)
    assert in_blocks.residual == pytest.approx(whole.residual)


def test_too_few_contents_say_nothing():
    with pytest.raises(ValueError, match="3 contents are too few to fit a rotation of 4 dimensions"):
        fitted(unit(3, 4, 0), unit(3, 4, 1))
