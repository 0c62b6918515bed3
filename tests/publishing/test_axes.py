"""A space on principal axes loses nothing, and its leading dimensions hold the most."""

import numpy as np
import pytest

from tests.publishing.listening import LISTENERS, unit
from towers.publishing import axes as module
from towers.publishing.axes import WEIGHT_OF_LISTENERS, fitting_listeners, principal_axes
from towers.publishing.leading import nearest, share_kept
from towers.publishing.projection import Projection

NOBODY = np.zeros((0, 8), np.float32)


def orthogonal(dim: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def along(scales: list[float], rows: int, seed: int, turn: np.ndarray | None = None) -> np.ndarray:
    """Returns unit vectors, longer along the first dimensions, then rotated."""
    vectors = np.random.default_rng(seed).normal(size=(rows, len(scales))) * scales
    return unit(vectors @ (np.eye(len(scales)) if turn is None else turn)).astype(np.float32)


def test_of_vectors_along_a_few_directions_these_are_the_axes():
    """Four contents lie along the first of three planted directions, two along the second, one along the third."""
    turn = orthogonal(3, 0)
    contents = np.repeat(turn, [4, 2, 1], axis=0).astype(np.float32)
    found = principal_axes(contents, NOBODY[:, :3])
    np.testing.assert_allclose(np.abs(found @ turn.T), np.eye(3), atol=1e-6)


def test_listeners_count_by_their_weight():
    """All contents lie along one dimension, listeners along the other: the side with more weight comes first."""
    contents, listeners = np.eye(2, dtype=np.float32)[[0] * 10], np.eye(2, dtype=np.float32)[[1]]
    assert WEIGHT_OF_LISTENERS > 1
    np.testing.assert_array_equal(principal_axes(contents, listeners), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(principal_axes(contents, listeners[:0]), [[1, 0], [0, 1]])


@pytest.mark.parametrize("seed", range(3))
def test_axes_are_orthonormal_and_change_no_inner_product(seed):
    contents, listeners = (along([1.0] * 8, rows, seed + rows) for rows in (50, 20))
    projection = Projection(axes=principal_axes(contents, listeners))
    np.testing.assert_allclose(projection.axes @ projection.axes.T, np.eye(8), atol=1e-12)
    turned, asked = projection.apply(contents), projection.apply(listeners)
    np.testing.assert_allclose(asked @ turned.T, listeners @ contents.T, atol=1e-6)
    assert projection.reads is not None
    np.testing.assert_allclose(turned @ projection.reads.T, contents, atol=1e-6)
    energies = (turned.astype(np.float64) ** 2).mean(0) + WEIGHT_OF_LISTENERS * (asked.astype(np.float64) ** 2).mean(0)
    assert (np.diff(energies) < 1e-6).all()


def test_fewer_vectors_than_dimensions_still_have_as_many_axes():
    found = principal_axes(along([1.0] * 8, 3, 0), NOBODY)
    np.testing.assert_allclose(found @ found.T, np.eye(8), atol=1e-12)


def test_the_largest_component_of_an_axis_is_positive():
    found = principal_axes(along([3.0, 2, 1, 1, 1, 1, 1, 1], 40, 1, orthogonal(8, 2)), NOBODY)
    assert (found[np.arange(8), np.abs(found).argmax(axis=1)] > 0).all()


def test_blocks_of_memory_mapped_rows_give_what_one_block_gives(tmp_path, monkeypatch):
    contents, listeners = along([3.0, 2, 1, 1], 101, 0), along([1.0, 2, 3, 1], 13, 1)
    expected = principal_axes(contents, listeners)
    np.save(tmp_path / "contents.npy", contents)
    blocks_of, seen = module.blocks_of, []

    def by_ten(array: np.ndarray):
        for block in blocks_of(array, 10):
            seen.append(len(block))
            yield block

    monkeypatch.setattr(module, "blocks_of", by_ten)
    found = principal_axes(np.load(tmp_path / "contents.npy", mmap_mode="r"), listeners)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert seen == [*[10] * 10, 1, 10, 3]


def test_leading_dimensions_keep_what_is_near():
    """Vectors lie near four hidden directions: four axes hold these, four dimensions do not."""
    scales = [1.0] * 4 + [0.05] * 12
    turn = orthogonal(16, 3)
    contents, listeners = along(scales, 400, 0, turn), along(scales, 100, 1, turn)
    axes, allowed = principal_axes(contents, listeners[:50]), np.ones(400, bool)
    whole = nearest(listeners[50:], contents, allowed, 16)
    turned = Projection(axes=axes)
    kept = share_kept(whole, turned.apply(listeners[50:]), turned.apply(contents), allowed, [4, 16])
    assert kept[4] > 0.9
    assert kept[16] == pytest.approx(1, abs=0.002)
    assert share_kept(whole, listeners[50:], contents, allowed, [4])[4] < 0.7


def test_the_axes_are_fitted_on_half_of_those_who_did_something(listening, monkeypatch):
    found = fitting_listeners(listening)
    assert len(found) == LISTENERS // 2
    assert found.tolist() == sorted(set(found.tolist())) == fitting_listeners(listening).tolist()
    assert found.tolist() != fitting_listeners(listening, seed=1).tolist()
    monkeypatch.setattr(module, "AT_MOST", 5)
    assert len(fitting_listeners(listening)) == 5
