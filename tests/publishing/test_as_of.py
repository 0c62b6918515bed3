"""An export as of a time equals the export of data that ends there: no file has anything later."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.publishing.listening import BEFORE, CONTENTS_OF_A_TASTE, LISTENERS, START, TASTES
from tests.publishing.trained_by_taste import SETTINGS, TrainedByTaste, write
from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.data.store import Store
from towers.features.content_facts import RECENT_DAYS
from towers.publishing.describing import version_of
from towers.retrieval import files
from towers.retrieval.export import Export
from towers.retrieval.verify import problems

pytestmark = [pytest.mark.unhooked, pytest.mark.usefixtures("graphs_traced_once")]
TRAINING, VALIDATION, TEST = (START + timedelta(days=days) for days in (0, 20, 30))
AS_OF = TEST + timedelta(days=1, hours=2)
NAMES = [f"c{taste}-{place:02}" for taste in range(TASTES) for place in range(CONTENTS_OF_A_TASTE)]
PLAYLISTS = [
    {"playlist_id": name, "curator": curator, "owner_id": owner, "created": created, "content_ids": members}
    for name, curator, owner, created, members in [
        ("p1-early", "editor", None, VALIDATION, NAMES[30:20:-1]),
        ("p2-undated", None, "u03", None, NAMES[50:53]),
        ("p3-late", None, "u04", AS_OF + timedelta(days=1), NAMES[75:79]),
    ]
]


def events() -> list[dict]:
    """Writes twelve contents of each listener's taste in training, six in validation, six over the days of the test."""
    draws = np.random.default_rng(0)
    rows = []
    for listener in range(LISTENERS):
        own = [f"c{listener % TASTES}-{place:02}" for place in draws.permutation(CONTENTS_OF_A_TASTE)[:BEFORE]]
        starts = np.repeat([TRAINING, VALIDATION, TEST], [12, 6, 6])
        hours = [*range(12), *range(6), *range(0, 144, 24)]
        for place, (name, start, hour) in enumerate(zip(own, starts, hours, strict=True)):
            time = start + timedelta(hours=hour, minutes=listener)
            told = {"session_id": f"s{place // 5}", "device": ["phone", "tv", None][place % 3]}
            rows.append({"user_id": f"u{listener:02}", "content_id": name, "timestamp": time, "action": "play"} | told)
    return rows


def prepared(folder: Path, make_builder, features, until: datetime | None = None) -> Store:
    """Returns the store of the data, or of the part before a time."""
    kept = [row for row in events() if until is None or row["timestamp"] < until]
    made = [row for row in PLAYLISTS if until is None or row["created"] is None or row["created"] < until]
    listed = [{"content_id": name, "kind": "track", "release_date": START.date()} for name in NAMES]
    listed += [{"content_id": row["playlist_id"], "kind": "playlist"} for row in PLAYLISTS]
    for table, rows in (("events", kept), ("playlists", made), ("contents", listed)):
        (folder / "raw" / table).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "raw" / table / "part-0.parquet")
    return make_builder(folder / "raw", folder / "stores", features=replace(features, user_columns=())).build()[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, make_builder, feature_settings) -> Store:
    return prepared(tmp_path_factory.mktemp("whole"), make_builder, feature_settings)


@pytest.fixture(scope="module")
def cut(whole, tmp_path_factory) -> Export:
    return exported(tmp_path_factory.mktemp("cut") / "v1", whole.until(microseconds_of(AS_OF)))


@pytest.fixture(scope="module")
def ended(tmp_path_factory, make_builder, feature_settings) -> Export:
    """The export of data from which everything later was deleted."""
    store = prepared(tmp_path_factory.mktemp("ended"), make_builder, feature_settings, AS_OF)
    return exported(tmp_path_factory.mktemp("export") / "v1", store.until(microseconds_of(AS_OF)))


def exported(folder: Path, store: Store) -> Export:
    network = TrainedByTaste(store)
    return Export(write(folder, network.trained(judged=network)))


