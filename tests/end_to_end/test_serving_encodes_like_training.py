"""Raw events to a vector, through the reader and ONNX and by training's own path: both give the same."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from towers.retrieval.export import Export
from towers.retrieval.raw_events import encode_user, user_codes_from_raw

pytestmark = pytest.mark.unhooked


@pytest.fixture
def folder(demo: tuple[Path, str]) -> Path:
    """The demo reads its listeners' features, and no more than the last 30 events."""
    return demo[0]


def test_raw_events_give_the_exported_vector(folder: Path) -> None:
    export = Export(folder / "exports" / "current")
    world = folder / "worlds" / "world-0"
    users = {row["user_id"]: row for row in pq.read_table(world / "users").to_pylist()}
    events: dict[str, list[dict]] = {user_id: [] for user_id in export.user_ids}
    for row in pq.read_table(world / "events").to_pylist():
        events.get(row["user_id"], []).append(row)
    lengths = [len(rows) for rows in events.values()]
    assert max(lengths) > 30, "the last events of a long history have to be among those compared"
    for row, user_id in enumerate(export.user_ids):
        found = encode_user(export, events[user_id], users[user_id])
        np.testing.assert_allclose(found, export.user_vectors[row], atol=1e-4)


def test_the_listeners_features_count(folder: Path) -> None:
    export = Export(folder / "exports" / "current")
    nothing = export.plays(np.zeros(0, np.int64))
    codes = [user_codes_from_raw(export, {"country": country}) for country in (None, "DE", "US", "BR", "FR", "JP")]
    assert len({tuple(code) for code in codes}) > 1
    vectors = {tuple(export.encode_events(nothing, code).round(4)) for code in codes}
    assert len(vectors) == len({tuple(code) for code in codes})


def test_the_exported_manifest_says_so(folder: Path) -> None:
    towers = Export(folder / "exports" / "current").manifest["towers"]
    for name in ("user_tower.onnx", "content_tower.onnx"):
        assert towers[name]["difference"] < 1e-4
