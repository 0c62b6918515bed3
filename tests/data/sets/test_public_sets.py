"""Every public set, from lines in its own form to the raw contract and to a store."""

import os
import shutil
from copy import deepcopy
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_dir

from tests.command_line import ok
from tests.data.read_back import histories_by_id
from tests.data.sets import small
from towers.config.composing import compose as compose_command
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.data.raw import columns_of
from towers.data.sources.sets.public_set import DONE
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.errors import UserError
from towers.features.settings import FeatureSettings, SpectrogramSettings
from towers.manifest import digest_of_file

ODD = {"lastfm1k_tsv": 6, "movielens_1m": 1, "movielens_20m": 1, "lfm_2b": 1, "thirtymusic_idomaar": 1, "yambda": 0,
       "music4all_onion": 1, "million_playlist": 0, "nowplaying_rs": 0, "kuairand": 1}  # fmt: skip
"""Number of lines in each small set that are no rows."""
FEATURES = FeatureSettings(
    min_played_fraction=0.5, content_parts=("kind", "artist_ids"), user_columns=(), spectrogram=SpectrogramSettings()
)
IN_SHORT = ("lastfm1k_tsv", "million_playlist", "kuairand")
"""Sets whose stores are made in every run of the tests: a plain one, one without a clock, one with impressions."""
SETTINGS = {"split": LeaveOneOut(), "features": FEATURES, "max_rejected_fraction": 0.6}
"""Settings of all stores in this file."""


@cache
def composed(name, *overrides):
    """Composes the group `data` alone, which is half of the work of a whole command."""
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(None, overrides=[f"+data={name}", "data.root=ROOT", *overrides])


def source(name, root, *overrides):
    """Returns the source that a command line gives."""
    config = deepcopy(composed(name, *overrides))
    config.data.root = str(root)
    return instantiate(config.data.source, "data.source")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Converts a small set, once; returns the rows, after a check of the columns."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        (folder / "set").mkdir()
        small.WRITERS[name](folder / "set")
        tables = kept(source(name, folder / "set"), folder / "converted", told=[])
        for table in tables.files:
            assert columns_of(tables, table)
        return rows_of(tables)

    return make


def kept(found, folder, told):
    """Returns the tables that are kept in a folder; stages of a conversion are added to `told`."""
    root, paths = found.inputs()
    digests = {str(path.relative_to(root)): digest_of_file(path) for path in paths}
    return found.kept_tables(folder, digests, None, lambda stage, *_: told.append(stage))


def rows_of(tables):
    rows = {table: pq.read_table(paths[0]).to_pylist() for table, paths in tables.files.items()}
    rows["lines"] = [(Path(row["filename"]).name, row["line"], row["reason"])
                     for row in pq.read_table(tables.lines.path).to_pylist()]  # fmt: skip
    vectors = tables.root.parent / "vectors.parquet"
    rows["vectors"] = pq.read_table(vectors).to_pylist() if vectors.exists() else []
    rows["remarks"] = tables.remarks
    return rows


def at(*moment):
    return datetime(*moment, tzinfo=UTC)


def by_id(rows, name="content_id"):
    return {row[name]: {key: value for key, value in row.items() if key != name} for row in rows}


def events(rows, *names):
    return [tuple(row[name] for name in ("user_id", "content_id", "timestamp", *names)) for row in rows["events"]]


