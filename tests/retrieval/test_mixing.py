"""Listeners of one version with contents of another: refused, unless their spaces are the same or a map is given."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.retrieval.small_export import content, small_export
from tests.retrieval.test_rotation import rotation
from towers.errors import UserError
from towers.manifest import digest_of_file
from towers.retrieval.export import Export
from towers.retrieval.mixing import listeners_against
from towers.retrieval.query import Query
from towers.retrieval.rotation import SpaceRotation

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])
"""Rotation of east to north."""


def export(folder: Path, space_id: str, vectors: dict[str, list[float]], heard: dict[str, list[int]]) -> Export:
    contents = [content(name) for name in vectors]
    small_export(folder, contents, np.array(list(vectors.values()), np.float32), heard)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"space_id": "space"', f'"space_id": "{space_id}"'))
    assert json.loads(path.read_text())["space_id"] == space_id
    (folder / "manifest.json.sha256").write_text(digest_of_file(path) + "  manifest.json\n")
    users = folder / "user_embeddings" / "part-0.parquet"
    pq.write_table(pq.read_table(users).replace_schema_metadata({"space_id": space_id}), users)
    return Export(folder)


@pytest.fixture
def old(tmp_path: Path) -> Export:
    """An export in which Ann is at "b", north."""
    return export(tmp_path / "old", "first", {"a": EAST, "gone": WEST, "b": NORTH}, {"ann": [0, 1, 2]})


def test_a_common_space(old, tmp_path):
    new = export(tmp_path / "new", "first", {"fresh": NORTH, "b": NORTH, "c": WEST, "a": EAST}, {"eve": [0]})
    mixed = listeners_against(old, new)
    np.testing.assert_array_equal(mixed.vector(0), NORTH)
    # Contents that ann heard have other rows in the new version, or none.
    assert mixed.chosen(0).tolist() == [3, 1]
    assert mixed.recommend(0, Query(k=2)).rows.tolist() == [0, 2]
    assert mixed.recommend(0, Query(k=2, include_heard=True)).rows.tolist() == [0, 1]


def test_different_spaces_are_refused(old, tmp_path):
    new = export(tmp_path / "new", "second", {"a": EAST}, {"eve": [0]})
    with pytest.raises(UserError) as error:
        listeners_against(old, new)
    message = str(error.value)
    assert "first (version old) and second (version new), and must not be mixed; take both from one version" in message
    assert "\n" not in message


def test_a_map_leads_from_one_to_the_other(old, tmp_path):
    """The new space is the old one turned by a quarter: north has become west."""
    new = export(tmp_path / "new", "second", {"fresh": WEST, "c": NORTH, "a": NORTH, "b": WEST}, {"eve": [0]})
    to_old = rotation("second", "first", QUARTER.T)
    mixed = listeners_against(old, new, to_old.inverse())
    np.testing.assert_allclose(mixed.vector(0), WEST)
    found = mixed.recommend(0, Query(k=2))
    assert found.rows.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [1, 0], atol=1e-6)
    over_another = SpaceRotation.chain([rotation("first", "third", np.eye(2)), rotation("third", "second", QUARTER)])
    np.testing.assert_allclose(listeners_against(old, new, over_another).vector(0), WEST)


def test_a_map_between_other_spaces_is_refused(old, tmp_path):
    new = export(tmp_path / "new", "second", {"a": EAST}, {"eve": [0]})
    with pytest.raises(UserError, match=r"leads from second .* to first .*, not between first .* and second"):
        listeners_against(old, new, rotation("second", "first", QUARTER))
