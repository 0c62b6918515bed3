"""Playlists of an export as policies read them, those of older formats among them."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.small_export import content, small_export
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.store import write_arrow
from towers.retrieval.files import PLAYLISTS
from towers.retrieval.playlists import Playlists

MADE = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = [
    {"content_row": 2, "curator": "editor", "owner_id": None, "created": None, "member_rows": [1, 0, 1]},
    {"content_row": 5, "curator": None, "owner_id": "eve", "created": MADE, "member_rows": []},
    {"content_row": 7, "curator": "listener", "owner_id": "ann", "created": MADE, "member_rows": [3]},
]


@pytest.fixture
def export(tmp_path):
    """An export of the first format, which has no playlists and sessions."""
    contents = [content("a"), content("b", "playlist")]
    return small_export(tmp_path / "export", contents, np.eye(2, dtype=np.float32), {"ann": [0, 1, 0], "ben": []})


def test_all_that_is_known_of_each():
    playlists = Playlists(pa.Table.from_pylist(ROWS, PLAYLIST_COLUMNS))
    assert len(playlists) == 3
    assert playlists.content_row.tolist() == [2, 5, 7]
    assert playlists.curator.tolist() == ["editor", None, "listener"]
    assert playlists.owner_id.tolist() == [None, "eve", "ann"]
    assert np.isnat(playlists.created).tolist() == [True, False, False]
    assert playlists.created[1] == np.datetime64("2026-03-01T12:00", "us")
    assert [playlists.members[place].tolist() for place in range(3)] == [[1, 0, 1], [], [3]]
    assert [playlists.place(row) for row in (-1, 2, 3, 5, 7, 8)] == [-1, 0, -1, 1, 2, -1]


def test_a_part_of_a_table_is_read_as_it_stands():
    table = pa.concat_tables([pa.Table.from_pylist([row], PLAYLIST_COLUMNS) for row in ROWS]).slice(1)
    playlists = Playlists(table)
    assert playlists.members.offsets.tolist() == [0, 0, 1]
    assert playlists.members[1].tolist() == [3]


def test_an_export_without_them_has_none(export):
    assert len(export.playlists) == len(export.playlists.members) == 0
    assert export.playlists.place(1) == -1
    assert export.playlists.curator.tolist() == export.playlists.created.tolist() == []


def test_an_export_with_them_maps_them(export):
    write_arrow(export.folder / PLAYLISTS, pa.Table.from_pylist(ROWS[:1], PLAYLIST_COLUMNS))
    assert export.playlists.members[0].tolist() == [1, 0, 1]


def test_sessions_and_devices_of_older_exports_are_unknown(export):
    assert [export.sessions(row).tolist() for row in (0, 1)] == [[-1, -1, -1], []]
    assert [export.devices(row).tolist() for row in (0, 1)] == [[0, 0, 0], []]
