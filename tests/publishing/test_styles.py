"""Given genres are kept, and missing ones come from the nearest contents of the same kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.publishing.listening import unit
from tests.retrieval.small_export import content, small_export
from towers.publishing import styles as module
from towers.publishing.styles import styles
from towers.retrieval.export import Export
from towers.retrieval.styles import Styles

GENRES = [["folk"], ["jazz", "folk", None, "folk"], None, [], [""], ["news"], None, None]
KINDS = ["track", "track", "track", "track", "track", "episode", "episode", "artist"]
DIRECTIONS = [[1, 0, 0], [0, 1, 0], [0.1, 1, 0], [1, 0.01, 0], [-1, -1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    rows = [content(f"c{place}", kind) for place, kind in enumerate(KINDS)]
    vectors = unit(np.array(DIRECTIONS, float)).astype(np.float32)
    return small_export(tmp_path_factory.mktemp("export") / "v1", rows, vectors)


def lists(genres: list[list[str | None] | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(genres, pa.list_(pa.string()))])


@pytest.fixture
def divided(export) -> Styles:
    return styles(export, lists(GENRES))


def shares(divided: Styles, row: int) -> dict[str, Any]:
    found = divided.of(np.array([row]))[0]
    return {divided.names[code]: pytest.approx(float(found[code]), abs=1e-6) for code in np.flatnonzero(found)}


def test_given_genres_share_a_content_equally(divided):
    assert divided.is_given.tolist() == [True, True, False, False, False, True, False, False]
    assert shares(divided, 0) == {"track: folk": 1}
    assert shares(divided, 1) == {"track: folk": 0.5, "track: jazz": 0.5}


def test_missing_genres_are_those_of_the_nearest_of_the_kind(divided):
    near = 0.1**module.SHARPNESS  # below the least vote
    assert near < module.LEAST
    assert shares(divided, 2) == {"track: folk": 0.5, "track: jazz": 0.5}
    assert shares(divided, 3) == {"track: folk": 1}
    assert shares(divided, 4) == {"track: folk": 0.75, "track: jazz": 0.25}  # both behind it: equally
    assert shares(divided, 6) == {"episode: news": 1}
    assert shares(divided, 7) == {"artist": 1}  # no artist has a genre


def test_votes_weigh_by_a_power_of_the_cosine(export, monkeypatch):
    monkeypatch.setattr(module, "SHARPNESS", 1)
    nearer, farther = 1.0, 0.1  # of the two that have genres, to the third; the norm cancels out
    folk = (farther + nearer / 2) / (nearer + farther)
    assert shares(styles(export, lists(GENRES)), 2) == {"track: folk": folk, "track: jazz": 1 - folk}


def test_blocks_and_a_matrix_give_the_same(export, monkeypatch):
    whole = styles(export, lists(GENRES))
    monkeypatch.setattr(module, "BLOCK", 1)
    parts = styles(export, lists(GENRES))
    assert parts.names == whole.names
    rows = np.arange(len(KINDS))
    np.testing.assert_array_equal(parts.of(rows), whole.of(rows))
    np.testing.assert_allclose(whole.of(rows).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(whole.of(rows[[5, 1, 1]]), whole.of(rows)[[5, 1, 1]])
    assert whole.of(rows[:0]).shape == (0, len(whole.names))


def test_it_reads_as_it_was_written(divided, export, tmp_path: Path):
    divided.write(tmp_path / "styles")
    again, rows = Styles.read(tmp_path / "styles"), np.arange(len(KINDS))
    assert again.names == divided.names
    np.testing.assert_array_equal(again.of(rows), divided.of(rows))
    np.testing.assert_array_equal(again.is_given, divided.is_given)
    assert export.styles is None  # of format 1


def test_without_any_genre_the_kinds_are_the_styles(export):
    assert set(styles(export, lists([None] * len(KINDS))).names) == {"track", "episode", "artist"}
