"""The exported content tower gives torch's vectors from a waveform of any length, with any part missing."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from torch.nn.functional import normalize

from tests.models.audio.test_encoder import SMALL_MOBILE, SMALL_PATCH
from towers.batch import ContentBatch
from towers.data.audio.log_mel import LogMel, read_crops, record_from
from towers.features.settings import FeatureSettings, SpectrogramSettings
from towers.models.audio.encoder import ConvAudioEncoder, NoAudioEncoder, SoundStatistics, StatisticsAudioEncoder
from towers.models.audio.frozen import FrozenAudioEncoder
from towers.models.audio.joined import JoinedAudioEncoder
from towers.models.audio.mobile import MobileAudioEncoder
from towers.models.audio.patch import PatchAudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.rows import WHOLE
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower
from towers.publishing.onnx.towers import export_content_tower
from towers.retrieval.content_encoder import AUDIO_VECTOR, WAVEFORM, ContentEncoder
from towers.retrieval.sound import waveform_of

pytestmark = pytest.mark.unhooked
RATE, DIM, MELS, SPACE = 8_000, 12, 16, "space"
SIZES = {"kind": 3, "genres": 6}
SPECTROGRAM = SpectrogramSettings(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=MELS, record_s=1.0)
FEATURES = FeatureSettings(
    min_played_fraction=0.5, content_parts=tuple(SIZES), user_columns=(), spectrogram=SPECTROGRAM
)
IN_CROPS = replace(FEATURES, spectrogram=replace(SPECTROGRAM, num_crops=4))
CODES = [{"kind": [1], "genres": [1, 4, 2]}, {"kind": [2], "genres": []}, {}]
STATISTICS = SoundStatistics(
    mean=torch.linspace(-9, -6, MELS), std=torch.linspace(1, 3, MELS),
    sound_mean=torch.linspace(-1, 1, 2 * MELS), sound_std=torch.linspace(0.5, 1, 2 * MELS),
)  # fmt: skip
HEARING = {
    "statistics in crops": (StatisticsAudioEncoder, IN_CROPS),
    "conv": (partial(ConvAudioEncoder, dim=8, channels=(4, 6, 8, 8), dropout=0.2), FEATURES),
    "mobile": (partial(MobileAudioEncoder, **SMALL_MOBILE), FEATURES),
    "patch in crops": (partial(PatchAudioEncoder, **SMALL_PATCH), IN_CROPS),
}


def network(encoder, parts: dict[str, int] = SIZES, num_contents: int = 3, seed: int = 0) -> TwoTower:
    torch.manual_seed(seed)
    tower = ContentTower(
        vocabulary_sizes=parts, audio_dim=encoder.dim, is_audio_standardised=encoder.is_standardised,
        num_events=torch.ones(num_contents, dtype=torch.int64), rows=WHOLE, dim=DIM, hidden_dim=16,
        part_dropout=0.1, id_dropout=0.1, id_min_events=1,
        dropout=0.1,
    )  # fmt: skip
    torch.nn.init.normal_(tower.get_parameter("_base"))
    user_tower = UserTower((), 1, DIM, dim=8, num_layers=1, num_heads=2, dropout=0.0)
    return TwoTower(encoder, tower, user_tower).eval()


def exported(two_tower: TwoTower, features: FeatureSettings, folder: Path, **matrix) -> ContentEncoder:
    export_content_tower(two_tower, features, folder / "content_tower.onnx", SPACE, **matrix)
    return ContentEncoder(folder / "content_tower.onnx", SPACE)


def in_torch(two_tower: TwoTower, records: list, codes: list[dict]) -> np.ndarray:
    """Returns torch's vectors from records as a store holds them, null where there is none."""
    encoder = two_tower.audio_encoder
    audio, has_audio = torch.zeros(len(records), encoder.dim), torch.zeros(len(records), dtype=torch.bool)
    parts = {part: torch.zeros(len(codes), 3, dtype=torch.long) for part in two_tower.content_tower.parts}
    with torch.inference_mode():
        for place, (record, known) in enumerate(zip(records, codes, strict=True)):
            if record is not None:
                audio[place], has_audio[place] = encoder(torch.from_numpy(record.astype(np.float32))[None])[0], True
            for part, padded in parts.items():
                padded[place, : len(known.get(part, []))] = torch.tensor(known.get(part, []), dtype=torch.long)
        contents = ContentBatch(
            rows=torch.zeros(len(codes), dtype=torch.long), parts=parts, audio=audio, has_audio=has_audio
        )
        return normalize(two_tower.content_tower.without_id(contents), dim=-1).numpy()


def record_of(path: Path, settings: SpectrogramSettings) -> np.ndarray:
    return record_from(read_crops(path, settings)[0], LogMel(settings), settings)