class TestOfEachSet:
    def test_lastfm1k_tsv(self, made):
        rows = made("lastfm1k_tsv")
        known, flashdance = f"track-{small.TRACK}", "track-Deep Dish / Flashdance"
        said, sigur = 'track-AC//DC / He said "Go" // and went', "track-Sigur Rós / Hoppípolla"
        assert events(rows) == [
            ("user_000001", known, at(2009, 5, 4, 23, 8, 57)), ("user_000001", said, at(2009, 5, 4, 13, 54, 10)),
            ("user_000001", flashdance, at(2009, 5, 4, 13, 52, 4)), ("user_000002", known, at(2009, 5, 2, 10)),
            ("user_000001", sigur, at(2009, 5, 1, 9)),
        ]  # fmt: skip
        contents = by_id(rows["contents"])
        assert contents[said] == {"kind": "track", "title": 'He said "Go" / and went', "artist_ids": ["artist-AC//DC"]}
        assert contents[flashdance]["artist_ids"] == contents[known]["artist_ids"] == [f"artist-{small.MBID}"]
        assert contents["artist-AC//DC"] == {"kind": "artist", "title": "AC/DC", "artist_ids": None}
        assert by_id(rows["users"], "user_id")["user_000002"] == {
            "gender": "f", "age": 23, "country": "Peru", "registered": date(2006, 2, 24),
        }  # fmt: skip
        assert {(line, reason) for _, line, reason in rows["lines"]} == {
            (4, "5 fields where 6 are wanted"), (5, "2 fields where 6 are wanted"), (6, "after the set was collected"),
            (7, "no time"), (8, "not UTF-8 (invalid start byte)"), (10, "no track"),
        }  # fmt: skip

    def test_movielens_1m(self, made):
        rows = made("movielens_1m")
        assert events(rows, "action")[0] == ("1", "1193", at(2000, 12, 31, 22, 12, 40), "play")
        assert {row[-1] for row in events(rows, "action")} == {"play"}
        assert by_id(rows["contents"])["73"] == {
            "title": "Misérables, Les (1995)", "genres": ["Drama", "Musical"], "release_date": date(1995, 1, 1),
        }  # fmt: skip
        assert rows["users"][1] == {"user_id": "2", "gender": "M", "age": 56, "occupation": "16", "zip": "70072"}
        assert rows["lines"] == [("ratings.dat", 5, "3 fields where 4 are wanted")]

    def test_movielens_20m(self, made):
        rows = made("movielens_20m")
        assert [row[1] for row in events(rows, "action")] == ["2", "29", "2", "29", "47"]
        contents = by_id(rows["contents"])
        assert contents["29"]["title"] == "City of Lost Children, The (Cité des enfants perdus, La) (1995)"
        assert contents["47"] == {"title": "Babylon 5", "genres": None, "release_date": None}
        assert "users" not in rows
        assert rows["lines"] == [("ratings.csv", 6, "no rating")]

    def test_movielens_32m(self, small_set, tmp_path):
        found = source("movielens_32m", small_set("movielens_20m"), "data.source.options.min_rating=1")
        rows = rows_of(found.tables(tmp_path))
        assert [row[-1] for row in events(rows, "action")] == ["play", "play", "play", "skip", "play"]

    def test_lfm_2b(self, made):
        rows = made("lfm_2b")
        assert events(rows) == [
            ("2", "7", at(2019, 3, 1, 0, 0, 1)), ("2", "8", at(2019, 3, 1, 0, 4, 1)),
            ("31435741", "7", at(2020, 3, 19, 23, 59, 59)), ("31435741", "9", at(2020, 3, 20)),
        ]  # fmt: skip
        contents = by_id(rows["contents"])
        assert contents["7"] == {
            "kind": "track", "title": "Destroyer", "artist_ids": ["artist-Helstar"], "album_id": "album-100",
        }  # fmt: skip
        assert contents["8"]["title"] == 'A "Quoted" One'
        assert contents["9"]["title"] is contents["9"]["artist_ids"] is contents["9"]["album_id"] is None
        assert by_id(rows["users"], "user_id")["2"] == {
            "gender": "m", "age": 35, "country": "UK", "registered": date(2002, 10, 29),
        }  # fmt: skip
        assert rows["lines"] == [("listening-events.tsv.bz2", 5, "no time")]

    def test_thirtymusic(self, made):
        rows = made("thirtymusic_idomaar")
        assert events(rows, "action", "played_ms", "session_id") == [
            ("44361", "track-4698874", at(2014, 1, 20, 15, 17, 31), "play", 495_000, "287144"),
            ("44361", "track-838286", at(2014, 1, 20, 15, 25, 46), "skip", 5_000, "287144"),
            ("40305", "track-838286", at(2014, 1, 20, 15, 33, 20), "play", None, "287145"),
            ("40305", "track-4698874", at(2014, 3, 8, 12, 6, 14), "like", None, None),
        ]
        contents = by_id(rows["contents"])
        assert contents["track-4698874"] == {
            "kind": "track", "title": "Starálfur (Live)", "artist_ids": ["artist-77"], "album_id": "album-5",
            "genres": ["ambient", "post-rock"], "duration_ms": 505_000,
        }  # fmt: skip
        assert contents["track-838286"]["title"] == "000 music box/ Nora"
        assert contents["track-838286"]["duration_ms"] is None
        assert contents["artist-77"]["title"] == "Sigur Rós"
        assert by_id(rows["users"], "user_id")["44361"] == {
            "gender": "f", "age": 24, "country": "US", "subscriber": "base", "registered": date(2005, 5, 21),
        }  # fmt: skip
        playlists = by_id(rows["playlists"], "playlist_id")
        assert playlists["playlist-3"]["content_ids"] == ["track-838286", "track-4698874"]
        assert playlists["playlist-3"]["title"] == "my favorite songs"
        assert playlists["playlist-4"]["content_ids"] == []
        assert rows["lines"] == [("sessions.idomaar", 3, "no JSON of links")]

    def test_yambda(self, made):
        rows = made("yambda")
        assert events(rows, "action", "played_ms", "context") == [
            ("100", "8326270", at(2000, 1, 1, 10, 57), "play", 161_500, "recommended"),
            ("100", "1441281", at(2000, 1, 1, 10, 57), "play", 51_450, "recommended"),
            ("100", "286361", at(2000, 1, 1, 11, 6, 40), "play", 92_500, "organic"),
            ("100", "286361", at(2000, 1, 1, 11, 6, 45), "like", None, "organic"),
            ("200", "8326270", at(2000, 1, 2), "play", 204_000, "organic"),
            ("200", "1441281", at(2000, 1, 2, 0, 0, 5), "unsave", None, "organic"),
        ]
        assert by_id(rows["contents"])["8326270"] == {
            "kind": "track", "artist_ids": ["artist-3", "artist-9"], "album_id": "album-11", "duration_ms": 170_000,
        }  # fmt: skip
        assert by_id(rows["contents"])["1441281"]["artist_ids"] is None
        assert {row["content_id"]: row["vector"] for row in rows["vectors"]} == {
            "8326270": [1.0, 0.0], "286361": pytest.approx([0.6, 0.8]),
        }  # fmt: skip
        assert rows["remarks"][0] == "1 events undislike have no counterpart and are left out"
        assert "audio_encoder.path=" in rows["remarks"][1]

    def test_yambda_by_listener(self, made, tmp_path):
        (tmp_path / "set").mkdir()
        small.yambda(tmp_path / "set", is_sequential=True)
        sequential = source("yambda", tmp_path / "set", "data.form=sequential", "data.events=multi_event")
        assert rows_of(sequential.tables(tmp_path))["events"] == made("yambda")["events"]

    def test_yambdas_plays_alone(self, small_set, tmp_path):
        rows = rows_of(source("yambda", small_set("yambda"), "data.events=listens").tables(tmp_path))
        assert {row["action"] for row in rows["events"]} == {"play"}
        assert len(rows["events"]) == 4
        names = {composed("yambda", f"data.events={each}").data.name for each in ("listens", "multi_event")}
        assert names == {"yambda_50m_listens", "yambda_50m_multi_event"}  # neither store takes the other's place

    def test_yambdas_shares_are_what_was_told(self, small_set, tmp_path):
        """A track may be listed with two lengths; half a play of either is one."""
        root = small_set("yambda")
        told = {**small.YAMBDA, "track_length_seconds": pa.array([170, 105, 185, None, 340, None, None], pa.uint32())}
        told["played_ratio_pct"] = pa.array([50, 49, 50, None, 50, None, None], pa.uint16())
        pq.write_table(pa.table(told), root / "flat/50m/multi_event.parquet")
        rows = rows_of(source("yambda", root).tables(tmp_path))
        known = by_id(rows["contents"])
        assert [row["played_ms"] * 100 / known[row["content_id"]]["duration_ms"] for row in rows["events"]
                if row["action"] == "play"] == [50, 49, 50, 50]  # fmt: skip
        assert rows["remarks"][1].startswith("1 tracks are of several lengths and known by the longest")

    def test_yambdas_benchmark_has_no_short_play(self, small_set, tmp_path, make_builder):
        data = compose_command("prepare", ["experiment=yambda_50m", f"data.root={small_set('yambda')}"]).data
        rules = {name: instantiate(data.filters[name], name) for name in data.filters}
        found = instantiate(data.source, "data.source")
        store, _ = make_builder(found, tmp_path / "stores", **SETTINGS, filters=rules).build()
        played = np.load(store.folder / "histories/played_fraction.npy")
        assert sorted(played) == pytest.approx([0.5, 0.95, 1.0])  # and not .49

    def test_music4all_onion(self, made):
        rows = made("music4all_onion")
        assert events(rows)[0] == ("user_007XIjOr", "DaTQ53TUmfP93FSr", at(2019, 2, 20, 12, 28, 36))
        contents = by_id(rows["contents"])
        assert contents["DaTQ53TUmfP93FSr"] == {
            "title": 'So "far"', "artist_ids": ["artist-Mara"], "album_id": "album-Mara / North//South",
            "genres": ["pop rock", "rock"], "language": "en", "release_date": date(2018, 1, 1), "duration_ms": 242_920,
        }  # fmt: skip
        assert contents["0a2dxrWQJhyKV0fQ"]["genres"] == ["grunge"]
        assert contents["0a2dxrWQJhyKV0fQ"]["language"] is None
        assert rows["lines"] == [("userid_trackid_timestamp.tsv.bz2", 5, "no time")]

    def test_million_playlist(self, made):
        rows = made("million_playlist")
        assert [(row["user_id"], row["content_id"]) for row in rows["events"]] == [
            (f"playlist-{pid}", f"spotify:track:{track}")
            for pid, tracks in ((0, [0, 1, 0]), (1, [2, 1]), (1000, [3, 2, 1, 0]))
            for track in tracks
        ]
        assert by_id(rows["contents"])["spotify:track:3"] == {
            "kind": "track", "title": "Track 3", "artist_ids": ["spotify:artist:1"], "album_id": "spotify:album:3",
            "duration_ms": 200_003,
        }  # fmt: skip
        playlist = by_id(rows["playlists"], "playlist_id")["playlist-0"]
        assert playlist["content_ids"] == ["spotify:track:0", "spotify:track:1", "spotify:track:0"]
        assert (playlist["title"], playlist["curator"]) == ("List 0", "listener")

    def test_nowplaying_rs(self, made):
        rows = made("nowplaying_rs")
        assert [row[:1] + row[2:] for row in events(rows)] == [
            ("81496937", at(2014, 1, 1, 5, 54, 21)), ("81496937", at(2014, 1, 1, 5, 58, 21)),
            ("2205686924", at(2014, 1, 1, 5, 54, 22)),
        ]  # fmt: skip
        contents = by_id(rows["contents"])
        assert contents["da3110a77b724072b08f231c9d6f7534"]["artist_ids"] == ["artist-03c86785ad4ba2d38cf6a5b8ac0a4d4a"]
        assert by_id(rows["users"], "user_id")["81496937"]["time_zone"] == "Central Time (US & Canada)"

    def test_kuairand(self, made):
        rows = made("kuairand")
        assert [(*row[:2], *row[3:]) for row in events(rows, "action", "played_ms", "context")] == [
            ("0", "20", "play", 65_400, "tab-1"), ("0", "20", "like", None, "tab-1"),
            ("0", "10", "skip", 1_405, "tab-1"), ("0", "10", "dislike", None, "tab-1"),
            ("1", "20", "play", 20_000, "tab-4"),
            ("0", "30", "play", 9_000, "random"), ("1", "10", "skip", 0, "random"),
        ]  # fmt: skip
        assert events(rows)[0][2] == at(2022, 4, 16, 12, 26, 16, 17_000)
        assert by_id(rows["contents"])["20"] == {
            "artist_ids": ["artist-456"], "genres": ["tag-2", "tag-11"], "release_date": date(2022, 4, 10),
            "duration_ms": 218_066,
        }  # fmt: skip
        shown = by_id(rows["impressions"], "request_id")
        assert {(row["chosen_id"], row["propensity"], row["clicked"]) for row in shown.values()} == {
            ("30", 0.5, True), ("10", 0.5, False),
        }  # fmt: skip
        assert rows["users"][0]["follow_user_num_range"] == "(0,10]"
        assert rows["lines"] == [("log_standard_4_22_to_5_08_pure.csv", 3, "no time")]


