"""A few lines of every public set, exactly in the form that it is published in, odd ones among them."""

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MBID = "f1b1cf71-bd35-4e99-8624-24a6e15f133a"
TRACK = "00000000-0000-0000-0000-000000000001"


def lastfm1k_tsv(root: Path) -> None:
    """Writes lines with quotation marks, names without ids, a wrong clock, a line broken in two and one that is no
    UTF-8.
    """
    plays = [
        f"user_000001\t2009-05-04T23:08:57Z\t{MBID}\tDeep Dish\t{TRACK}\tFuck Me Im Famous (Pacha Ibiza)-09-28-2007",
        'user_000001\t2009-05-04T13:54:10Z\t\tAC/DC\t\tHe said "Go" / and went',
        f"user_000001\t2009-05-04T13:52:04Z\t{MBID}\tDeep Dish\t\tFlashdance",
        'user_000002\t2009-05-03T15:48:25Z\t\tHe said "Yes\t',
        "\tsecond half",
        f"user_000002\t2013-09-29T18:32:04Z\t{MBID}\tDeep Dish\t{TRACK}\tOf a wrong clock",
        f"user_000002\tyesterday\t{MBID}\tDeep Dish\t{TRACK}\tOf no time",
        "user_000002\t2009-05-03T15:40:00Z\t\tM\xfcsik\t\tNo UTF-8",
        f"user_000002\t2009-05-02T10:00:00Z\t{MBID}\tDeep Dish\t{TRACK}\tFuck Me Im Famous (Pacha Ibiza)-09-28-2007",
        f"user_000003\t2009-05-01T10:00:00Z\t{MBID}\tDeep Dish\t\t",
        "user_000001\t2009-05-01T09:00:00Z\t\tSigur Rós\t\tHoppípolla",
    ]
    text = "\n".join(plays) + "\n"
    (root / "userid-timestamp-artid-artname-traid-traname.tsv").write_bytes(
        text.encode().replace("Müsik".encode(), b"M\xfcsik")
    )
    (root / "userid-profile.tsv").write_text(
        "#id\tgender\tage\tcountry\tregistered\n"
        "user_000001\tm\t\tJapan\tAug 13, 2006\n"
        "user_000002\tf\t23\tPeru\tFeb 24, 2006\n"
        "user_000003\t\t\t\t\n"
    )


def movielens_1m(root: Path) -> None:
    """Writes lines with an accent in Latin-1, a comma, and a line that lost a field."""
    folder = root / "ml-1m"
    folder.mkdir()
    (folder / "ratings.dat").write_text(
        "1::1193::5::978300760\n1::661::3::978302109\n1::914::3::978301968\n2::1193::2::978298413\n"
        "2::661::978299000\n2::914::4::978299999\n2::73::5::978300001\n"
    )
    movies = (
        "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
        "73::Misérables, Les (1995)::Drama|Musical\n"
        "914::My Fair Lady (1964)::Musical|Romance\n"
        "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
    )
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")


def movielens_20m(root: Path) -> None:
    """Writes lines with quotation marks around a title with a comma, and a film without genres."""
    (root / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n2,2,4.5,974820889\n"
        "2,29,0.5,974820900\n1,32,,1112484819\n1,47,3.5,1112484727\n"
    )
    (root / "movies.csv").write_text(
        "movieId,title,genres\n2,Jumanji (1995),Adventure|Children|Fantasy\n"
        '29,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure|Drama\n'
        "47,Babylon 5,(no genres listed)\n"
    )


def lfm_2b(root: Path) -> None:
    """Writes packed files as published; the plays are two streams one after the other, as parallel packers write
    them.
    """
    head = "user_id\ttrack_id\talbum_id\ttimestamp\n"
    first = "2\t7\t101\t2019-03-01 00:00:01\n2\t8\t102\t2019-03-01 00:04:01\n31435741\t7\t100\t2020-03-19 23:59:59\n"
    second = "31435741\t8\t\tno time\n31435741\t9\t\t2020-03-20 00:00:00\n"
    (root / "listening-events.tsv.bz2").write_bytes(
        bz2.compress((head + first).encode()) + bz2.compress(second.encode())
    )
    packed = {
        "tracks": "track_id\tartist_name\ttrack_name\n7\tHelstar\tDestroyer\n"
        '8\tCarpathian Forest\tA "Quoted" One\n9\t\t\n',
        "users": "user_id\tcountry\tage\tgender\tcreation_time\n"
        "2\tUK\t35\tm\t2002-10-29 01:00:00\n31435741\t\t-1\tn\t\n",
    }
    for name, text in packed.items():
        (root / f"{name}.tsv.bz2").write_bytes(bz2.compress(text.encode()))


