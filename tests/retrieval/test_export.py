from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_index import clustered
from towers.errors import UserError
from towers.publishing.index import IvfSettings
from towers.retrieval.export import Export
from towers.retrieval.show import described

ROWS = 22_000
FIRST_EPISODE = 21_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """More contents than are searched exactly, behind an index that looks into one cell."""
    contents = [content(f"t{row}", "track" if row < FIRST_EPISODE else "episode") for row in range(ROWS)]
    settings = IvfSettings(min_contents=ROWS, num_lists=64, num_probes=1)
    return small_export(tmp_path_factory.mktemp("large") / "export", contents, clustered(ROWS), index=settings)


def nearest(export: Export, vector: np.ndarray, rows: np.ndarray, k: int) -> list[int]:
    return rows[np.argsort(-(export.vectors[rows] @ vector), kind="stable")[:k]].tolist()


def test_candidates_are_all_found(large: Export) -> None:
    among = np.random.default_rng(1).choice(FIRST_EPISODE, 50, replace=False)
    for query in (0, 5_000, 10_000):
        found = large.recommend(large.vectors[query], 20, among=among)
        assert found.rows.tolist() == nearest(large, large.vectors[query], np.sort(among), 20)
        np.testing.assert_allclose(found.scores, large.vectors[found.rows] @ large.vectors[query], rtol=1e-5)


def test_a_rare_kind_is_all_found(large: Export) -> None:
    episodes = np.arange(FIRST_EPISODE, ROWS)
    found = large.recommend(large.vectors[0], 100, kinds=("episode",))
    assert found.rows.tolist() == nearest(large, large.vectors[0], episodes, 100)


def test_the_whole_catalogue_is_searched_by_the_index(large: Export) -> None:
    found = large.recommend(large.vectors[7], 10, without=np.array([7, -1]))
    expected, _ = large.index.search(large.vectors[7][None], 10, np.arange(ROWS) != 7)
    assert found.rows.tolist() == expected[0].tolist()


def test_an_artist_is_named_by_an_artist_alone(tmp_path: Path) -> None:
    contents = [
        content("1", title="A song", artist_ids=["1", "2", "3"]),
        content("2", "artist", "Somebody"),
        content("3", "artist"),
    ]
    export = small_export(tmp_path / "export", contents, clustered(3))
    assert described(export, 0)[:2] == ("A song", "1, Somebody, 3")


@pytest.mark.parametrize("name", ["contents.faiss", "space_id"])
@pytest.mark.parametrize("keep", [None, 0, 0.5])
def test_a_damaged_index_is_named(tmp_path: Path, name: str, keep: float | None) -> None:
    export = small_export(tmp_path / "export", [content("a"), content("b")], clustered(2))
    damage(export.folder / "index" / name, keep)
    with pytest.raises(UserError, match=f"{export.folder}/index"):
        _ = export.index


def damage(path: Path, keep: float | None) -> None:
    """Removes a file, or keeps its first part."""
    whole = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(whole[: int(keep * len(whole))])
