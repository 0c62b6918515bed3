"""Impossible lines of public sets: each is counted or read without the bad field, and none stops a set."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.sets.test_public_sets import by_id, rows_of, source
from towers.data.bad_lines import LineWriter
from towers.errors import UserError

FAR = 2**63 - 1
"""A number that is no time in seconds nor in milliseconds."""


def slow(*values):
    """Marks another set with the same reader, which the long proofs alone run."""
    return pytest.param(*values, marks=pytest.mark.slow)


def add(path, *lines):
    with path.open("a") as file:
        file.writelines(line + "\n" for line in lines)


def converted(name, root, folder):
    return rows_of(source(name, root).tables(folder))


class TestTimesOutOfRange:
    def test_movielens(self, small_set, tmp_path):
        root = small_set("movielens_20m")
        add(root / "ratings.csv", f"3,2,3.5,{FAR}", "3,2,nan,974820900")
        rows = converted("movielens_20m", root, tmp_path)
        assert rows["lines"][-2:] == [("ratings.csv", 8, "no time"), ("ratings.csv", 9, "no rating")]
        assert len(rows["events"]) == 5

    def test_kuairand(self, small_set, tmp_path):
        root = small_set("kuairand")
        log = "log_random_4_22_to_5_08_pure.csv"
        add(root / "data" / log, f"0,30,20220501,900,{FAR},1,0,0,0,0,0,0,9000,79733,0,0,0,1,1")
        (root / "data/video_features_basic_pure.csv").write_text(
            "video_id,author_id,upload_dt,video_duration,tag\n10,123,2022-04-10,1e300,39\n"
        )
        rows = converted("kuairand", root, tmp_path)
        assert (log, 4, "no time") in rows["lines"]
        assert by_id(rows["contents"])["10"]["duration_ms"] is None

    def test_thirtymusic(self, small_set, tmp_path):
        root = small_set("thirtymusic_idomaar")
        links = '{"subjects":[{"type":"user","id":7}],"objects":[{"type":"track","id":1,"playstart":0,"playtime":%d}]}'
        add(
            root / "relations/sessions.idomaar", f"event.session\t1\t{FAR}\t{{}} {links % 1}",
            f"event.session\t2\t-1\t{{}} {links % 1}", f"event.session\t3\t1390233000\t{{}} {links % FAR}",
        )  # fmt: skip
        add(root / "relations/love.idomaar", f"preference\t2\t{FAR} {{}} {links % 1}")
        add(root / "entities/users.idomaar", f"user\t7\t{FAR}\t{{}}")
        add(root / "entities/playlist.idomaar", f"playlist\t7\t{FAR}\t{{}}\t{links % 1}")
        rows = converted("thirtymusic_idomaar", root, tmp_path)
        assert rows["lines"][1:] == [
            ("sessions.idomaar", 4, "no number or no time"), ("sessions.idomaar", 5, "no number or no time"),
            ("love.idomaar", 2, "no time"),
        ]  # fmt: skip
        assert [row["played_ms"] for row in rows["events"] if row["user_id"] == "7"] == [None]
        assert by_id(rows["users"], "user_id")["7"]["registered"] is None
        assert by_id(rows["playlists"], "playlist_id")["playlist-7"]["created"] is None

    def test_music4all_onion(self, small_set, tmp_path):
        root = small_set("music4all_onion")
        (root / "id_metadata.csv").write_text("id\tduration_ms\nDaTQ53TUmfP93FSr\t1e300\n")
        assert (
            by_id(converted("music4all_onion", root, tmp_path)["contents"])["DaTQ53TUmfP93FSr"]["duration_ms"] is None
        )

    def test_million_playlist(self, small_set, tmp_path):
        root = small_set("million_playlist")
        path = root / "data/mpd.slice.0-999.json"
        path.write_text(path.read_text().replace('"pos": 2', f'"pos": {FAR}'))
        moments = [row["timestamp"] for row in converted("million_playlist", root, tmp_path)["events"]]
        assert moments.count(None) == 1  # the contract rejects it, with its row


def test_a_name_that_cannot_be_decoded_stays_as_it_is(small_set, tmp_path):
    root = small_set("thirtymusic_idomaar")
    add(root / "entities/persons.idomaar", 'person\t78\t-1\t{"MBID":null,"name":"M%FCsik"}\t{}')
    assert by_id(converted("thirtymusic_idomaar", root, tmp_path)["contents"])["artist-78"]["title"] == "M%FCsik"


def test_bad_lines_are_not_kept_in_memory(tmp_path):
    with LineWriter(tmp_path / "lines.parquet") as lines:
        for line in range(1, 25_001):
            lines.add(Path("plays.tsv"), line, "no time")
    written = pq.ParquetFile(tmp_path / "lines.parquet")
    assert written.metadata.num_row_groups == 3  # of 10,000, 10,000 and 5,000 lines
    assert written.read()["line"].to_pylist() == [*range(1, 25_001)]


@pytest.mark.parametrize(("line", "reason"), [("1,2,3,noon", "no time"), ("1,2", "2 fields where 4 are wanted")])
def test_where_every_line_is_bad_the_first_is_told(small_set, tmp_path, line, reason):
    root = small_set("movielens_20m")
    (root / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + f"{line}\n" * 3)
    said = rf"no event in it; .*ratings\.csv, line 2: {reason}; 3 of 6 lines are no rows"
    with pytest.raises(UserError, match=said):
        source("movielens_20m", root).tables(tmp_path)


class TestTwice:
    """The first line of an id counts that a side table names twice."""

    @pytest.mark.parametrize(("name", "files", "ids"), [
        ("music4all_onion", {"id_information.csv": "DaTQ53TUmfP93FSr\tOther\tOther\tOther",
                             "id_metadata.csv": "DaTQ53TUmfP93FSr" + 10 * "\t9",
                             "id_genres.csv": "DaTQ53TUmfP93FSr\tother", "id_lang.csv": "DaTQ53TUmfP93FSr\tot"}, 2),
        slow("movielens_1m", {"ml-1m/movies.dat": "73::Other::Drama", "ml-1m/users.dat": "2::F::1::1::1"}, 4),
        slow("kuairand", {"data/video_features_basic_pure.csv": "10,5,AD,,,,,,,,,", "data/user_features_pure.csv":
                          "0,other,0,0,0,5,,0,,0,,107,,0"}, 3),
        ("thirtymusic_idomaar", {
            "entities/tracks.idomaar": 'track\t4698874\t-1\t{"name":"other"}\t{"tags":[{"type":"tag","id":2}]}',
            "entities/persons.idomaar": 'person\t77\t-1\t{"name":"Other"}\t{}',
            "entities/users.idomaar": 'user\t44361\t1\t{"gender":"x"}',
            "entities/playlist.idomaar": 'playlist\t3\t1\t{"Title":"Other"}\t{"objects":[]}'}, 3),
        slow("lastfm1k_tsv", {"userid-profile.tsv": "user_000002\tx\t1\tOther\t"}, 7),
    ])  # fmt: skip
    def test_the_first_line_counts(self, small_set, tmp_path, name, files, ids):
        root = small_set(name)
        before = converted(name, root, tmp_path / "before")
        for path, line in files.items():
            add(root / path, line)
        after = converted(name, root, tmp_path / "after")
        assert len(after["contents"]) == ids
        for table, key in (("contents", "content_id"), ("users", "user_id"), ("playlists", "playlist_id")):
            assert sorted_by(after.get(table, []), key) == sorted_by(before.get(table, []), key)


def sorted_by(rows, key):
    return sorted(rows, key=lambda row: row[key])


@pytest.mark.parametrize(("name", "path", "said", "instead"), [
    ("lastfm1k_tsv", "userid-timestamp-artid-artname-traid-traname.tsv", "\t\tSigur Rós\t\t", "\t\t\tabc\t"),
    slow("million_playlist", "data/mpd.slice.1000-1999.json", '"artist_uri": "spotify:artist:1",', ""),
    slow("nowplaying_rs", "context_content_features.csv", "b2980c722a1ace7a30303718ce5491d8", ""),
])  # fmt: skip
def test_an_unknown_artist_is_none(small_set, tmp_path, name, path, said, instead):
    root = small_set(name)
    text = (root / path).read_text(errors="surrogateescape")
    assert said in text
    (root / path).write_text(text.replace(said, instead), errors="surrogateescape")
    artists = [row["artist_ids"] for row in converted(name, root, tmp_path)["contents"] if row.get("kind") != "artist"]
    assert None in artists
    assert [None] not in artists