def thirtymusic_idomaar(root: Path) -> None:
    """Writes lines with spaces where other files have tabs, no play time of a track, nested empty lists and a cut
    line.
    """
    for folder in ("relations", "entities"):
        (root / folder).mkdir()
    play = '{"type":"track","id":%d,"playstart":%d,"playtime":%d,"playratio":%s,"action":"%s"}'
    sessions = [
        'event.session\t287144\t1390231051\t{"numtracks":2,"playtime":500} {"subjects":[{"type":"user","id":44361}],'
        f'"objects":[{play % (4698874, 0, 495, "0.98", "play")},{play % (838286, 495, 5, "0.02", "skip")}]}}',
        'event.session\t287145\t1390232000\t{"numtracks":1,"playtime":-1} {"subjects":[{"type":"user","id":40305}],'
        f'"objects":[{play % (838286, 0, -1, "null", "play")}]}}',
        'event.session\t287146\t1390233000\t{"numtracks":1,"playtime":10} {"subjects":[{"type":"us',
    ]
    (root / "relations/sessions.idomaar").write_text("\n".join(sessions) + "\n")
    (root / "relations/love.idomaar").write_text(
        'preference\t1\t1394280374 {"value":"love"} {"subjects":[{"type":"user","id":40305}],'
        '"objects":[{"type":"track","id":4698874}]}\n'
    )
    (root / "entities/tracks.idomaar").write_text(
        'track\t4698874\t-1\t{"duration":505000,"playcount":4,"MBID":null,"name":"Sigur+R%C3%B3s/_/Starálfur+%28Live%29"}\t'
        '{"artists":[{"type":"person","id":77}],"albums":[{"type":"album","id":5}],"tags":[{"type":"tag","id":2},'
        '{"type":"tag","id":1}]}\n'
        'track\t838286\t-1\t{"duration":-1,"playcount":9,"MBID":null,"name":"000+music+box/+Nora"}\t'
        '{"artists":[],"albums":[],"tags":[]}\n'
    )
    (root / "entities/persons.idomaar").write_text('person\t77\t-1\t{"MBID":null,"name":"Sigur+R%C3%B3s"}\t{}\n')
    (root / "entities/tags.idomaar").write_text(
        'tag\t1\t-1\t{"value":"post-rock","url":"x"}\t{}\ntag\t2\t-1\t{"value":"ambient","url":"y"}\t{}\n'
    )
    (root / "entities/users.idomaar").write_text(
        'user\t44361\t1116715959\t{"lastfm_username":"000123","gender":"f","age":24,"country":"US","playcount":221012,'
        '"playlists":2,"subscribertype":"base"}\n'
        'user\t40305\t-1\t{"lastfm_username":"x","gender":"n","age":null,"country":"","playcount":1,"playlists":0,'
        '"subscribertype":"subscriber"}\n'
    )
    (root / "entities/playlist.idomaar").write_text(
        'playlist\t3\t1216742400\t{"ID":2973073,"Title":"my favorite songs","numtracks":2,"duration":1}\t'
        '{"subjects":[{"type":"user","id":40305}],"objects":[{"type":"track","id":838286},{"type":"track","id":4698874}]}\n'
        'playlist\t4\t1216742401\t{"ID":9,"Title":"","numtracks":0,"duration":0}\t'
        '{"subjects":[{"type":"user","id":40305}],"objects":[[]]}\n'
    )


YAMBDA = {
    "uid": pa.array([100, 100, 100, 100, 200, 200, 200], pa.uint32()),
    "timestamp": pa.array([39420, 39420, 40000, 40005, 86400, 86405, 172800], pa.uint32()),
    "item_id": pa.array([8326270, 1441281, 286361, 286361, 8326270, 1441281, 8326270], pa.uint32()),
    "is_organic": pa.array([0, 0, 1, 1, 1, 1, 0], pa.uint8()),
    "event_type": pa.array(["listen", "listen", "listen", "like", "listen", "unlike", "undislike"]).dictionary_encode(),
    "played_ratio_pct": pa.array([95, 49, 50, None, 120, None, None], pa.uint16()),
    "track_length_seconds": pa.array([170, 105, 185, None, 170, None, None], pa.uint32()),
}