LONG = ("mobile", "patch in crops")
"""Encoders whose graphs take longest to trace; they are checked among the slow tests."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in HEARING],
)
def hearing(request, tmp_path_factory):
    make, features = HEARING[request.param]
    two_tower = network(make(STATISTICS))
    return two_tower, features, exported(two_tower, features, tmp_path_factory.mktemp("hearing"))


def music(samples: int, rate: int, channels: int = 1) -> np.ndarray:
    """Returns a glide over noise, so that no stretch of it sounds like another."""
    time = np.arange(samples)[:, None] / rate
    noise = np.random.default_rng(samples).normal(size=(samples, channels))
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) + 0.02 * noise).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate", "channels"),
    [(801, RATE, 1), (7_999, RATE, 1), (8_001, RATE, 1), (37_113, RATE, 1), (9_001, 44_100, 2)],
)  # fmt: skip
def test_a_file_gives_what_its_record_gives(hearing, tmp_path, samples, rate, channels):
    two_tower, features, encoder = hearing
    path = tmp_path / "sound.wav"
    soundfile.write(path, music(samples, rate, channels), rate, subtype="FLOAT")
    expected = in_torch(two_tower, [record_of(path, features.spectrogram)], CODES[:1])
    found = encoder.encode({WAVEFORM: waveform_of(path, features.spectrogram)}, CODES[0])
    np.testing.assert_allclose(found, expected[0], atol=1e-4)
    if rate == RATE:
        uncut = {WAVEFORM: music(samples, rate)[:, 0]}
        np.testing.assert_allclose(encoder.encode(uncut, CODES[0]), expected[0], atol=1e-4)


def test_any_length_from_a_sample_up_beside_others(hearing):
    two_tower, features, encoder = hearing
    settings = features.spectrogram
    sounds = [np.full(1, 0.5, np.float32), None, music(3_000, RATE)[:, 0]]
    log_mel = LogMel(settings)
    records = [None if sound is None else record_from([torch.from_numpy(sound)], log_mel, settings) for sound in sounds]
    expected = in_torch(two_tower, records, CODES)
    heard = [{} if sound is None else {WAVEFORM: sound} for sound in sounds]
    np.testing.assert_allclose(encoder.encode_batch(heard, CODES), expected, atol=1e-4)
    for one, codes, vector in zip(heard, CODES, expected, strict=True):
        np.testing.assert_allclose(encoder.encode(one, codes), vector, atol=1e-4)


def test_nothing_known_is_a_unit_vector(hearing):
    _, _, encoder = hearing
    assert np.linalg.norm(encoder.encode({}, {})) == pytest.approx(1, abs=1e-5)


def vectors_at(path: Path) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    pq.write_table(pa.table({"content_id": ["a", "b", "c"], "vector": vectors.tolist()}), path)
    return vectors


def vector_record(heard: dict) -> np.ndarray | None:
    return heard[AUDIO_VECTOR][:, None] if AUDIO_VECTOR in heard else None


def test_vectors_made_elsewhere(tmp_path):
    path = tmp_path / "vectors.parquet"
    vectors = vectors_at(path)
    two_tower = network(FrozenAudioEncoder(STATISTICS, path=str(path)))
    encoder = exported(two_tower, FEATURES, tmp_path)
    assert encoder.hears == (AUDIO_VECTOR,)
    sounds = [vectors[0], None, vectors[2]]
    records = [None if sound is None else sound[:, None] for sound in sounds]
    expected = in_torch(two_tower, records, CODES)
    heard = [{} if sound is None else {AUDIO_VECTOR: sound} for sound in sounds]
    np.testing.assert_allclose(encoder.encode_batch(heard, CODES), expected, atol=1e-4)


@pytest.mark.slow
def test_sound_and_vectors_of_it_joined(tmp_path):
    """A content may have sound and a vector, one of them or neither; it is encoded alone and beside others."""
    path = tmp_path / "vectors.parquet"
    vectors = vectors_at(path)
    conv, _ = HEARING["conv"]
    parts = {"sound": conv, "again": StatisticsAudioEncoder, "vectors": partial(FrozenAudioEncoder, path=str(path))}
    joined = JoinedAudioEncoder(STATISTICS, parts)
    two_tower = network(joined)
    encoder = exported(two_tower, FEATURES, tmp_path)
    assert encoder.hears == (WAVEFORM, AUDIO_VECTOR)
    waveform = music(3_000, RATE)[:, 0]
    record = record_from([torch.from_numpy(waveform)], LogMel(SPECTROGRAM), SPECTROGRAM)
    heard = [{WAVEFORM: waveform, AUDIO_VECTOR: vectors[0]}, {WAVEFORM: waveform}, {AUDIO_VECTOR: vectors[2]}, {}]
    records = [
        None if not one else joined.record_of([*[record if WAVEFORM in one else None] * 2, vector_record(one)])
        for one in heard
    ]
    codes = [*CODES, CODES[0]]
    expected = in_torch(two_tower, records, codes)
    np.testing.assert_allclose(encoder.encode_batch(heard, codes), expected, atol=1e-4)
    for one, known, vector in zip(heard, codes, expected, strict=True):
        np.testing.assert_allclose(encoder.encode(one, known), vector, atol=1e-4)
    assert np.abs(expected[0] - encoder.encode(heard[1], codes[0])).max() > 1e-2


def test_without_sound_and_through_a_matrix(tmp_path):
    """The tower writes the vector times the matrix, normalised again."""
    two_tower = network(NoAudioEncoder(STATISTICS))
    writes = np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float32)
    encoder = exported(two_tower, FEATURES, tmp_path, writes=writes)
    assert encoder.hears == ()
    expected = in_torch(two_tower, [None] * 3, CODES) @ writes.T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode_batch([{}] * 3, CODES), expected, atol=1e-5)


def test_sound_alone(tmp_path):
    features = replace(FEATURES, content_parts=())
    two_tower = network(StatisticsAudioEncoder(STATISTICS), {})
    encoder = exported(two_tower, features, tmp_path)
    sound = music(3_000, RATE)[:, 0]
    record = record_from([torch.from_numpy(sound)], LogMel(SPECTROGRAM), SPECTROGRAM)
    expected = in_torch(two_tower, [record, None], [{}, {}])
    np.testing.assert_allclose(encoder.encode_batch([{WAVEFORM: sound}, {}], [{}, {}]), expected, atol=1e-4)


def test_ids_alone_leave_nothing_to_encode(tmp_path):
    features = replace(FEATURES, content_parts=())
    with pytest.raises(ValueError, match="ids alone"):
        export_content_tower(network(NoAudioEncoder(STATISTICS), {}), features, tmp_path / "tower.onnx", SPACE)
