"""Small spaces and logs, and how the rows of `events/` come back as arrays."""

import numpy as np
import pyarrow as pa

from towers.contract import schema
from towers.simulation.listeners.raw_events import NOT_IN_SPACE, NOWHERE, LoggedEvents
from towers.simulation.listeners.space import Space


def small_space(durations_ms=(1_000.0, 3_333.0, 200_000.0, 5.0), is_playable=None):
    """Contents `c0`, `c1` and so on, which lie in directions of their own."""
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
    """The rows of a table of events as `towers prepare` keeps them, but for its checks."""
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
