"""Raw sound, metadata and events to vectors without torch: equal to torch's, or one line on the error."""

import shutil
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
import soundfile
import torch

from tests.data import raw_set
from tests.retrieval.small_export import SPACE, content, small_export
from towers.assembly.network import build_content_table, build_two_tower, heard_by
from towers.contract import schema
from towers.contract.tables import CONTRACT
from towers.data.store import Store
from towers.errors import UserError
from towers.manifest import write_json
from towers.models.audio.encoder import StatisticsAudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.user_tower import UserTower
from towers.publishing.onnx.parity import check_parity, content_parity, events_of, listeners_compared, user_parity
from towers.publishing.onnx.towers import TURN, export_content_tower, export_user_tower
from towers.publishing.onnx.variants import write_variants
from towers.retrieval.content_encoder import ContentEncoder
from towers.retrieval.encoders import UserEncoder
from towers.retrieval.export import Export
from towers.retrieval.raw_contents import ContentReader, encode_content, reader_of
from towers.retrieval.raw_events import encode_user
from towers.training.embed import embed_contents, embed_users, refresh_audio

pytestmark = pytest.mark.unhooked
DIM, CUT = 12, 8
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0].astype(np.float32)


@pytest.fixture(scope="module")
def two_tower(world_store: Store):
    torch.manual_seed(0)
    made = build_two_tower(
        world_store,
        StatisticsAudioEncoder,
        partial(ContentTower, dim=DIM, hidden_dim=16, part_dropout=0.1, id_dropout=0.1, id_min_events=1, dropout=0.1),
        partial(UserTower, dim=16, num_layers=1, num_heads=2, dropout=0.1),
    ).eval()
    rows = torch.arange(len(world_store.content_ids))
    made.content_tower.set_delta(rows, torch.zeros(len(rows), DIM))  # what the ids add is not known of new contents
    return made


@pytest.fixture(scope="module")
def vectors(world_store: Store, two_tower) -> np.ndarray:
    """The vectors of all contents, computed by torch from the store."""
    from towers.data.training_batches import Share
    from towers.training.processes import Processes

    sounds = heard_by(two_tower.audio_encoder, world_store)
    assert sounds is not None
    table = build_content_table(world_store, two_tower.audio_encoder.dim, sounds)
    refresh_audio(two_tower, table, sounds.records, Processes(Share()))
    return embed_contents(two_tower, table).numpy()


@pytest.fixture(scope="module")
def export(world_store: Store, two_tower, vectors, tmp_path_factory) -> Export:
    """An export with the files that encoding reads."""
    folder = tmp_path_factory.mktemp("towers") / "export"
    contents = [content(content_id) for content_id in world_store.content_ids.tolist()]
    export = small_export(folder, contents, vectors)
    write_json(folder / "features.json", world_store.features.to_dict())
    shutil.copytree(world_store.folder / "vocabularies", folder / "vocabularies")
    export_content_tower(two_tower, world_store.features, folder / "content_tower.onnx", SPACE)
    return export


@pytest.fixture(scope="module")
def user_tower(world_store: Store, two_tower, tmp_path_factory) -> Path:
    """The exported user tower."""
    path = tmp_path_factory.mktemp("user-tower") / "user_tower.onnx"
    export_user_tower(two_tower.user_tower, DIM, world_store.user_codes.shape[1], path, SPACE)
    return path


@pytest.fixture(scope="module")
def turned_tower(world_store: Store, two_tower, tmp_path_factory) -> Path:
    """The exported user tower that reads and writes rotated vectors."""
    path, columns = tmp_path_factory.mktemp("turned") / "user_tower.onnx", world_store.user_codes.shape[1]
    export_user_tower(two_tower.user_tower, DIM, columns, path, SPACE, reads=ROTATION.T, writes=ROTATION)
    return path


