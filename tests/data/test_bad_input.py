"""Data that cannot be prepared: one line that names the file and the column, and no half-written store."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from towers.data.store import CURRENT
from towers.errors import UserError


@pytest.fixture
def refused(raw, tmp_path, make_builder):
    """Prepares `raw`, which has to fail, and returns the message."""

    def prepare(folder=raw, **settings):
        root = tmp_path / "stores"
        with pytest.raises(UserError) as raised:
            make_builder(folder, root, **settings).build()
        message = str(raised.value)
        assert "\n" not in message
        assert not (root / CURRENT).exists()
        assert not list(root.glob("*/manifest.json"))
        assert not list(root.rglob("*.partial"))
        return message

    return prepare


def rewrite(path, change):
    pq.write_table(change(pq.read_table(path)), path)


def test_missing_folder(refused, tmp_path):
    message = refused(tmp_path / "nowhere")
    assert "nowhere" in message
    assert "data.root" in message


def test_no_events(refused, raw):
    for part in (raw / "events").iterdir():
        part.unlink()
    assert "events/*.parquet" in refused()


def test_empty_events_table(refused, raw):
    (raw / "events/part-1.parquet").unlink()
    raw_set.write_events(raw, [])
    message = refused()
    assert str(raw / "events") in message
    assert "empty" in message


def test_nothing_positive(refused, raw):
    (raw / "events/part-1.parquet").unlink()
    raw_set.write_events(raw, [event for event in raw_set.EVENTS if event[3] == "skip"])
    assert "no positive event" in refused()


@pytest.mark.parametrize("table", ["events", "contents", "users", "playlists"])
def test_a_file_cut_short(refused, raw, table):
    path = raw / table / "part-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = refused()
    assert str(path) in message
    assert "cut short" in message


def test_a_text_file_called_parquet(refused, raw):
    path = raw / "events/part-2.parquet"
    path.write_text("user_id,content_id\nann,a1\n")
    assert str(path) in refused()


@pytest.mark.parametrize("table", ["events", "contents"])
def test_a_file_damaged_in_the_middle(refused, raw, table):
    """The footer is intact, so that only reading the column finds the damage."""
    path = raw / table / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    message = refused()
    assert str(path) in message
    assert "damaged" in message


def test_a_played_time_that_is_no_number(refused, raw):
    path = raw / "events/part-0.parquet"

    def change(rows):
        values = pa.array([float("nan")] * len(rows))
        return rows.set_column(rows.column_names.index("played_ms"), "played_ms", values)

    rewrite(path, change)
    assert "played_ms is not finite" in refused()


WRONG_TYPES = [
    ("events", "user_id", pa.array([1.5]), "a string or an integer"),
    ("events", "timestamp", pa.array(["yesterday"]), "a timestamp in UTC"),
    ("events", "timestamp", pa.array([1_700_000_000]), "a timestamp in UTC"),
    ("events", "played_ms", pa.array(["long"]), "a number in milliseconds"),
    ("contents", "artist_ids", pa.array(["art-x"]), "a list of strings or integers"),
    ("contents", "release_date", pa.array(["2020"]), "a date"),
    ("users", "deleted", pa.array(["yes"]), "a boolean"),
    ("playlists", "content_ids", pa.array(["a1"]), "a list of strings or integers"),
]


@pytest.mark.parametrize(("table", "column", "value", "words"), WRONG_TYPES)
def test_a_wrong_type(refused, raw, table, column, value, words):
    path = raw / table / "part-0.parquet"

    def change(rows):
        values = pa.concat_arrays([value] * len(rows))
        return rows.set_column(rows.column_names.index(column), column, values)

    rewrite(path, change)
    message = refused()
    assert str(path) in message
    assert repr(column) in message
    assert words in message


REQUIRED = [("events", "user_id"), ("events", "content_id"), ("events", "timestamp"), ("contents", "content_id"),
            ("users", "user_id"), ("playlists", "playlist_id"), ("playlists", "content_ids")]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), REQUIRED)
def test_a_missing_column(refused, raw, table, column):
    path = raw / table / "part-0.parquet"
    rewrite(path, lambda rows: rows.drop_columns([column]))
    message = refused()
    assert str(path) in message
    assert repr(column) in message


def test_a_listener_column_that_is_not_there(refused, feature_settings):
    from dataclasses import replace

    message = refused(features=replace(feature_settings, user_columns=("shoe_size",)))
    assert "features.user_columns" in message
    assert "shoe_size" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("filename",), "is no feature of a listener"),
        (("file_row_number",), "is no feature of a listener"),
        (("user_id",), "is no feature of a listener"),
        (("Deleted",), "is no feature of a listener"),
        (("country", "country"), "is there twice"),
        (("language",), "is also a feature of contents or events"),
        (("a/b",), "cannot be a file's name"),
    ],
)
def test_a_listener_column_that_is_none(refused, feature_settings, names, words):
    from dataclasses import replace

    message = refused(features=replace(feature_settings, user_columns=names))
    assert "features.user_columns" in message
    assert words in message


def test_a_column_with_the_readers_name(refused, raw):
    rewrite(raw / "users/part-0.parquet", lambda rows: rows.append_column("filename", [["x"] * len(rows)]))
    message = refused()
    assert "users/part-0.parquet" in message
    assert "'filename'" in message


def test_a_folder_whose_name_is_no_value_of_a_contract_column(refused, raw):
    path = raw / "events/part-0.parquet"
    rewrite(path, lambda rows: rows.drop_columns(["played_ms"]))
    (raw / "events/played_ms=long").mkdir()
    path.rename(raw / "events/played_ms=long/part-0.parquet")
    assert "part-0.parquet: column 'played_ms' is 'long' by its folder's name, must be a number" in refused()


class TestAudioOutside:
    """A sound outside of the data set's folder is never read, and has its reason among the rejected sounds."""

    @pytest.fixture
    def reason_of(self, raw, tmp_path, make_builder):
        def prepare(audio):
            contents = [*raw_set.CONTENTS, {"content_id": "thief", "kind": "track", "audio": audio}]
            raw_set.write_part(raw, "contents", raw_set.content_table(contents))
            store = make_builder(raw, tmp_path / "stores").build()[0]
            assert store.manifest["counts"]["sounds"] == 4
            assert "thief" not in store.spectrograms.row_of
            rejected = pq.read_table(store.folder / "rejected/sounds.parquet").to_pylist()
            (row,) = [row for row in rejected if row["content_id"] == "thief"]
            assert row["digest"] is None
            assert row["audio"].endswith(audio)
            return row["reason"]

        return prepare

    @pytest.fixture
    def secret(self, tmp_path):
        """A good sound outside the data set."""
        import soundfile

        soundfile.write(tmp_path / "secret.wav", raw_set.tone(440, 0.5), raw_set.RATE_HZ)
        return tmp_path / "secret.wav"

    def test_by_dots(self, reason_of, secret):
        assert "leaves the data set's folder" in reason_of("audio/../../secret.wav")

    def test_by_an_absolute_path(self, reason_of, secret):
        assert "leaves the data set's folder" in reason_of(str(secret))

    def test_by_a_symbolic_link(self, reason_of, secret, raw):
        (raw / "audio/link.wav").symlink_to(secret)
        assert "leaves the data set's folder" in reason_of("audio/link.wav")

    def test_by_a_linked_folder(self, reason_of, secret, raw):
        (raw / "elsewhere").symlink_to(secret.parent, target_is_directory=True)
        assert "leaves the data set's folder" in reason_of("elsewhere/secret.wav")

    @pytest.mark.parametrize("audio", ["x" * 300 + ".flac", "a\0b.flac"])
    def test_what_no_file_can_be_called(self, reason_of, audio):
        assert "is no path" in reason_of(audio)

    def test_dots_that_stay_inside_are_fine(self, raw, tmp_path, make_builder):
        contents = [*raw_set.CONTENTS, {"content_id": "winding", "kind": "track", "audio": "audio/../audio/a1.flac"}]
        raw_set.write_part(raw, "contents", raw_set.content_table(contents))
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.manifest["counts"]["sounds"] == 5
