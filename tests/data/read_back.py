"""A prepared store read back in the raw data's own ids."""

from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq

from towers.contract import schema

FORGOTTEN = "cy"
"""The listener who is deleted in the hand-written data set."""


def histories_by_id(store):
    """Returns, by raw listener id, (raw content id, action, time) in the store's order."""
    histories = store.histories
    content_ids = [*store.content_ids.tolist(), None]  # row -1 is the last
    return {
        user_id: [
            (
                content_ids[histories.content_row[place]],
                schema.ACTIONS[histories.action[place]],
                datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(histories.timestamp_us[place])),
            )
            for place in range(histories.offsets[row], histories.offsets[row + 1])
        ]
        for row, user_id in enumerate(store.user_ids.tolist())
    }


def row_of(store, content_id):
    return store.content_ids.tolist().index(content_id)


def members_of(store, content_id):
    return sorted(store.content_ids[store.members[row_of(store, content_id)]].tolist())


def rejected(store, table):
    """Row of the part file -> reason."""
    rows = pq.read_table(store.folder / f"rejected/{table}.parquet").to_pylist()
    return {row["file_row_number"]: row["reason"] for row in rows}


def assert_nothing_half_written(root):
    left = [path.name for path in root.rglob("*") if ".partial" in path.name] if root.exists() else []
    assert not left
    for version in [*root.glob("*"), *root.glob("log/*")]:
        if version.is_dir() and version.name not in ("spectrograms", "rejected", "log"):
            assert (version / "manifest.json").exists()
