"""A small invented world without sound, prepared, beside an export of the same contents."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

EXPORT = Path(__file__).parents[2] / "golden" / "format-4" / "export"
WORLD = {
    "seed": 0, "num_tracks": 24, "num_episodes": 4, "num_listeners": 70, "num_days": 120, "evaluation_days": 15,
    "start_date": "2026-01-05", "events_per_listener": 86.0, "new_release_share": 0.3, "genre_missing_share": 0.3,
    "clip_duration_s": 1.0, "sample_rate": 8_000,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Small:
    """Folders of raw data, of its prepared store, and of an export; and the raw events."""

    raw: Path
    store: Path
    export: Path
    events: pa.Table


@pytest.fixture(scope="session")
def small(tmp_path_factory, make_builder):
    """Read only."""
    from towers.data.splits.temporal import GlobalTemporal
    from towers.simulation.world import World

    folder = tmp_path_factory.mktemp("simulator")
    tables = World(**WORLD).tables()
    tables["contents"] = tables["contents"].drop_columns(["audio"])
    for name, table in tables.items():
        (folder / "raw" / name).mkdir(parents=True)
        pq.write_table(table, folder / "raw" / name / "part-0.parquet")
    split = GlobalTemporal(validation_days=15.0, test_days=15.0)
    make_builder(folder / "raw", folder / "stores" / "small", split=split).build()
    shutil.copytree(EXPORT, folder / "exports" / "current")
    return Small(
        raw=folder / "raw", store=folder / "stores" / "small", export=folder / "exports" / "current",
        events=tables["events"],
    )  # fmt: skip