@pytest.fixture(scope="module")
def cut_tower(world_store: Store, two_tower, tmp_path_factory) -> Path:
    """A user tower that reads the model's vectors and writes rotated ones, cut to fewer dimensions."""
    path, columns = tmp_path_factory.mktemp("cut") / "user_tower.onnx", world_store.user_codes.shape[1]
    export_user_tower(two_tower.user_tower, DIM, columns, path, SPACE, writes=ROTATION[:CUT])
    return path


def metadata_of(store: Store, row: int) -> dict:
    columns = [name for name in store.contents.column_names if name in CONTRACT[schema.CONTENTS]]
    return store.contents.select(columns).slice(row, 1).to_pylist()[0]


def with_sound(store: Store) -> int:
    return int(np.flatnonzero(store.audio_rows >= 0)[-1])


def test_a_file_and_its_metadata_give_the_exported_vector(export, world_store, world_folder, vectors) -> None:
    for row in (with_sound(world_store), int(np.flatnonzero(world_store.audio_rows < 0)[0])):
        metadata = metadata_of(world_store, row)
        audio = None if metadata["audio"] is None else world_folder / metadata["audio"]
        np.testing.assert_allclose(encode_content(export, audio, metadata).vector, vectors[row], atol=1e-4)
    assert reader_of(export) is reader_of(export)


def test_samples_at_a_rate_will_do(export, world_store, world_folder) -> None:
    metadata = metadata_of(world_store, with_sound(world_store))
    path = world_folder / metadata["audio"]
    sound = soundfile.read(path, dtype="float32")
    found = encode_content(export, sound, metadata).vector
    np.testing.assert_allclose(found, encode_content(export, path, metadata).vector, atol=1e-5)


def test_columns_as_json_has_them(export, world_store) -> None:
    """Dates are text and numbers are floats; unknown values change nothing."""
    known = {"kind": "track", "release_date": date(2026, 1, 5), "duration_ms": 200_000, "explicit": True}
    written = {"release_date": "2026-01-05", "duration_ms": 200_000.0, "explicit": True, "genres": ["never heard of"]}
    np.testing.assert_array_equal(
        encode_content(export, None, known).vector, encode_content(export, None, written).vector
    )
    aware = {**written, "release_date": datetime(2026, 1, 5, 23, tzinfo=UTC)}
    np.testing.assert_array_equal(
        encode_content(export, None, known).vector, encode_content(export, None, aware).vector
    )


@pytest.mark.parametrize(
    ("metadata", "words"),
    [({"kind": "song"}, "kind=song"), ({"artist_ids": "a1"}, "artist_ids=a1: must be a list"),
     ({"album_id": ["b"]}, "album_id=.*one value"), ({"release_date": "soon"}, "release_date=soon"),
     ({"release_date": 2026}, "release_date=2026"), ({"duration_ms": -1}, "duration_ms=-1"),
     ({"duration_ms": "long"}, "duration_ms=long"), ({"explicit": "no"}, "explicit=no")],
)  # fmt: skip
def test_metadata_of_a_wrong_type_is_refused(export, metadata, words) -> None:
    with pytest.raises(UserError, match=words):
        encode_content(export, None, metadata)


def test_sound_that_will_not_do_is_refused(export, tmp_path) -> None:
    (tmp_path / "sound.ogg").write_bytes(b"no sound")
    (tmp_path / "bare.raw").write_bytes(bytes(1_000))
    loud = np.random.default_rng(0).normal(scale=1e25, size=8_000).astype(np.float32)
    for audio, words in (
        (tmp_path / "sound.ogg", "sound.ogg: does not decode"),
        (tmp_path / "none.ogg", "none.ogg: no such file"),
        (tmp_path / "bare.raw", "bare.raw: does not decode: bare samples"),
        (tmp_path, "is no file"),
        ((np.zeros(8_000, np.float32), 8_000), "audio: silent"),
        ((loud, 8_000), "audio: so loud"),
        (np.zeros(5, np.float32), "reads no vectors"),
    ):
        with pytest.raises(UserError, match=words):
            encode_content(export, audio, {})


