"""Small selections are searched exactly, the whole catalogue by its index."""

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.publishing.index import IvfSettings
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.search import recommend

ROWS = 22_000
FIRST_EPISODE = 21_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """An export with more contents than are searched exactly, behind an index that looks into one cell."""
    contents = [content(f"t{row}", "track" if row < FIRST_EPISODE else "episode") for row in range(ROWS)]
    settings = IvfSettings(min_contents=ROWS, num_lists=64, num_probes=1)
    return small_export(tmp_path_factory.mktemp("large") / "export", contents, clustered(ROWS), index=settings)


def nearest(export: Export, vector: np.ndarray, rows: np.ndarray, k: int) -> list[int]:
    return rows[np.argsort(-(export.vectors[rows] @ vector), kind="stable")[:k]].tolist()


def test_candidates_are_all_found(large: Export) -> None:
    among = np.random.default_rng(1).choice(FIRST_EPISODE, 50, replace=False)
    for query in (0, 5_000, 10_000):
        found = recommend(large, large.vectors[query], Query(k=20, among=among), None)
        assert found.rows.tolist() == nearest(large, large.vectors[query], np.sort(among), 20)
        np.testing.assert_allclose(found.scores, large.vectors[found.rows] @ large.vectors[query], rtol=1e-5)


def test_a_rare_kind_is_all_found(large: Export) -> None:
    episodes = np.arange(FIRST_EPISODE, ROWS)
    found = recommend(large, large.vectors[0], Query(k=100, kind=("episode",)), None)
    assert found.rows.tolist() == nearest(large, large.vectors[0], episodes, 100)


def test_the_whole_catalogue_is_searched_by_the_index(large: Export) -> None:
    found = recommend(large, large.vectors[7], Query(k=10, deny=np.array([7, -1])), None)
    expected, _ = large.index.search(large.vectors[7][None], 10, np.arange(ROWS) != 7)
    assert found.rows.tolist() == expected[0].tolist()


@pytest.mark.parametrize("kinds", [("track",), ("episode",)])  # by the index, exactly
def test_more_than_there_are(large: Export, kinds: tuple[str, ...]) -> None:
    found = recommend(large, large.vectors[7], Query(k=10**15, kind=kinds), None)
    assert 0 < len(found.rows) <= ROWS
    assert len(set(found.rows.tolist())) == len(found.rows)
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(found.scores, large.vectors[found.rows] @ large.vectors[7], rtol=1e-5, atol=1e-6)
