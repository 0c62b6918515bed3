"""Small spaces and worlds, and the rows of `events/` as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.contract import schema
from towers.simulation.listeners.raw_events import NOT_IN_SPACE, NOWHERE, LoggedEvents
from towers.simulation.listeners.space import Space

EXPORT = Path(__file__).parents[2] / "golden" / "format-4" / "export"
"""An export with the contents of `WORLD` and nearly all of its listeners."""
WORLD = {
    "seed": 0, "num_tracks": 24, "num_episodes": 4, "num_listeners": 70, "num_days": 120, "evaluation_days": 15,
    "start_date": "2026-01-05", "events_per_listener": 40.0, "new_release_share": 0.3, "genre_missing_share": 0.3,
    "clip_duration_s": 1.0, "sample_rate": 8_000,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SmallWorld:
    """Folders of an invented world without sound, as raw data and as a prepared store, and its events."""

    raw: Path
    store: Path
    events: pa.Table


def write_world(folder, make_builder):
    """Writes and prepares a small world."""
    from towers.data.splits.temporal import GlobalTemporal
    from towers.simulation.world import World

    tables = World(**WORLD).tables()
    tables["contents"] = tables["contents"].drop_columns(["audio"])
    for name, table in tables.items():
        (folder / "raw" / name).mkdir(parents=True)
        pq.write_table(table, folder / "raw" / name / "part-0.parquet")
    split = GlobalTemporal(validation_days=15.0, test_days=15.0)
    make_builder(folder / "raw", folder / "stores" / "small", split=split).build()
    return SmallWorld(raw=folder / "raw", store=folder / "stores" / "small", events=tables["events"])


def small_space(durations_ms=(1_000.0, 3_333.0, 200_000.0, 5.0), is_playable=None):
    """Returns contents `c0`, `c1` and so on, each in a direction of its own."""
    number = len(durations_ms)
    return Space(
        space_id="small",
        content_ids=tuple(f"c{row}" for row in range(number)),
        vectors=np.eye(number, dtype=np.float32),
        region=np.arange(number) % 2,
        region_names=("one", "other"),
        artist=np.arange(number) // 2,
        duration_ms=np.array(durations_ms),
        released_us=np.zeros(number, np.int64),
        kind=np.zeros(number, np.int64),
        kinds=("track",),
        is_playable=np.ones(number, bool) if is_playable is None else np.array(is_playable),
        plays=np.zeros(number),
    )


def logged(table, space):
    """Returns the rows of a table of events as `towers prepare` keeps them, without its checks."""
    rows = table.sort_by([("user_id", "ascending"), ("timestamp", "ascending")])

    def coded(name):
        encoded = rows[name].combine_chunks().dictionary_encode()
        return encoded.indices.fill_null(-1).to_numpy().astype(np.int32), tuple(encoded.dictionary.to_pylist())

    listener, user_ids = coded("user_id")
    content, content_ids = coded("content_id")
    place = {content_id: row for row, content_id in enumerate(space.content_ids)}
    found = [place.get(content_id, NOT_IN_SPACE) for content_id in content_ids]
    context, contexts = coded("context")
    device, devices = coded("device")
    return LoggedEvents(
        user_ids=user_ids,
        listener=listener,
        content=np.array([*found, NOWHERE])[content],
        action=np.array([schema.ACTION_CODES[action] for action in rows["action"].to_pylist()], np.int8),
        timestamp_us=rows["timestamp"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy(),
        played_ms=rows["played_ms"].fill_null(-1).to_numpy(),
        session=coded("session_id")[0],
        context=context,
        contexts=contexts,
        device=device,
        devices=devices,
    )
