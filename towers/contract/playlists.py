"""The table of playlists in a prepared store and an export: one row a playlist, ascending by `content_row`."""

import pyarrow as pa

PLAYLIST_COLUMNS = pa.schema(
    {
        "content_row": pa.int32(),
        "curator": pa.string(),
        "owner_id": pa.string(),
        "created": pa.timestamp("us", tz="UTC"),
        "member_rows": pa.list_(pa.int32()),
    }
)
"""`member_rows`: its contents in the order of the list, repeats included; null where something is not known."""