@pytest.mark.parametrize(
    "name", [name if name in IN_SHORT else pytest.param(name, marks=pytest.mark.slow) for name in small.WRITERS]
)
def test_becomes_a_store(name, small_set, made, tmp_path, make_builder):
    store, is_new = make_builder(source(name, small_set(name)), tmp_path / "stores", **SETTINGS).build()
    assert is_new
    rows, counts = made(name), store.manifest["counts"]
    assert counts["rejected_lines"] == sum(store.rejected().get("lines", {}).values()) == ODD[name]
    assert set(store.rejected()) <= {"lines"}
    assert sum(map(len, histories_by_id(store).values())) == len(rows["events"])
    assert counts["impressions"] == len(rows.get("impressions", []))
    assert store.has_clock == (name != "million_playlist")


def test_a_store_that_is_there_converts_nothing(small_set, tmp_path, make_builder):
    root, told = small_set("music4all_onion"), []

    def build():
        told.clear()
        listens = {"on_progress": lambda stage, *_: told.append(stage)}
        return make_builder(source("music4all_onion", root), tmp_path / "stores", **SETTINGS, **listens).build()

    first, is_new = build()
    assert is_new
    assert {"reading", "converting"} <= set(told)
    second, is_new = build()
    assert not is_new
    assert not {"reading", "converting"} & set(told)
    assert second.folder == first.folder
    shutil.rmtree(tmp_path / "stores/converted")
    assert build()[0].folder == first.folder
    assert "converting" in told


