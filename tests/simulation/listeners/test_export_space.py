from pathlib import Path

import numpy as np
import pytest

from tests.retrieval.small_export import content, small_export
from tests.simulation.listeners.logs import EXPORT
from towers.contract import schema
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.simulation.listeners.export_space import UNKNOWN_RELEASE, space_of


@pytest.fixture(scope="module")
def export():
    return Export(EXPORT)


def test_contents_are_the_exports(export):
    space = space_of(export)
    assert space.space_id == export.space_id
    assert list(space.content_ids) == list(export.content_ids)
    assert space.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(space.vectors, axis=1), 1, atol=1e-6)
    cosines = (space.vectors * export.vectors).sum(axis=1) / np.linalg.norm(export.vectors, axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    for row, kind in enumerate(export.contents["kind"].to_pylist()):
        assert space.kinds[space.kind[row]] == kind
        assert space.is_playable[row] == (kind in schema.PLAYABLE_KINDS)
        assert (space.region[row] >= 0) == space.is_playable[row]
    assert space.region.max() < len(space.region_names)
    assert (space.plays == 0).all()


def test_artists_are_equal_where_the_first_one_is(export):
    space = space_of(export)
    first = [ids[0] if ids else None for ids in export.contents["artist_ids"].to_pylist()]
    for row, artist_id in enumerate(first):
        same = {other for other, code in enumerate(space.artist.tolist()) if code == space.artist[row]}
        assert same == {other for other, other_id in enumerate(first) if other_id == artist_id}
        assert (space.artist[row] < 0) == (artist_id is None)


def test_durations_and_releases(export):
    space = space_of(export)
    durations = export.contents["duration_ms"].to_pylist()
    known = [duration for duration in durations if duration]
    for row, (duration, released) in enumerate(
        zip(durations, export.contents["release_date"].to_pylist(), strict=True)
    ):
        assert space.duration_ms[row] == (duration or np.median(known))
        day_us = UNKNOWN_RELEASE if released is None else np.datetime64(released, "us").astype(np.int64)
        assert space.released_us[row] == day_us
    assert UNKNOWN_RELEASE in space.released_us
    assert len(known) < len(durations)


def test_an_export_without_regions(tmp_path):
    small_export(tmp_path / "v1", [content("a"), content("b")], np.eye(2, dtype=np.float32), {"ann": [0]})
    with pytest.raises(UserError, match=r"^export=.*v1: has no named regions \(format 4\); export the run again$"):
        space_of(Export(Path(tmp_path / "v1")))
