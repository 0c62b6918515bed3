"""`towers export refresh=true`: data since the training is served by the unchanged network."""

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import EXPORT, SMALL_WORLD, ok, run_of
from towers.assembly.run import load_run
from towers.data.store import Store
from towers.retrieval.export import Export

pytestmark = pytest.mark.unhooked


@pytest.fixture(scope="module")
def refreshed(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Export, Export, str]:
    """Returns the demo's export, one refreshed a day later, and the id of a content that was not heard in training.

    Since then a listener has come who heard two contents, and a content that equals, except for its id, one that was
    never heard.
    """
    folder = tmp_path_factory.mktemp("refreshed")
    shutil.copytree(demo[0] / "stores", folder / "stores", symlinks=True)
    root = demo[0] / "worlds" / "world-0"
    shutil.copytree(root, folder / "world")
    (store,) = (Store.open(path) for path in (folder / "stores").iterdir())
    is_track = np.array(store.contents["kind"].to_pylist()) == "track"
    row = np.flatnonzero(is_track & (store.contents["train_events"].to_numpy() == 0) & (store.audio_rows >= 0))[0]
    twin = store.content_ids[row]

    events = pq.read_table(folder / "world" / "events" / "part-0.parquet")
    last = max(events["timestamp"].to_pylist())
    heard = [content_id for content_id in events["content_id"].to_pylist() if content_id][:2]
    times = [last + timedelta(hours=hours) for hours in (1, 2)]
    plays = {"user_id": "new-listener", "action": "play"}
    rows = [{**plays, "content_id": each, "timestamp": time} for each, time in zip(heard, times, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows, schema=events.schema), folder / "world" / "events" / "part-1.parquet")
    contents = pq.read_table(folder / "world" / "contents" / "part-0.parquet")
    (found,) = contents.filter(pa.compute.equal(contents["content_id"], twin)).to_pylist()
    added = pa.Table.from_pylist([{**found, "content_id": "new-content"}], schema=contents.schema)
    pq.write_table(added, folder / "world" / "contents" / "part-1.parquet")

    (name,) = (path.name for path in (folder / "stores").iterdir())
    ok(folder, "prepare", "data=parquet", f"data.name={name}", "data.root=world",
       *(key for key in SMALL_WORLD if key.startswith("features.")))  # fmt: skip
    run, served = demo[0] / run_of(demo[0]), demo[0] / "exports" / "current"
    told = ok(folder, "export", "refresh=true", f"checkpoint={run}", *EXPORT, f"export.align_to={served}")
    assert "current points to it" in told
    return Export(served), Export(folder / "exports" / "current"), twin


def test_who_came_since_is_served(refreshed: tuple[Export, Export, str]) -> None:
    before, after, _ = refreshed
    assert set(after.user_ids) - set(before.user_ids) == {"new-listener"}
    vector = after.user_vectors[after.user_row("new-listener")]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_everything_else_stands_where_it_stood(refreshed: tuple[Export, Export, str]) -> None:
    before, after, _ = refreshed
    assert after.manifest["space_id"] == before.manifest["space_id"]
    # An artist is the mean of their contents, of which there is a new one.
    is_own = np.array(before.contents["kind"].to_pylist()) != "artist"
    rows = [after.content_row(content_id) for content_id in before.content_ids]
    np.testing.assert_allclose(after.vectors[rows][is_own], before.vectors[is_own], atol=1e-5)
    rows = [after.user_row(user_id) for user_id in before.user_ids]
    np.testing.assert_allclose(after.user_vectors[rows], before.user_vectors, atol=1e-5)


def test_a_new_content_stands_where_its_sound_and_metadata_put_it(refreshed: tuple[Export, Export, str]) -> None:
    _, after, twin = refreshed
    own, other = (after.vectors[after.content_row(content_id)] for content_id in ("new-content", twin))
    np.testing.assert_allclose(own, other, atol=1e-5)
    assert after.contents["train_positives"][after.content_row("new-content")].as_py() == 0


def test_the_manifest_says_what_was_trained_on(refreshed: tuple[Export, Export, str]) -> None:
    before, after, _ = refreshed
    for name in ("weights", "trained_until_us", "validation_start_us"):
        assert after.manifest[name] == before.manifest[name]
    assert after.manifest["window"]["end"] > before.manifest["window"]["end"]


def test_where_nothing_came_since_it_is_the_same_export(demo: tuple[Path, str]) -> None:
    run = load_run(demo[0] / run_of(demo[0]), demo[0] / "stores", is_refreshed=True)
    assert run.store is run.trained_on