class TestConvertsAnew:
    @pytest.fixture
    def convert(self, small_set, tmp_path):
        """Returns the folder of a set, and a function that converts it and says whether it had to."""
        root = small_set("music4all_onion")

        def make(*overrides):
            told = []
            tables = kept(source("music4all_onion", root, *overrides), tmp_path / "converted", told)
            return rows_of(tables), "converting" in told

        return root, make

    def test_where_a_file_has_changed(self, convert):
        root, make = convert
        before, has_converted = make()
        assert has_converted
        os.utime(root / "id_genres.csv")
        assert make() == (before, False)
        (root / "id_genres.csv").write_text("id\tgenres\nDaTQ53TUmfP93FSr\tfado\n")
        after, has_converted = make()
        assert has_converted
        assert by_id(after["contents"])["DaTQ53TUmfP93FSr"]["genres"] == ["fado"]
        assert not make()[1]

    def test_where_it_fails_what_was_there_stays(self, convert, tmp_path):
        root, make = convert
        make()
        events = (tmp_path / "converted/events/part-0.parquet").read_bytes()
        (root / "id_genres.csv").write_text("no such column\n")
        with pytest.raises(UserError, match="no column"):
            make()
        assert (tmp_path / "converted/events/part-0.parquet").read_bytes() == events

    def test_where_vectors_are_gone_which_stay_without_the_rest(self, tmp_path):
        (tmp_path / "set").mkdir()
        small.yambda(tmp_path / "set")
        store, vectors, told = tmp_path / "store", tmp_path / "store/vectors.parquet", []
        kept(source("yambda", tmp_path / "set"), store / "converted", told)
        before = vectors.read_bytes()
        shutil.rmtree(store / "converted")  # as towers forget does
        assert vectors.read_bytes() == before
        kept(source("yambda", tmp_path / "set"), store / "converted", told)
        vectors.unlink()
        tables = kept(source("yambda", tmp_path / "set"), store / "converted", told)
        assert told.count("converting") == 3
        assert tables.remarks[-1].endswith(f"audio_encoder.path={vectors}")
        assert len(pq.read_table(vectors)) == 2

    def test_where_it_was_killed_before_its_end(self, convert, tmp_path):
        _, make = convert
        before, _ = make()
        (tmp_path / "converted" / DONE).unlink()
        assert make() == (before, True)

    def test_with_an_sql_file_of_ones_own(self, convert, tmp_path):
        _, make = convert
        make()
        own = tmp_path / "own.sql"
        own.write_text(
            "CREATE VIEW events AS SELECT user_id, 'x-' || track_id AS content_id, "
            "TRY_CAST(timestamp AS TIMESTAMPTZ) AS timestamp FROM plays WHERE timestamp <> ''"
        )
        rows, has_converted = make(f"data.source.sql={own}")
        assert has_converted
        assert {row["content_id"][:2] for row in rows["events"]} == {"x-"}
        assert "contents" not in rows