def yambda(root: Path, is_sequential: bool = False) -> None:
    """Writes two events of a listener within five seconds, opinions, a play beyond the end, a track without a
    vector.
    """
    folder = root / ("sequential" if is_sequential else "flat") / "50m"
    folder.mkdir(parents=True)
    table = pa.table(YAMBDA)
    if is_sequential:
        rest = [name for name in YAMBDA if name != "uid"]
        listed = table.set_column(4, "event_type", table["event_type"].cast(pa.string()))
        listed = listed.group_by("uid", use_threads=False).aggregate([(name, "list") for name in rest])
        plural = {"item_id": "item_ids", "timestamp": "timestamps"}
        table = listed.rename_columns(["uid", *(plural.get(name, name) for name in rest)])
    pq.write_table(table, folder / "multi_event.parquet")
    flat = pa.table(YAMBDA)
    plays = flat.filter(pa.compute.equal(flat["event_type"].cast(pa.string()), "listen")).drop_columns(["event_type"])
    pq.write_table(plays, folder / "listens.parquet")
    number = pa.uint32()
    pairs = {"artist_id": pa.array([9, 3, 3], number), "item_id": pa.array([8326270, 8326270, 286361], number)}
    pq.write_table(pa.table(pairs), root / "artist_item_mapping.parquet")
    pairs = {"album_id": pa.array([12, 11], number), "item_id": pa.array([8326270, 8326270], number)}
    pq.write_table(pa.table(pairs), root / "album_item_mapping.parquet")
    vectors = pa.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], pa.list_(pa.float32()))
    items = pa.array([8326270, 286361, 5], number)
    pq.write_table(
        pa.table({"item_id": items, "embed": vectors, "normalized_embed": vectors}), root / "embeddings.parquet"
    )


def music4all_onion(root: Path) -> None:
    """Writes Music4All's tables, whose names end in .csv and whose fields stand between tabs."""
    plays = (
        "user_id\ttrack_id\ttimestamp\nuser_007XIjOr\tDaTQ53TUmfP93FSr\t2019-02-20 12:28:36\n"
        "user_007XIjOr\t0a2dxrWQJhyKV0fQ\t2019-02-20 12:24:00\nuser_00E\tDaTQ53TUmfP93FSr\t2019-02-21 00:00:00\n"
        "user_00E\t0a2dxrWQJhyKV0fQ\t\n"
    )
    (root / "userid_trackid_timestamp.tsv.bz2").write_bytes(bz2.compress(plays.encode()))
    (root / "id_information.csv").write_text(
        'id\tartist\tsong\talbum_name\nDaTQ53TUmfP93FSr\tMara\tSo "far"\tNorth/South\n'
    )
    (root / "id_metadata.csv").write_text(
        "id\tspotify_id\tpopularity\trelease\tdanceability\tenergy\tkey\tmode\tvalence\ttempo\tduration_ms\n"
        "DaTQ53TUmfP93FSr\tx\t59.0\t2018\t0.5\t0.4\t5.0\t1.0\t0.2\t120.1\t242920\n"
    )
    (root / "id_genres.csv").write_text("id\tgenres\nDaTQ53TUmfP93FSr\tpop rock, rock\n0a2dxrWQJhyKV0fQ\tgrunge\n")
    (root / "id_lang.csv").write_text("id\tlang\nDaTQ53TUmfP93FSr\ten\n0a2dxrWQJhyKV0fQ\tINTRUMENTAL\n")


def million_playlist(root: Path) -> None:
    """Writes two slices, and a track that stands twice in a playlist."""
    (root / "data").mkdir()
    told = {
        at: {
            "pos": 0, "artist_name": f"Artist {at % 2}", "track_name": f"Track {at}",
            "track_uri": f"spotify:track:{at}",
            "artist_uri": f"spotify:artist:{at % 2}", "album_uri": f"spotify:album:{at}", "album_name": f"Album {at}",
            "duration_ms": 200_000 + at,
        }
        for at in range(4)
    }  # fmt: skip
    for first, lists in ((0, [[0, 1, 0], [2, 1]]), (1000, [[3, 2, 1, 0]])):
        playlists = [
            {
                "name": f"List {pid}", "collaborative": "false", "pid": pid, "modified_at": 1493424000,
                "num_tracks": len(tracks), "num_albums": 1, "num_followers": 1 + pid, "num_edits": 2,
                "duration_ms": 1, "num_artists": 1,
                "tracks": [{**told[track], "pos": pos} for pos, track in enumerate(tracks)],
            }
            for pid, tracks in enumerate(lists, start=first)
        ]  # fmt: skip
        info = {"generated_on": "2017-12-03 08:41:42.057563", "slice": f"{first}-{first + 999}", "version": "v1"}
        text = json.dumps({"info": info, "playlists": playlists}, indent=4)
        (root / f"data/mpd.slice.{first}-{first + 999}.json").write_text(text)


