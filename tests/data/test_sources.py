"""Public sequence data without a clock, as text and as Parquet, through to the store."""

import lzma
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.read_back import histories_by_id
from towers.data.sources.ordered_pairs import OrderedPairs
from towers.data.sources.timed_events import TimedEvents
from towers.data.split import GlobalTemporal, LeaveOneOut
from towers.errors import UserError

TEXT = "1 10\n1 20\n1 10\n2 30\n2 20\n2 40\n"
EXPECTED = {"1": ["10", "20", "10"], "2": ["30", "20", "40"]}


@pytest.fixture
def prepared(tmp_path, make_builder, feature_settings):
    features = replace(feature_settings, user_columns=())

    def prepare(source, split=None):
        return make_builder(source, tmp_path / "stores", split=split or LeaveOneOut(), features=features).build()[0]

    return prepare


def orders(store):
    return {user_id: [content for content, *_ in events] for user_id, events in histories_by_id(store).items()}


def test_text(tmp_path, prepared):
    (tmp_path / "pairs.txt").write_text(TEXT)
    store = prepared(OrderedPairs(str(tmp_path / "pairs.txt")))
    assert orders(store) == EXPECTED
    assert not store.has_clock
    assert store.spectrograms is None
    histories = store.histories
    assert (histories.train_end - histories.offsets[:-1]).tolist() == [1, 1]


def test_compressed_text_gives_the_same(tmp_path, prepared):
    (tmp_path / "pairs.txt.xz").write_bytes(lzma.compress(TEXT.encode()))
    assert orders(prepared(OrderedPairs(str(tmp_path / "pairs.txt.xz")))) == EXPECTED


def test_lines_of_listeners_may_alternate(tmp_path, prepared):
    (tmp_path / "pairs.txt").write_text("2 30\n1 10\n1 20\n2 20\n2 40\n1 10\n")
    assert orders(prepared(OrderedPairs(str(tmp_path / "pairs.txt")))) == EXPECTED


@pytest.fixture
def shuffled_parquet(tmp_path):
    """Rows in no order at all; the position alone knows."""
    rows = {
        "user": [2, 1, 1, 2, 1, 2],
        "track": [20, 10, 20, 40, 10, 30],
        "pos": [1, 2, 1, 2, 0, 0],
        "artist": [7, -1, 7, 8, 5, None],  # of track 10 the first row says -1
        "album": [-1, 3, 4, 4, 3, 4],
    }
    path = tmp_path / "sequences.parquet"
    pq.write_table(pa.table(rows), path)
    return OrderedPairs(str(path), content="track", artist="artist", album="album")


def test_parquet_is_ordered_by_position(shuffled_parquet, prepared):
    assert orders(prepared(shuffled_parquet)) == EXPECTED


def test_negative_artists_and_albums_are_unknown(shuffled_parquet, prepared):
    store = prepared(shuffled_parquet)
    found = {
        content_id: (artists, album)
        for content_id, artists, album in zip(
            *(store.contents[name].to_pylist() for name in ("content_id", "artist_ids", "album_id")), strict=True
        )
    }
    assert found["10"] == (None, "album-3")
    assert found["20"] == (["artist-7"], None)
    assert found["30"] == (None, "album-4")
    assert found["40"] == (["artist-8"], "album-4")
    assert set(found) == {"10", "20", "30", "40", "artist-7", "artist-8"}  # no artist called -1


def test_an_artist_is_not_the_track_of_the_same_number(tmp_path, prepared):
    rows = {"user": [1, 1, 1], "content": [7, 8, 9], "pos": [0, 1, 2], "artist": [8, 8, 7]}
    pq.write_table(pa.table(rows), tmp_path / "sequences.parquet")
    store = prepared(OrderedPairs(str(tmp_path / "sequences.parquet"), artist="artist"))
    assert store.content_ids.tolist() == ["7", "8", "9", "artist-7", "artist-8"]


def test_no_clock_and_a_split_in_time_do_not_go_together(tmp_path, prepared):
    (tmp_path / "pairs.txt").write_text(TEXT)
    with pytest.raises(UserError, match="leave_one_out"):
        prepared(OrderedPairs(str(tmp_path / "pairs.txt")), GlobalTemporal())


def test_missing_file(tmp_path, prepared):
    with pytest.raises(UserError, match=r"data\.root=.*nowhere\.txt"):
        prepared(OrderedPairs(str(tmp_path / "nowhere.txt")))


