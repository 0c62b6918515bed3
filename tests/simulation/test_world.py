import datetime as dt
import inspect
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract import schema
from towers.errors import UserError
from towers.simulation.world import World

DEMO = Path(__file__).parents[2] / "configs/world/demo.yaml"
SMALL = {
    "seed": 0,
    "num_tracks": 34,
    "num_episodes": 6,
    "num_listeners": 30,
    "num_days": 60,
    "evaluation_days": 10,
    "start_date": "2026-01-05",
    "events_per_listener": 60.0,
    "new_release_share": 0.3,
    "genre_missing_share": 0.3,
    "clip_duration_s": 2.0,
    "sample_rate": 16_000,
}
# Enough listeners for shares to be steady; it is never written, so its sound costs nothing.
MIDDLE = {**SMALL, "num_tracks": 200, "num_episodes": 30, "num_listeners": 150}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "demo"
    World(**SMALL).write(folder)
    return folder


@pytest.fixture(scope="module")
def middle():
    return World(**MIDDLE)


@pytest.fixture(scope="module")
def tables(middle):
    return middle.tables()


@pytest.fixture(scope="module")
def listens(tables):
    """Returns plays and skips, as columns, in time order."""
    events = tables["events"]
    return events.filter(pc.is_in(events["action"], pa.array(["play", "skip"]))).to_pydict()