def test_a_history_of_raw_events_is_encoded(export, world_store, user_tower) -> None:
    shutil.copy(user_tower, export.folder)
    codes = np.zeros((1, world_store.user_codes.shape[1]), np.int64)
    np.save(export.folder / "histories" / "user_codes.npy", codes)
    opened = Export(export.folder)
    opened.manifest.update(max_length=20, has_clock=True)
    event = {"content_id": str(world_store.content_ids[3]), "timestamp": datetime(2026, 1, 5, 20, tzinfo=UTC)}
    vector = encode_user(opened, [event])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(vector, encode_user(opened, []), atol=1e-3)
    np.testing.assert_array_equal(vector, encode_user(opened, [{**event, "timestamp": "2026-01-05T20:00:00Z"}], {}))
    for timestamp in (None, "soon", 5):
        with pytest.raises(UserError, match=f"timestamp={timestamp}"):
            encode_user(opened, [{**event, "timestamp": timestamp}])


def test_a_tower_of_another_space_is_refused(export, tmp_path) -> None:
    with pytest.raises(UserError, match="space_id space is not the export's other"):
        ContentEncoder(export.folder / "content_tower.onnx", "other")
    with pytest.raises(UserError, match="threads=0"):
        ContentEncoder(export.folder / "content_tower.onnx", SPACE, threads=0)
    without = small_export(tmp_path / "without", [content("a")], np.ones((1, 1), np.float32))
    with pytest.raises(UserError, match="no content tower"):
        ContentReader(without)


def test_parity_of_the_content_tower_is_told(export, world_store, two_tower, tmp_path) -> None:
    encoder = ContentEncoder(export.folder / "content_tower.onnx", SPACE)
    sounds = heard_by(two_tower.audio_encoder, world_store)
    found = content_parity(encoder, two_tower, world_store, sounds, lambda vectors: vectors, 1e-4)
    assert found["difference"] < 1e-4
    assert found["inputs"] == "16 files"
    assert found["least_cosine_to_prepared"] > 0.9999
    moved = Store(world_store.folder)
    moved.manifest["root"] = str(tmp_path / "gone")
    found = content_parity(encoder, two_tower, moved, sounds, lambda vectors: vectors, 1e-4)
    assert found["difference"] < 1e-4
    assert found["inputs"] == "16 contents without sound: the data's folder is not there"
    found = content_parity(encoder, two_tower, world_store, sounds, lambda vectors: -vectors, 1e-4)
    assert found["difference"] > 0.1
    assert found["by_rounding"] < 0.01
    with pytest.raises(UserError, match=r"content_tower\.onnx differs from torch by .* max_parity_difference=0\.0001"):
        check_parity({"content_tower.onnx": found}, 1e-4)


def test_pure_tones_differ_by_rounding_alone(export, tmp_path, make_builder, two_tower) -> None:
    """A steady tone has the same power in every frame, and all frames are rounded to float16 alike."""
    contents = []
    (tmp_path / "raw/audio").mkdir(parents=True)
    for number in range(1, 16):
        name = f"audio/{number}.wav"
        soundfile.write(tmp_path / "raw" / name, raw_set.tone(100 * number, 2.0, 16_000), 16_000)
        contents.append({"content_id": str(number), "kind": "track", "audio": name})
    raw_set.write_events(tmp_path / "raw", [event for event in raw_set.EVENTS if event[0] == "ann"])
    raw_set.write_part(tmp_path / "raw", "contents", raw_set.content_table(contents))
    raw_set.write_part(tmp_path / "raw", "users", pa.Table.from_pylist(raw_set.USERS))
    store = make_builder(tmp_path / "raw", tmp_path / "stores").build()[0]
    encoder = ContentEncoder(export.folder / "content_tower.onnx", SPACE)
    sounds = heard_by(two_tower.audio_encoder, store)
    found = content_parity(encoder, two_tower, store, sounds, lambda vectors: vectors, 0.0)
    assert found["inputs"] == "15 files"
    assert 0 < found["difference"] <= found["by_rounding"] < 0.05
    check_parity({"content_tower.onnx": found}, 0.0)