def nowplaying_rs(root: Path) -> None:
    """Writes a tweet with two hashtags, and a place as GeoJSON between quotation marks."""
    (root / "user_track_hashtag_timestamp.csv").write_text(
        "user_id,track_id,hashtag,created_at\n"
        "81496937,cd52b3e5b51da29e5893dba82a418a4b,nowplaying,2014-01-01 05:54:21\n"
        "81496937,cd52b3e5b51da29e5893dba82a418a4b,goth,2014-01-01 05:54:21\n"
        "81496937,da3110a77b724072b08f231c9d6f7534,nowplaying,2014-01-01 05:58:21\n"
        "2205686924,da3110a77b724072b08f231c9d6f7534,nowplaying,2014-01-01 05:54:22\n"
    )
    (root / "context_content_features.csv").write_text(
        "coordinates,instrumentalness,liveness,speechiness,danceability,valence,loudness,tempo,acousticness,energy,mode,"
        "key,artist_id,place,geo,tweet_lang,track_id,created_at,lang,time_zone,user_id,id\n"
        ",0.00479,0.18,0.0294,0.634,0.342,-8.345,125.044,0.00035,0.697,1.0,6.0,b2980c722a1ace7a30303718ce5491d8,,,en,"
        "cd52b3e5b51da29e5893dba82a418a4b,2014-01-01 05:54:21,en,Central Time (US & Canada),81496937,4182437748424\n"
        '"{""type"": ""Point"", ""coordinates"": [1.0, 2.0]}",0.1,0.1,0.03,0.5,0.5,-5.6,150.0,0.1,0.8,1.0,5.0,'
        "03c86785ad4ba2d38cf6a5b8ac0a4d4a,,,en,da3110a77b724072b08f231c9d6f7534,2014-01-01 05:54:22,de,,2205686924,"
        "418243775232548864\n"
    )


KUAIRAND_LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)


def kuairand(root: Path) -> None:
    """Writes two logs of the standard policy and one of places that were drawn."""
    (root / "data").mkdir()
    (root / "data/log_standard_4_08_to_4_21_pure.csv").write_text(
        KUAIRAND_LOG + "0,20,20220416,2000,1650111976017,1,1,0,0,0,0,1,65400,65400,0,0,0,0,1\n"
        "0,10,20220420,1600,1650444367095,0,0,0,0,0,1,0,1405,170833,0,0,0,0,1\n"
    )
    (root / "data/log_standard_4_22_to_5_08_pure.csv").write_text(
        KUAIRAND_LOG + "1,20,20220425,1100,1650849295928,0,0,0,0,0,0,1,20000,255160,0,0,0,0,4\n"
        "1,30,20220425,1100,,0,0,0,0,0,0,0,0,79733,0,0,0,0,1\n"
    )
    (root / "data/log_random_4_22_to_5_08_pure.csv").write_text(
        KUAIRAND_LOG + "0,30,20220501,900,1651367400000,1,0,0,0,0,0,0,9000,79733,0,0,0,1,1\n"
        "1,10,20220501,901,1651367460000,0,0,0,0,0,0,0,0,170833,0,0,0,1,1\n"
    )
    (root / "data/video_features_basic_pure.csv").write_text(
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
        "music_id,music_type,tag\n"
        "10,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
        '20,456,NORMAL,2022-04-10,Kmovie,0.0,218066.0,720.0,1280.0,6355810746,9.0,"2,11"\n'
        "30,789,AD,,ShortImport,0.0,,720.0,1280.0,6618412736,4.0,\n"
    )
    ranges = (
        "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range"
    )
    (root / "data/user_features_pure.csv").write_text(
        f"user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,{ranges},register_days,"
        "register_days_range,onehot_feat0\n"
        '0,high_active,0,0,0,5,"(0,10]",0,0,0,0,107,61-90,0\n1,full_active,0,0,0,386,"(250,500]",4,"[1,10)",2,"[1,5)",327,181-365,1\n'
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        lastfm1k_tsv, movielens_1m, movielens_20m, lfm_2b, thirtymusic_idomaar, yambda, music4all_onion,
        million_playlist, nowplaying_rs, kuairand,
    )
}  # fmt: skip
"""Writes a small set of each name of configs/data into a folder."""


def gzipped(path: Path) -> None:
    """Packs a file in its place."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