def test_it_is_the_export_of_data_that_ends_there(cut, ended, whole):
    """The files are equal except for the space's name, which follows from the store's."""
    assert len(ended.facts.recent_positives) == len(whole.content_ids)
    arrays = [str(path.relative_to(cut.folder)) for path in sorted(cut.folder.rglob("*.npy"))]
    assert {files.USER_VECTORS, files.CONTENT_VECTORS, f"{files.HISTORIES}/{files.HISTORY_OFFSETS}"} <= {*arrays}
    for name in arrays:
        np.testing.assert_array_equal(np.load(cut.folder / name), np.load(ended.folder / name), err_msg=name)
    tables = sorted(path.relative_to(cut.folder) for path in cut.folder.rglob("*.arrow"))
    assert len(tables) == 4
    for name in tables:
        one, other = (files.mapped_table(export.folder / name) for export in (cut, ended))
        assert one.equals(other), name
    texts = sorted(path.relative_to(cut.folder) for path in cut.folder.rglob("*.json"))
    assert cut.space_id != ended.space_id
    for name in (name for name in texts if str(name) != files.MANIFEST):
        one, other = ((export.folder / name).read_text().replace(export.space_id, "") for export in (cut, ended))
        assert one == other, name
    vocabularies = sorted(path.relative_to(cut.folder) for path in (cut.folder / files.VOCABULARIES).iterdir())
    for name in vocabularies:
        assert (cut.folder / name).read_bytes() == (ended.folder / name).read_bytes(), name
    assert cut.manifest["window"] == ended.manifest["window"]
    assert cut.manifest["counts"] == ended.manifest["counts"]


def test_nothing_later_is_in_any_file(cut, whole):
    as_of_us = microseconds_of(AS_OF)
    heard = files.mapped_table(cut.folder / files.HISTORIES / files.HISTORY_EVENTS)
    assert heard["timestamp_us"].to_numpy().max() < as_of_us
    assert len(heard) == (np.asarray(whole.histories.timestamp_us) < as_of_us).sum() < len(whole.histories.action)
    assert max(time for time in cut.users["as_of"].to_pylist() if time is not None) < AS_OF
    assert cut.until_us == as_of_us
    assert cut.last_day == AS_OF.date()
    ids = cut.content_ids
    assert [ids[row] for row in cut.playlists.content_row.tolist()] == ["p1-early", "p2-undated"]
    is_recent = (heard["timestamp_us"].to_numpy() >= as_of_us - RECENT_DAYS * DAY_US) & heard["is_positive"].to_numpy()
    expected = np.bincount(heard["content_row"].to_numpy()[is_recent], minlength=len(ids))
    np.testing.assert_array_equal(cut.facts.recent_positives, expected)


def test_it_is_whole(cut):
    assert not list(problems(cut, 0.9))
    assert cut.manifest["as_of_us"] == microseconds_of(AS_OF)
    card = (cut.folder / files.MODEL_CARD).read_text()
    assert f"Made as of {AS_OF.isoformat()}: no events, playlists or figures from then on." in card


@pytest.mark.slow
def test_without_a_day_of_the_test_there_is_nothing_to_judge_by(whole, tmp_path):
    export = exported(tmp_path / "v1", whole.until(microseconds_of(TEST)))
    assert not list(problems(export, 0.9))
    assert export.manifest["space"]["recall@20 by dimension"] == {}
    assert export.listen_chance is not None
    assert export.listen_chance.window == {"days": 10.0}
    earlier = exported(tmp_path / "v2", whole.until(microseconds_of(VALIDATION)))
    assert earlier.listen_chance is None
    assert "no listener chooses anything in the validation period" in earlier.manifest["listen_chance"]["reason"]


def test_another_time_is_another_version(whole, tmp_path):
    times = [TEST, AS_OF, AS_OF + timedelta(seconds=1), datetime(2026, 6, 1, tzinfo=UTC)]
    stores = [whole, *(whole.until(microseconds_of(time)) for time in times)]
    sources = [TrainedByTaste(store).trained().source(SETTINGS) for store in stores]
    assert len({*sources}) == len(stores)
    names = [version_of(store, source, tmp_path) for store, source in zip(stores, sources, strict=True)]
    assert [name[:12] for name in names[1:]] == ["20260204-001", "20260205-001", "20260205-001", "20260601-001"]


def test_sessions_devices_and_playlists_come_along(cut, whole):
    row = cut.user_row("u05")
    assert cut.sessions(row).tolist() == [place // 5 * 5 for place in range(20)]
    codes = cut.vocabulary("device").encode([["phone", "tv", None][place % 3] for place in range(20)])
    assert cut.devices(row).tolist() == codes.tolist()
    playlists = cut.playlists
    assert playlists.curator.tolist() == ["editor", None]
    assert playlists.owner_id.tolist() == [None, "u03"]
    assert playlists.created.tolist() == [VALIDATION.replace(tzinfo=None), None]
    assert [cut.content_ids[row] for row in playlists.members[0].tolist()] == NAMES[30:20:-1]
    assert playlists.place(cut.content_row("p2-undated")) == 1
    assert playlists.place(cut.content_row("p3-late")) == -1
    assert playlists.place(cut.content_row(NAMES[0])) == -1
