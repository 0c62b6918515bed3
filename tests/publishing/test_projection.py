"""The projection of the model's vectors to the exported ones."""

import numpy as np
import pytest

from tests.publishing.listening import unit
from towers.publishing.projection import Projection

TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
VECTORS = unit(np.random.default_rng(1).normal(size=(6, 4))).astype(np.float32)


def test_a_turn_is_undone_by_what_reads():
    turned = Projection(axes=TURN)
    assert (turned.dim, turned.model_dim, turned.is_truncated) == (4, 4, False)
    assert turned.reads is not None
    np.testing.assert_allclose(turned.apply(VECTORS) @ turned.reads.T, VECTORS, atol=1e-6)


def test_truncated_vectors_are_normalised_and_cannot_be_undone():
    cut = Projection(axes=TURN[:2])
    assert (cut.dim, cut.is_truncated, cut.reads) == (2, True, None)
    expected = VECTORS @ TURN[:2].T
    np.testing.assert_allclose(cut.apply(VECTORS), unit(expected), atol=1e-6)
    np.testing.assert_allclose(cut.apply(np.zeros((1, 4), np.float32)), 0)


@pytest.mark.parametrize("dim", [2, 4])
def test_a_map_comes_after_the_axes(dim):
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(dim, dim)))[0]
    first = Projection(axes=TURN[:dim])
    expected = first.apply(VECTORS) @ rotation.T
    np.testing.assert_allclose(first.then(rotation).apply(VECTORS), expected, atol=1e-6)