def project(vectors: np.ndarray, writes: np.ndarray) -> np.ndarray:
    written = vectors @ writes.T
    return written / np.linalg.norm(written, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("tower", "reads_turned", "writes"),
    [
        pytest.param("turned_tower", True, ROTATION, marks=pytest.mark.slow),
        ("cut_tower", False, ROTATION[:CUT]),
    ],
)
def test_parity_of_the_user_tower_through_matrices(
    world_store, two_tower, vectors, tower, reads_turned, writes, request
) -> None:
    from towers.data.loaders import UserBatches

    path = request.getfixturevalue(tower)
    inputs = project(vectors, writes) if reads_turned else vectors
    rows = listeners_compared(world_store)
    batches = UserBatches(world_store, world_store.histories.offsets[1:], rows, 20, 1_024)
    expected = project(embed_users(two_tower, batches, torch.from_numpy(vectors)), writes)
    found = user_parity(UserEncoder(path, inputs, SPACE, 20, True), world_store, rows, expected)
    assert found == {"difference": pytest.approx(0, abs=1e-5), "inputs": f"{len(rows)} listeners"}


def test_a_tower_says_what_a_reader_needs_and_not_where_it_was_made(export, world_store) -> None:
    path = export.folder / "content_tower.onnx"
    assert b".py" not in path.read_bytes()
    metadata = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    settings = world_store.features.spectrogram
    assert metadata == {
        "space_id": SPACE, "opset": "20", "sample_rate": str(settings.sample_rate), "record_s": str(settings.record_s),
        "num_crops": "1",
    }  # fmt: skip


def test_variants_are_kept_where_the_nearest_stay(world_store, user_tower, vectors, tmp_path) -> None:
    path = Path(shutil.copy(user_tower, tmp_path))
    rows = listeners_compared(world_store)

    def encode(path: Path) -> np.ndarray:
        encoder = UserEncoder(path, vectors, SPACE, 20, True)
        return np.stack([encoder.encode(events_of(world_store, row), world_store.user_codes[row]) for row in rows])

    int8, float16 = write_variants(path, ["int8", "float16"], encode, vectors, 0.5)
    for variant in (int8, float16):
        assert variant.file == f"user_tower.{variant.name}.onnx"
        assert 0.5 <= variant.overlap <= 1
        assert variant.size_bytes == (tmp_path / variant.file).stat().st_size < variant.float32_bytes
    before = {name: (tmp_path / name).read_bytes() for name in (int8.file, float16.file)}
    assert [each.file for each in write_variants(path, ["int8", "float16"], encode, vectors, 1.1)] == [None, None]
    assert [file.name for file in tmp_path.iterdir()] == ["user_tower.onnx"]
    write_variants(path, ["int8", "float16"], encode, vectors, 0.5)
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    with pytest.raises(UserError, match="no variant 'int4'; there are int8, float16"):
        write_variants(path, ["int4"], encode, vectors, 0.5)


def test_what_turns_vectors_stays_in_float32_in_int8(turned_tower, vectors, tmp_path) -> None:
    path = Path(shutil.copy(turned_tower, tmp_path))
    write_variants(path, ["int8"], lambda file: vectors[:3], vectors, 0.0)
    graph = onnx.load(tmp_path / "user_tower.int8.onnx").graph
    kinds = [node.op_type for node in graph.node if any(name.endswith(TURN) for name in node.input)]
    assert kinds == ["MatMul", "MatMul"]
    assert "MatMulInteger" in [node.op_type for node in graph.node]
