import subprocess
import sys

import numpy as np
import pytest

from towers.retrieval import projection_2d
from towers.retrieval.projection_2d import FEWEST_FOR_TSNE, even_sample, principal_components, project


@pytest.mark.parametrize("block", [7, 65_536])
def test_principal_components_are_those_of_the_centred_vectors(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_2d, "BLOCK", block)
    vectors = (np.random.default_rng(0).normal(size=(50, 4)) * [1, 5, 1, 3] + 2).astype(np.float32)
    places = principal_components(vectors)
    centred = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(places), np.abs(centred @ axes[:2].T), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(places, axis=0), values[:2], rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (5, 1), (4, 2)])
def test_few_contents_or_dimensions(shape: tuple[int, int]) -> None:
    places = principal_components(np.ones(shape, np.float32))
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_a_few_are_projected_without_t_sne() -> None:
    vectors = np.random.default_rng(0).normal(size=(FEWEST_FOR_TSNE, 4)).astype(np.float32)
    method, places = project(vectors[1:])
    assert method == "PCA"
    np.testing.assert_array_equal(places, principal_components(vectors[1:]))
    method, places = project(vectors)
    assert (method, places.shape) == ("t-SNE", (FEWEST_FOR_TSNE, 2))


@pytest.mark.unhooked
def test_serving_does_not_need_scikit_learn() -> None:
    program = "import sys, towers.service.app; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_an_even_sample() -> None:
    assert even_sample(3, 10).tolist() == [0, 1, 2]
    assert even_sample(101, 3).tolist() == [0, 50, 100]
    assert even_sample(5, 1).tolist() == [0]
