"""Eigenvectors by falling eigenvalue, with a sign that is the same on all machines."""

import numpy as np

from towers.retrieval.directions import directions_of


def test_directions_of_a_matrix_that_is_worked_out_by_hand():
    """The eigenvalues are 1 and 3 of the first two dimensions, along their difference and sum, and 9 of the last."""
    moment = np.array([[2.0, 1, 0], [1, 2, 0], [0, 0, 9]])
    half = np.sqrt(0.5)
    found = directions_of(moment)
    np.testing.assert_allclose(np.abs(found), [[0, 0, 1], [half, half, 0], [half, half, 0]], atol=1e-12)
    np.testing.assert_allclose(found @ moment @ found.T, np.diag([9, 3, 1]), atol=1e-12)
    assert found[0, 2] > 0
    np.testing.assert_array_equal(np.sign(found[1, :2]), [1, 1])