class TestRefusals:
    def test_a_wrong_folder(self, tmp_path):
        said = r"no userid-timestamp-.*\.tsv in it; Last\.fm-1K needs userid-timestamp.*: get it from http"
        with pytest.raises(UserError, match=said):
            source("lastfm1k_tsv", tmp_path).inputs()

    def test_no_folder(self, tmp_path):
        with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder; Yambda needs flat/50m/multi_event"):
            source("yambda", tmp_path / "nowhere").inputs()

    def test_an_unknown_sql(self, tmp_path):
        with pytest.raises(UserError, match=r"data\.source\.sql=other: no such file; .* kuairand, lastfm1k_tsv"):
            source("lastfm1k_tsv", tmp_path, "data.source.sql=other")

    @pytest.mark.parametrize(("given", "said"), [
        ("source.files.plays.columns=[userid,line]", "'line' of userid-timestamp-.* has a name that is taken"),
        ("source.files.plays.optional=[mood]", "has no header to tell whether 'mood' is there"),
    ])  # fmt: skip
    def test_columns_that_cannot_be(self, tmp_path, given, said):
        with pytest.raises(UserError, match=said):
            source("lastfm1k_tsv", tmp_path, f"data.{given}")

    def test_too_many_bad_lines(self, small_set, tmp_path, make_builder):
        builder = make_builder(
            source("lastfm1k_tsv", small_set("lastfm1k_tsv")), tmp_path / "stores", split=LeaveOneOut(),
            features=FEATURES, max_rejected_fraction=0.1,
        )  # fmt: skip
        said = r"traname\.tsv, line 4: 5 fields where 6 are wanted; 6 of 14 lines are no rows, over data\.max_rejected"
        with pytest.raises(UserError, match=said):
            builder.build()

    def test_a_column_that_is_missing(self, small_set, tmp_path):
        root = small_set("movielens_20m")
        (root / "ratings.csv").write_text("user,movieId,rating,timestamp\n1,2,3,4\n")
        with pytest.raises(UserError, match=r"ratings\.csv, line 1: no column 'userId'; it has user, movieId, rating"):
            source("movielens_20m", root).tables(tmp_path)

    def test_a_column_of_parquet_that_is_missing(self, small_set, tmp_path):
        root = small_set("yambda")
        pq.write_table(pa.table({"uid": [1], "item": [2]}), root / "flat/50m/multi_event.parquet")
        with pytest.raises(
            UserError, match=r"multi_event\.parquet: no column 'item_id' or 'item_ids'; it has uid, item"
        ):
            source("yambda", root).tables(tmp_path)

    def test_a_file_that_was_cut_short(self, small_set, tmp_path):
        root = small_set("lfm_2b")
        path = root / "tracks.tsv.bz2"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(UserError, match=r"tracks\.tsv\.bz2: (damaged|cannot be read).*get it again"):
            source("lfm_2b", root).tables(tmp_path)

    def test_json_that_is_damaged(self, small_set, tmp_path):
        root = small_set("million_playlist")
        path = root / "data/mpd.slice.0-999.json"
        path.write_text(path.read_text()[:-40])
        with pytest.raises(
            UserError, match=r"not as the Million Playlist Dataset is published .*mpd\.slice\.0-999\.json"
        ):
            source("million_playlist", root).tables(tmp_path)

    def test_nothing_in_it(self, small_set, tmp_path):
        root = small_set("music4all_onion")
        (root / "userid_trackid_timestamp.tsv.bz2").unlink()
        (root / "userid_trackid_timestamp.tsv").write_text("user_id\ttrack_id\ttimestamp\n")
        with pytest.raises(UserError, match="no event in it"):
            source("music4all_onion", root).tables(tmp_path)


@pytest.mark.unhooked
def test_what_was_converted_is_forgotten_with_its_listener(tmp_path):
    (tmp_path / "set").mkdir()
    small.movielens_20m(tmp_path / "set")
    given = ("data=movielens_20m", "data.root=set", "data/split=leave_one_out", "data.max_rejected_fraction=0.5")
    told = ok(tmp_path, "prepare", *given)
    assert "rejected, with reasons in" in told
    assert "1 lines (1 no rating)" in told
    converted = tmp_path / "stores/movielens_20m/converted"
    assert "stores/movielens_20m/converted" in ok(tmp_path, "forget", "user=2", *given)
    assert converted.exists()
    ok(tmp_path, "forget", "user=2", "remove=true", *given)
    assert not converted.exists()
