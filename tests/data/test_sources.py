"""Public sequence data without a clock, as text and as Parquet, through to the store."""

import lzma
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.read_back import histories_by_id
from towers.data.event_log.rows import RowMap
from towers.data.sources.ordered_pairs import OrderedPairs
from towers.data.sources.timed_events import TimedEvents
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.data.splits.temporal import GlobalTemporal
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
    """Writes rows in no order at all; the position column alone has it."""
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


def test_who_left_stays_away_where_the_file_grows(tmp_path, make_builder, feature_settings):
    """This holds also for stores in the file's folder: converted files have the same name in every process."""
    made = {"split": LeaveOneOut(), "features": replace(feature_settings, user_columns=())}
    for last_s, forget in (1_400_000_300, ["2"]), (1_400_000_400, []):
        source = timed(tmp_path, [last_s, 1_400_000_200, 1_400_000_100])
        found = make_builder(source, tmp_path / "stores", forget=forget, **made).build()[0]
        assert "2" not in found.user_ids.tolist()
        assert RowMap.read(tmp_path / "stores/log/current/rows/files.parquet").ids.to_pylist() == ["part-0.parquet"]


def test_a_clock_that_is_none(tmp_path, prepared):
    with pytest.raises(UserError, match=r"plays\.parquet: column 'ts' must hold timestamps"):
        prepared(timed(tmp_path, ["noon", "one", "two"]))


def test_a_clock_that_is_missing(tmp_path, prepared):
    with pytest.raises(UserError, match="no column 'when'; it has user, track, ts, artist"):
        prepared(timed(tmp_path, [1, 2, 3], timestamp="when"))


class TestTextLineForLine:
    """Every line is an event, with any characters in its ids."""

    @pytest.mark.parametrize(
        "content", ['"5', '12"', "'", "\\", "a\\tb", "a\tb", "#7", "a,b", "é", "NULL", "NaN", "\u2028", '""', "a\rb"]
    )
    def test_signs(self, tmp_path, prepared, content):
        path = tmp_path / "pairs.txt"
        lines = [f"{user} {content if place == 1 else place}\n" for user in ("1", '"2') for place in range(3)]
        path.write_bytes("".join(lines).encode())
        assert orders(prepared(OrderedPairs(str(path)))) == {user: ["0", content, "2"] for user in ("1", '"2')}

    @pytest.mark.parametrize(
        "text",
        [
            TEXT.replace("\n", "\r\n"),
            "\ufeff" + TEXT,
            TEXT + "\n\r\n\n",
            TEXT.rstrip("\n"),
            "\n" + TEXT.replace("2 30", "\n2 30"),
        ],
    )
    def test_ends_of_lines(self, tmp_path, prepared, text):
        (tmp_path / "pairs.txt").write_bytes(text.encode())
        assert orders(prepared(OrderedPairs(str(tmp_path / "pairs.txt")))) == EXPECTED

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"# a comment", "must be `user content`"),
            (b"1\t10", "must be `user content`"),
            (b"1 ", "must be `user content`"),
            (b" 10", "must be `user content`"),
            (b"1  10", "must be `user content`"),
            (b"1 M\xfcsik", "not UTF-8"),
        ],
    )
    def test_a_line_that_is_none_is_named(self, tmp_path, prepared, line, words):
        (tmp_path / "pairs.txt").write_bytes(TEXT.encode() + line + b"\n")
        with pytest.raises(UserError, match=rf"pairs\.txt, line 7: .*{words}"):
            prepared(OrderedPairs(str(tmp_path / "pairs.txt")))

    def test_capitals_in_the_suffix(self, tmp_path, prepared, shuffled_parquet):
        (tmp_path / "PAIRS.TXT.XZ").write_bytes(lzma.compress(TEXT.encode()))
        assert orders(prepared(OrderedPairs(str(tmp_path / "PAIRS.TXT.XZ")))) == EXPECTED
        (tmp_path / "sequences.parquet").rename(tmp_path / "s.PARQUET")
        assert orders(prepared(OrderedPairs(str(tmp_path / "s.PARQUET"), content="track"))) == EXPECTED
        (tmp_path / "s.PARQUET").rename(tmp_path / "s.parquet.gzip")
        assert orders(prepared(OrderedPairs(str(tmp_path / "s.parquet.gzip"), content="track"))) == EXPECTED


