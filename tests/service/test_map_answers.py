import numpy as np
import pytest

from towers.service import map_answers
from towers.service.map_answers import even_sample, principal_components


@pytest.mark.parametrize("block", [7, 100_000])
def test_principal_components_are_those_of_the_centred_vectors(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_answers, "BLOCK", block)
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


def test_an_even_sample() -> None:
    assert even_sample(3, 10).tolist() == [0, 1, 2]
    assert even_sample(101, 3).tolist() == [0, 50, 100]
    assert even_sample(5, 1).tolist() == [0]
