"""A small export with cards of three kinds, for the tests of home pages."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.retrieval.small_export import content, small_export
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.store import write_arrow
from towers.policies.bandit.home import Shelf
from towers.retrieval.export import Export
from towers.retrieval.files import PLAYLISTS

CONTENTS = [
    content("t0", title="First", artist_ids=["a0"]),
    content("t1", title="Second", artist_ids=["a0", "a1"]),
    content("t2", title="Third", artist_ids=["a1"]),
    content("a0", "artist", "One", ["a0"]),
    content("a1", "artist", "Other", ["a1"]),
    content("p0", "playlist", "Morning"),
    content("p1", "playlist", "Evening"),
    content("e0", "episode", "Talk"),
    content("e1", "episode", "More talk"),
]
ROW = {row["content_id"]: place for place, row in enumerate(CONTENTS)}
LISTENERS = {"u0": [0, 0, 1], "u1": [7], "nobody": []}
SHELVES = (
    Shelf(name="picked", title="Picked for you", slots=2),
    Shelf(name="talk", title="Podcasts", slots=3, kinds=("episode",)),
    Shelf(name="artists", title="Artists", slots=3, kinds=("artist",)),
)
MEMBERS = {"p0": ["t0", "t1"], "p1": ["t2", "t2", "t0"]}


def home_export(folder: Path, version: str = "v1") -> Export:
    """Nine contents, three listeners, two playlists of editors."""
    angles = np.linspace(0, 1.5, len(CONTENTS))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    export = small_export(folder / version, CONTENTS, vectors, LISTENERS)
    made = [
        {"content_row": ROW[name], "curator": "editor", "owner_id": None, "created": None,
         "member_rows": [ROW[one] for one in members]}
        for name, members in MEMBERS.items()
    ]  # fmt: skip
    write_arrow(export.folder / PLAYLISTS, pa.Table.from_pylist(made, PLAYLIST_COLUMNS))
    return export
