"""Exports for the service: the golden one, with its user tower, and a small one written by hand."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.retrieval.small_export import content, small_export
from towers.contract import schema
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.store import write_arrow
from towers.retrieval.export import Export
from towers.retrieval.files import PLAYLISTS
from towers.service.app import create_app
from towers.service.audio import AudioFolder
from towers.service.limits import Limits
from towers.service.live import Live
from towers.service.snapshot import Snapshot

GOLDEN = Path(__file__).parent.parent / "golden" / "format-1" / "export"
NEWEST = Path(__file__).parent.parent / "golden" / "format-3" / "export"
LIMITS = Limits(
    max_k=50, max_history=100, max_ids=20, max_text=30, max_body_bytes=20_000, max_map=1_000,
    max_members=5, max_seeds=10, max_pool=20, max_quotas=3,
)  # fmt: skip

ANGLES = np.deg2rad([0, 10, 20, 30, 40, 50])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
CONTENTS = [
    content("t0", title="Ágætis byrjun", artist_ids=["a"]),
    content("t1", title="Ágætis, again", artist_ids=["a"]),
    content("t/2", title="<b>Bold</b>"),
    content("e0", "episode", "An episode", ["b"]),
    content("a", "artist", "Sigur Rós", ["a"]),
    content("t3"),
]
CHOSEN = {"u0": [0], "u1": [1, 0], "nobody": []}


def app_of(folder: Path, audio_root: Path | None = None, watch_s: float = 60.0) -> FastAPI:
    """Returns the application over a folder."""
    audio = AudioFolder(audio_root)
    return create_app(lambda: Live(folder, lambda found: Snapshot.open(found, audio), watch_s), LIMITS, 4)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return small_export(tmp_path_factory.mktemp("small") / "v1", CONTENTS, VECTORS, CHOSEN)


@pytest.fixture(scope="module")
def client(small: Export) -> Iterator[TestClient]:
    """A client of the small export."""
    with TestClient(app_of(small.folder)) as asking:
        yield asking


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A copy of the golden export, as the tests' own folder is only read."""
    folder = tmp_path_factory.mktemp("golden") / "export"
    shutil.copytree(GOLDEN, folder)
    return Export(folder)


@pytest.fixture(scope="module")
def golden_client(golden: Export) -> Iterator[TestClient]:
    with TestClient(app_of(golden.folder)) as asking:
        yield asking


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A copy of the golden export with a content tower and chances of a listen, and the pieces of two playlists: of an
    editor, and of a listener."""
    folder = tmp_path_factory.mktemp("newest") / "export"
    shutil.copytree(NEWEST, folder)
    export = Export(folder, check_files=False)
    of_kind = [np.flatnonzero(export.kinds == schema.KINDS.index(kind)).tolist() for kind in ("track", "playlist")]
    made = [
        {"content_row": row, "curator": curator, "owner_id": None, "created": None, "member_rows": of_kind[0][:some]}
        for row, curator, some in zip(of_kind[1], ("editor", "listener"), (12, 8), strict=False)
    ]
    write_arrow(folder / PLAYLISTS, pa.Table.from_pylist(made, PLAYLIST_COLUMNS))
    return export


@pytest.fixture(scope="module")
def newest_client(newest: Export) -> Iterator[TestClient]:
    with TestClient(app_of(newest.folder)) as asking:
        yield asking


@pytest.fixture
def make_version(tmp_path: Path) -> Callable[..., Export]:
    """Writes versions beside one another, which differ in their titles."""

    def make(name: str) -> Export:
        named = [{**row, "title": f"{row['title']} of {name}"} for row in CONTENTS]
        return small_export(tmp_path / "exports" / name, named, VECTORS, CHOSEN)

    return make