class TestNamedAsTheCallerDoes:
    """Errors name the caller's file, column and row, never those of the converted file."""

    def test_no_id(self, tmp_path, prepared):
        source = timed(tmp_path, [1, 2, 3], user="listener")
        rows = {"listener": [2.0, 1.0, 1.0], "track": [20, 10, 20], "ts": [1, 2, 3], "artist": [7, 5, 7]}
        pq.write_table(pa.table(rows), tmp_path / "plays.parquet")
        with pytest.raises(UserError, match=r"plays\.parquet: column 'listener' is double, must be a string or an int"):
            prepared(source)

    @pytest.mark.parametrize(
        ("factor", "unit"), [(10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")]
    )
    def test_times_in_another_unit(self, tmp_path, prepared, factor, unit):
        stamps = [1_400_000_300 * factor, None, 1_400_000_100 * factor]
        with pytest.raises(UserError, match=rf"plays\.parquet: column 'ts', row 0: .*look like {unit}"):
            prepared(timed(tmp_path, stamps))

    def test_seconds_that_were_taken_for_nanoseconds(self, tmp_path, prepared):
        stamps = pa.array([1_400_000_300, 1_400_000_200, 1_400_000_100], pa.timestamp("ns"))
        with pytest.raises(UserError, match=r"plays\.parquet, row 0: .*\(column 'ts'\): 1970-01-01 .* for nanoseconds"):
            prepared(timed(tmp_path, stamps))

    def test_a_single_time_out_of_range_is_a_rejected_row(self, tmp_path, prepared):
        with pytest.raises(UserError, match=r"plays\.parquet, row 1: timestamp out of range \(column 'ts'\)"):
            prepared(timed(tmp_path, [1_400_000_300, 2**62, 1_400_000_100]))

    def test_a_few_times_in_another_unit(self, tmp_path, prepared):
        said = r"row 1: timestamp out of range \(column 'ts'\): 1400000200000 seconds .* look like milliseconds"
        with pytest.raises(UserError, match=said):
            prepared(timed(tmp_path, [1_400_000_300, 1_400_000_200_000, 1_400_000_100]))

    def test_a_column_that_is_there_twice(self, tmp_path, prepared):
        table = pa.Table.from_arrays([pa.array([1, 2])] * 4, ["user", "content", "pos", "user"])
        pq.write_table(table, tmp_path / "sequences.parquet")
        with pytest.raises(UserError, match=r"sequences\.parquet: column 'user' is there twice"):
            prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))

    def test_a_line_without_an_end(self, tmp_path, prepared):
        (tmp_path / "pairs.txt").write_text("1 10\r" * 100_000, newline="")
        with pytest.raises(UserError, match=r"pairs\.txt, line 1: .{,200}$"):
            prepared(OrderedPairs(str(tmp_path / "pairs.txt")))

    def test_a_missing_content(self, tmp_path, prepared):
        rows = {"user": [1, 1], "track": pa.array([7, None]), "ts": [1_400_000_100, 1_400_000_200], "artist": [1, 2]}
        source = timed(tmp_path, [1, 2, 3])
        pq.write_table(pa.table(rows), tmp_path / "plays.parquet")
        with pytest.raises(UserError, match=r"plays\.parquet, row 1: content_id is null \(column 'track'\)"):
            prepared(source)

    def test_positions_that_are_times(self, tmp_path, prepared):
        rows = {"user": [1, 1], "content": [7, 8], "pos": [0, 1_767_225_600_000]}
        pq.write_table(pa.table(rows), tmp_path / "sequences.parquet")
        with pytest.raises(UserError, match=r"sequences\.parquet: column 'pos', row 1: .*look like milliseconds"):
            prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))

    def test_no_events(self, tmp_path, prepared):
        rows = pa.table(
            {"user": pa.array([], pa.string()), "content": pa.array([], pa.string()), "pos": pa.array([], pa.int64())}
        )
        pq.write_table(rows, tmp_path / "sequences.parquet")
        with pytest.raises(UserError, match=r"sequences\.parquet: the events table is empty"):
            prepared(OrderedPairs(str(tmp_path / "sequences.parquet")))


def test_ids_and_times_as_a_warehouse_unloads_them(tmp_path, prepared):
    """The columns are NUMBER(38, 0) throughout."""
    number = pa.decimal128(38, 0)
    columns = {"user": [2, 1, 1], "track": [20, 10, 20], "ts": [1_400_000_300, 1_400_000_200, 1_400_000_100]}
    columns["artist"] = [7, -1, 7]
    source = timed(tmp_path, [1, 2, 3])
    pq.write_table(
        pa.table({name: pa.array(values).cast(number) for name, values in columns.items()}), tmp_path / "plays.parquet"
    )
    store = prepared(source, LeaveOneOut())
    assert orders(store) == {"1": ["20", "10"], "2": ["20"]}
    assert dict(zip(store.content_ids, store.contents["artist_ids"].to_pylist(), strict=True))["10"] is None


def test_a_folder_that_looks_like_a_partition_adds_no_column(tmp_path, prepared):
    folder = tmp_path / "user=9"
    folder.mkdir()
    pq.write_table(pa.table({"user": [1, 1, 1], "content": [7, 8, 9], "pos": [0, 1, 2]}), folder / "s.parquet")
    assert orders(prepared(OrderedPairs(str(folder / "s.parquet")))) == {"1": ["7", "8", "9"]}