@pytest.mark.parametrize("content", [b"one two three\n1 2\n", b"", b"1\n2\n"])
def test_text_that_is_not_pairs(tmp_path, prepared, content):
    (tmp_path / "pairs.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"pairs\.txt"):
        prepared(OrderedPairs(str(tmp_path / "pairs.txt")))


def test_an_xz_file_cut_short(tmp_path, prepared):
    compressed = lzma.compress(TEXT.encode() * 1_000)
    (tmp_path / "pairs.txt.xz").write_bytes(compressed[: len(compressed) // 2])
    with pytest.raises(UserError, match=r"pairs\.txt\.xz"):
        prepared(OrderedPairs(str(tmp_path / "pairs.txt.xz")))


def test_parquet_without_the_column(tmp_path, prepared):
    pq.write_table(pa.table({"user": [1], "content": [2]}), tmp_path / "sequences.parquet")
    with pytest.raises(UserError, match="no column 'pos'"):
        prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))


def test_parquet_with_a_position_that_is_no_number(tmp_path, prepared):
    pq.write_table(pa.table({"user": [1], "content": [2], "pos": ["first"]}), tmp_path / "sequences.parquet")
    with pytest.raises(UserError, match="pos"):
        prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))


def test_a_row_without_a_position_is_rejected(tmp_path, prepared):
    rows = {"user": [1, 1, 1, 1], "content": [7, 8, 9, 6], "pos": [0, 1, 2, None]}
    pq.write_table(pa.table(rows), tmp_path / "sequences.parquet")
    with pytest.raises(UserError, match="timestamp is null"):
        prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))


def test_parquet_with_ids_that_are_no_ids(tmp_path, prepared):
    pq.write_table(pa.table({"user": [1.5], "content": [2], "pos": [0]}), tmp_path / "sequences.parquet")
    with pytest.raises(UserError, match="user"):
        prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))


def test_part_files_in_subfolders(raw, store, tmp_path, make_builder):
    for part in (0, 1):
        folder = raw / f"events/date=2026-01-0{part + 1}"
        folder.mkdir()
        (raw / f"events/part-{part}.parquet").rename(folder / "x.parquet")
    (raw / "contents/kind=track").mkdir()
    (raw / "contents/part-0.parquet").rename(raw / "contents/kind=track/x.parquet")
    (raw / "events/_log").mkdir()
    (raw / "events/_log/checkpoint.parquet").write_text("what the writer keeps for itself")
    found = make_builder(raw, tmp_path / "stores").build()[0]
    assert histories_by_id(found) == histories_by_id(store)
    assert found.contents.equals(store.contents)
    assert len(found.spectrograms.records) == len(store.spectrograms.records)


def timed(tmp_path, stamps, **columns):
    rows = {"user": [2, 1, 1], "track": [20, 10, 20], "ts": stamps, "artist": [7, 5, 7]}
    pq.write_table(pa.table(rows), tmp_path / "plays.parquet")
    return TimedEvents(
        str(tmp_path / "plays.parquet"), **{"content": "track", "timestamp": "ts", "artist": "artist"} | columns
    )


@pytest.mark.parametrize("unit", ["seconds", "timestamps"])
def test_events_with_a_clock(tmp_path, prepared, unit):
    seconds = [1_400_000_300, 1_400_000_200, 1_400_000_100]
    stamps = seconds if unit == "seconds" else pa.array(seconds, pa.timestamp("s"))
    split = GlobalTemporal(validation_days=50 / 86_400, test_days=50 / 86_400)
    store = prepared(timed(tmp_path, stamps), split)
    assert orders(store) == {"1": ["20", "10"], "2": ["20"]}
    assert store.has_clock
    assert store.histories.timestamp_us.tolist() == [
        1_400_000_100_000_000,
        1_400_000_200_000_000,
        1_400_000_300_000_000,
    ]
    assert dict(zip(store.content_ids, store.contents["artist_ids"].to_pylist(), strict=True))["20"] == ["artist-7"]


def test_a_clock_that_is_none(tmp_path, prepared):
    with pytest.raises(UserError, match=r"plays\.parquet: column 'ts' must hold timestamps"):
        prepared(timed(tmp_path, ["noon", "one", "two"]))


def test_a_clock_that_is_missing(tmp_path, prepared):
    with pytest.raises(UserError, match="no column 'when'; it has user, track, ts, artist"):
        prepared(timed(tmp_path, [1, 2, 3], timestamp="when"))