def test_folder_holds_the_raw_contract(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([*schema.TABLES, "audio", "world.json"])
    events = pq.read_schema(folder / "events/part-0.parquet")
    assert events.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    assert events.names == [
        "user_id", "content_id", "timestamp", "action", "played_ms", "context", "session_id", "device",
    ]  # fmt: skip
    contents = pq.read_schema(folder / "contents/part-0.parquet")
    assert contents.names == [
        "content_id", "kind", "title", "artist_ids", "album_id", "genres", "language", "release_date",
        "duration_ms", "explicit", "audio",
    ]  # fmt: skip
    assert contents.field("release_date").type == pa.date32()
    assert contents.field("genres").type == pa.list_(pa.string())
    users = pq.read_schema(folder / "users/part-0.parquet")
    assert users.names == ["user_id", "country", "age_band", "deleted"]
    assert users.field("deleted").type == pa.bool_()
    playlists = pq.read_schema(folder / "playlists/part-0.parquet")
    assert playlists.names == ["playlist_id", "title", "curator", "owner_id", "content_ids"]


def test_description_names_seed_and_cuts_and_hides_tastes(folder):
    description = json.loads((folder / "world.json").read_text())
    assert description["parameters"] == SMALL
    assert description["t1"] == "2026-02-14T00:00:00+00:00"
    assert description["t2"] == "2026-02-24T00:00:00+00:00"
    assert set(description) == {"note", "parameters", "t1", "t2"}


def test_every_piece_has_sound_and_artists_have_none(folder):
    contents = pq.read_table(folder / "contents/part-0.parquet").to_pylist()
    for content in contents:
        if content["kind"] == "artist":
            assert content["audio"] is None
            continue
        sound, sample_rate = soundfile.read(folder / content["audio"])
        assert sample_rate == SMALL["sample_rate"]
        assert sound.shape == (SMALL["clip_duration_s"] * SMALL["sample_rate"],)
        assert np.isfinite(sound).all()
        assert 0.5 < np.abs(sound).max() < 0.99
    assert len(list((folder / "audio").iterdir())) == SMALL["num_tracks"] + SMALL["num_episodes"]


def test_same_seed_gives_same_bytes_and_another_seed_another_world(folder, tmp_path):
    World(**SMALL).write(tmp_path / "again")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(schema.TABLES) + 1 + SMALL["num_tracks"] + SMALL["num_episodes"]
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    other = World(**{**SMALL, "seed": 1}).tables()
    for name, table in World(**SMALL).tables().items():
        assert not table.equals(other[name])


def test_writing_again_changes_nothing_and_another_world_is_refused(folder):
    before = (folder / "world.json").stat().st_mtime_ns
    World(**SMALL).write(folder)
    assert (folder / "world.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="does not hold this world"):
        World(**{**SMALL, "seed": 1}).write(folder)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(soundfile, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        World(**SMALL).write(tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    num_tracks=st.integers(10, 40),
    num_episodes=st.integers(0, 8),
    num_listeners=st.integers(2, 12),
    evaluation_days=st.integers(1, 5),
    new_release_share=st.floats(0.0, 1.0),
)
def test_contract_holds_for_any_small_world(evaluation_days, **sizes):
    arguments = {**SMALL, **sizes, "num_days": 3 * evaluation_days + 6, "evaluation_days": evaluation_days}
    world = World(**{**arguments, "events_per_listener": 20.0})
    assert_contract(world, world.tables())


def test_contract_holds_for_the_middle_world(middle, tables):
    assert_contract(middle, tables)


def assert_contract(world, tables):
    events, contents, users, playlists = (tables[name].to_pylist() for name in schema.TABLES)
    content_of = {content["content_id"]: content for content in contents}
    playable = {key for key, content in content_of.items() if content["kind"] in schema.PLAYABLE_KINDS}
    artists = {key for key, content in content_of.items() if content["kind"] == "artist"}
    user_ids = {user["user_id"] for user in users}
    assert len(content_of) == len(contents)
    assert len(user_ids) == len(users)
    assert len({content["title"] for content in contents}) == len(contents)
    for content in contents:
        assert set(content["artist_ids"]) <= artists
        assert content["kind"] in schema.KINDS
    end = world.t2 + dt.timedelta(days=world.parameters["evaluation_days"])
    last = {}
    for event in events:
        assert event["user_id"] in user_ids
        assert event["action"] in schema.ACTIONS
        assert (event["content_id"] is None) == (event["action"] in schema.ACTIONS_WITHOUT_CONTENT)
        assert world.start <= event["timestamp"] < end
        assert event["timestamp"] >= last.get(event["user_id"], world.start)
        last[event["user_id"]] = event["timestamp"]
        if event["content_id"] is not None:
            assert event["content_id"] in playable
            assert event["timestamp"].date() >= content_of[event["content_id"]]["release_date"]
        if event["played_ms"] is not None:
            assert 0 <= event["played_ms"] <= content_of[event["content_id"]]["duration_ms"]
    for playlist in playlists:
        assert set(playlist["content_ids"]) <= playable
        assert len(set(playlist["content_ids"])) == len(playlist["content_ids"])
        assert playlist["curator"] == ("listener" if playlist["owner_id"] in user_ids else "editor")
        # A snapshot as of t1: what comes later must not leak from it.
        assert all(content_of[key]["release_date"] < world.t1.date() for key in playlist["content_ids"])


def test_shares_of_events(middle, tables):
    actions = tables["events"]["action"].to_pylist()
    share = {action: actions.count(action) / len(actions) for action in set(actions)}
    assert len(actions) == pytest.approx(150 * 60, rel=0.15)
    assert 0.02 < share["search"] + share["browse"] < 0.10
    assert 0.02 < share["like"] < 0.10
    assert 0.01 < share["save"] < 0.08
    assert 0.0 < share["dislike"] < 0.02


def test_share_of_skips(listens):
    assert 0.30 < np.mean(np.array(listens["action"]) == "skip") < 0.45


def test_share_of_repeats(listens):
    heard, repeats, plays = set(), 0, 0
    for user_id, content_id, action in zip(listens["user_id"], listens["content_id"], listens["action"], strict=True):
        if action == "play":
            plays += 1
            repeats += (user_id, content_id) in heard
            heard.add((user_id, content_id))
    assert 0.30 < repeats / plays < 0.50


def test_popularity_has_a_long_tail(listens):
    counts = np.unique(listens["content_id"], return_counts=True)[1]
    num_top = (MIDDLE["num_tracks"] + MIDDLE["num_episodes"]) // 10
    assert np.sort(counts)[-num_top:].sum() > 0.25 * counts.sum()


def test_some_contents_are_released_after_t1(middle, tables):
    contents = tables["contents"].to_pylist()
    dates = [content["release_date"] for content in contents if content["kind"] != "artist"]
    assert np.mean([date >= middle.start.date() for date in dates]) == pytest.approx(0.3, abs=0.1)
    assert sum(date >= middle.t1.date() for date in dates) >= 5


def test_metadata_is_incomplete_and_somebody_is_deleted(tables):
    contents = [content for content in tables["contents"].to_pylist() if content["kind"] != "artist"]
    assert np.mean([content["genres"] is None for content in contents]) == pytest.approx(0.3, abs=0.1)
    assert all((content["language"] is not None) == (content["kind"] == "episode") for content in contents)
    assert not all(content["title"].isascii() for content in contents)
    assert pc.sum(tables["users"]["deleted"]).as_py() == 1


def test_listeners_play_what_matches_their_hidden_tastes(middle, listens):
    truth = middle.truth(middle.t1)
    assert truth.affinity.shape == (150, 230)
    percentiles = truth.affinity.argsort(axis=1).argsort(axis=1) / (truth.affinity.shape[1] - 1)
    row_of = {user_id: row for row, user_id in enumerate(truth.user_ids)}
    column_of = {content_id: column for column, content_id in enumerate(truth.content_ids)}
    users = np.array([row_of[user_id] for user_id in listens["user_id"]])
    contents = np.array([column_of[content_id] for content_id in listens["content_id"]])
    is_play = np.array(listens["action"]) == "play"
    heard = percentiles[users, contents]
    assert heard[is_play].mean() > 0.75
    assert heard[is_play].mean() > heard[~is_play].mean()


def test_tastes_drift_slowly(middle):
    def top(time):
        return np.argsort(-middle.truth(time).affinity, axis=1)[:, :20]

    begin, near, end = (top(middle.start + dt.timedelta(days=days)) for days in (0, 5, 60))
    kept_near, kept_end = (
        np.mean([len(np.intersect1d(*rows)) / 20 for rows in zip(begin, later, strict=True)]) for later in (near, end)
    )
    assert kept_near > 0.9
    assert 0.5 < kept_end < kept_near


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("seed", -1),
        ("num_tracks", 9),
        ("num_episodes", -1),
        ("num_listeners", 1),
        ("num_days", 7),
        ("evaluation_days", 0),
        ("evaluation_days", 21),
        ("start_date", "yesterday"),
        ("events_per_listener", 0.0),
        ("new_release_share", 1.1),
        ("genre_missing_share", -0.1),
        ("clip_duration_s", float("nan")),
        ("sample_rate", 4000),
    ],
)
def test_nonsense_is_refused_by_name(keyword, value):
    with pytest.raises(UserError, match=keyword):
        World(**{**SMALL, keyword: value})


def test_demo_config_lists_every_keyword():
    config = yaml.safe_load(DEMO.read_text())
    assert config.pop("_target_") == "towers.simulation.world.World"
    assert list(config) == list(inspect.signature(World).parameters)
    World(**config)
