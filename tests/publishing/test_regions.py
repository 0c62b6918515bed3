"""Regions are the clusters of k-means, and pass their ids and names on to the next version."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.publishing.listening import unit
from tests.retrieval.small_export import content, small_export
from towers.publishing.regions import regions
from towers.publishing.styles import styles
from towers.retrieval.export import Export
from towers.retrieval.regions import Regions

GENRES, OF_A_GENRE, DIM = 12, 30, 24
NAMES = [f"genre {number}" for number in range(GENRES)]
SIZE = GENRES * OF_A_GENRE + 1  # the last is an artist


def of_genre() -> np.ndarray:
    return np.arange(SIZE - 1) % GENRES


def scattered(spread: float = 0.15, seed: int = 0) -> np.ndarray:
    """Draws vectors of a direction for each genre, and a small part for each content."""
    draws = np.random.default_rng(seed)
    places = np.concatenate([np.eye(DIM)[of_genre()], np.eye(DIM)[:1]])
    return unit(places + spread * draws.normal(size=places.shape))


def export_of(
    folder: Path, vectors: np.ndarray, order: np.ndarray | None = None, genres: list[str] | None = None
) -> Export:
    """Writes an export of contents of one genre each, in any order."""
    order = np.arange(SIZE) if order is None else order
    told = [(genres or NAMES)[genre] for genre in of_genre().tolist()]
    rows = [content(f"c{row}", title=f"title {row}", genres=[told[row]]) for row in range(SIZE - 1)]
    rows.append(content("artist", "artist", genres=[]))
    return small_export(folder, [rows[row] for row in order.tolist()], vectors[order].astype(np.float32))


def regions_of(export: Export, earlier: Export | None = None, number: int | None = None) -> Regions:
    """Computes the regions, and writes them to the export's folder."""
    size = len(export.contents)
    found = regions(
        export, styles(export, export.contents["genres"]), np.arange(size), np.arange(size), earlier, number
    )
    found.write(export.folder / "regions")
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Export, Regions]:
    export = export_of(tmp_path_factory.mktemp("first") / "v1", scattered())
    return export, regions_of(export, number=GENRES)


def named(export: Export, regions: Regions) -> dict[str, tuple[int, str]]:
    """Returns the id and name of each content's region, by the content's id."""
    places = regions.region_of_content
    return {
        export.content_ids[row]: (int(regions.ids[places[row]]), regions.names[places[row]])
        for row in np.flatnonzero(places >= 0).tolist()
    }


def share_kept(first: tuple[Export, Regions], later: tuple[Export, Regions]) -> float:
    before, after = named(*first), named(*later)
    return float(np.mean([before[name] == after[name] for name in before.keys() & after.keys()]))


def test_each_genre_is_a_region_of_its_name(first):
    export, found = first
    assert sorted(found.names) == sorted(NAMES)
    assert found.ids.tolist() == list(range(GENRES))
    assert found.region_of_content[-1] == -1  # an artist
    for row, (_, name) in enumerate(named(export, found).values()):
        assert name == NAMES[of_genre()[row]]
        assert found.names[found.of_vector(export.vectors[row])] == name
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, atol=1e-5)


def test_typical_pieces_are_near_the_centroid_and_chosen_most(first):
    export, found = first
    for place, rows in enumerate(found.typical.tolist()):
        members = np.flatnonzero(found.region_of_content == place)
        nearest = members[np.argsort(-(export.vectors[members] @ found.centroids[place]))][:10]
        assert rows == sorted(nearest.tolist(), reverse=True)[:3]  # positives rise with the row


def test_turned_and_moved_vectors_keep_ids_and_names(first, tmp_path):
    """The vectors are those of a retraining: another space, some noise, other rows, and contents that came or went."""
    draws = np.random.default_rng(5)
    turn = np.linalg.qr(draws.normal(size=(DIM, DIM)))[0]
    moved = unit(scattered() @ turn + 0.05 * draws.normal(size=(SIZE, DIM)))
    export = export_of(tmp_path / "v2", moved, draws.permutation(SIZE)[: SIZE - 20])
    found = regions_of(export, earlier=first[0])
    assert share_kept(first, (export, found)) > 0.98
    assert found.next_id == GENRES


def test_a_new_genre_is_a_new_region_and_a_lost_id_is_not_reused(first, tmp_path):
    is_old = np.flatnonzero(of_genre() != 3)  # gone
    second = export_of(tmp_path / "v2", scattered(), is_old)
    found = regions_of(second, earlier=first[0], number=GENRES - 1)
    gone = first[1].ids[first[1].names.index(NAMES[3])]
    assert set(found.ids.tolist()) == set(range(GENRES)) - {gone}
    third = export_of(tmp_path / "v3", scattered())
    again = regions_of(third, earlier=second, number=GENRES)
    assert set(again.ids.tolist()) == set(range(GENRES + 1)) - {gone}
    assert again.names[again.ids.tolist().index(GENRES)] == NAMES[3]
    assert share_kept((second, found), (third, again)) == 1


def test_a_name_goes_when_it_is_no_longer_true(first, tmp_path):
    other = [name.replace("genre", "style") for name in NAMES]
    export = export_of(tmp_path / "v2", scattered(), genres=other)
    found = regions_of(export, earlier=first[0])
    assert found.ids.tolist() == first[1].ids.tolist()
    assert list(found.names) == [name.replace("genre", "style") for name in first[1].names]


def test_without_genres_regions_are_named_by_pieces(tmp_path):
    export = export_of(tmp_path / "v1", scattered(), genres=[""] * GENRES)
    found = regions_of(export, number=5)
    titles = [export.contents["title"][rows[0]].as_py() for rows in found.typical.tolist()]
    assert list(found.names) == [f"around {title}" for title in titles]


def test_regions_of_one_genre_are_told_apart(tmp_path):
    export = export_of(tmp_path / "v1", scattered(), genres=["a"] * 4 + ["b"] * (GENRES - 4))
    found = regions_of(export, number=GENRES)
    assert len(set(found.names)) == len(found.ids) == GENRES


@pytest.mark.parametrize(("contents", "expected"), [(0, 0), (3, 3), (300, 12), (360, 13)])
def test_their_number_follows_from_the_contents(tmp_path, contents, expected):
    """The number is the root of half of the contents, at least 8, and no more than contents."""
    found = regions_of(export_of(tmp_path / "v1", scattered(), np.arange(SIZE)[SIZE - 1 - contents :]))
    assert len(found.ids) == expected


def test_it_reads_as_it_was_written(first):
    export, found = first
    again = Regions.read(export.folder / "regions")
    for name in ("ids", "centroids", "typical", "region_of_content"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.names, again.styles, again.next_id) == (found.names, found.styles, found.next_id)
    assert json.loads((export.folder / "regions" / "regions.json").read_text())["names"] == list(found.names)


def test_without_regions_a_vector_lies_in_none(first):
    empty = {name: getattr(first[1], name)[:0] for name in ("ids", "names", "styles", "centroids", "typical")}
    none = replace(first[1], **empty)
    assert none.of_vector(first[0].vectors[0]) == -1
