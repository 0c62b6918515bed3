"""Vectors from elsewhere, from the file to the table of audio vectors, and the effect of a changed file."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.data import raw_set
from towers.assembly.network import build_content_table, build_two_tower, heard_by
from towers.data.training_batches import Share
from towers.errors import UserError
from towers.features.sounds import Sounds
from towers.models.audio.encoder import SoundStatistics
from towers.models.audio.frozen import FrozenAudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.cost import description, parameters
from towers.models.user_tower import UserTower
from towers.training.embed import embed_contents, refresh_audio
from towers.training.processes import Processes

VECTORS = {"a4": [4.0, 40.0], "a1": [1.0, 10.0], "nobody": [9.0, 90.0], "a3": [3.0, 30.0]}


def write(path, vectors):
    columns = {"content_id": list(vectors), "vector": pa.array(list(vectors.values()), pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "vectors.parquet", VECTORS)


def encoder_of(path):
    return FrozenAudioEncoder(SoundStatistics.of_none(4), path=path)


def test_contents_find_their_vectors(path):
    encoder = encoder_of(path)
    spectrograms = Sounds(records=np.zeros((1, 4, 8), np.float16), rows=np.zeros(4, np.int64))
    for store_has in (None, spectrograms):
        sounds = encoder.hears(np.array(["a1", "a2", "a3", "a4"]), store_has)
        assert sounds.rows.tolist() == [0, -1, 1, 2]
        assert encoder(torch.from_numpy(sounds.records)).tolist() == [[1, 10], [3, 30], [4, 40]]
    assert encoder.dim == 2
    assert parameters(encoder) == 0


def test_vectors_of_nobody_are_counted(path):
    (note,) = encoder_of(path).hears(np.array(["a1", "a2", "a3", "a4"]), None).notes
    assert "vectors of 3 of 4 contents; 1 vectors of contents that the store does not have" in note
    (note,) = encoder_of(path).hears(np.array([*VECTORS]), None).notes
    assert note.endswith("vectors of 4 of 4 contents")


def test_ids_of_another_catalogue_are_refused(path):
    with pytest.raises(UserError, match=r"none of its 4 content ids is in the store; .* 'a4', the store 'x1'"):
        encoder_of(path).hears(np.array(["x1", "x2"]), None)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"audio_encoder\.path=.*nowhere: cannot be read \(No such file"):
        encoder_of(str(tmp_path / "nowhere"))


def test_weights_go_with_their_file_alone(path, tmp_path):
    weights = encoder_of(path).state_dict()
    moved = write(tmp_path / "moved.parquet", VECTORS)
    encoder_of(moved).load_state_dict(weights)
    changed = write(tmp_path / "changed.parquet", {**VECTORS, "a1": [1.0, 11.0]})
    with pytest.raises(UserError, match="has changed since the run was trained"):
        encoder_of(changed).load_state_dict(weights)
    assert FrozenAudioEncoder.fingerprints(path=path) == FrozenAudioEncoder.fingerprints(path=moved)
    assert FrozenAudioEncoder.fingerprints(path=path) != FrozenAudioEncoder.fingerprints(path=changed)


@pytest.mark.parametrize("has_spectrograms", [True, False])
def test_without_spectrograms_too_they_reach_the_content_tower(path, raw, tmp_path, make_builder, has_spectrograms):
    if not has_spectrograms:
        contents = [{**content, "audio": None} for content in raw_set.CONTENTS]
        raw_set.write_part(raw, "contents", raw_set.content_table(contents))
    store = make_builder(raw, tmp_path / "stores").build()[0]
    assert (store.spectrograms is not None) == has_spectrograms
    two_tower = build_two_tower(
        store,
        partial(FrozenAudioEncoder, path=path),
        partial(ContentTower, dim=8, hidden_dim=8, part_dropout=0.0, id_dropout=0.0, id_min_events=1, dropout=0.0),
        partial(UserTower, dim=8, num_layers=1, num_heads=1, dropout=0.0),
    )
    sounds = heard_by(two_tower.audio_encoder, store)
    table = build_content_table(store, two_tower.audio_encoder.dim, sounds)
    before = embed_contents(two_tower, table)
    refresh_audio(two_tower, table, sounds.records, Processes(Share()))
    batch = table.batch(torch.arange(len(table)))
    expected = {content_id: VECTORS.get(content_id, [0.0, 0.0]) for content_id in store.content_ids.tolist()}
    assert dict(zip(store.content_ids.tolist(), batch.audio.tolist(), strict=True)) == expected
    assert batch.has_audio.tolist() == [content_id in VECTORS for content_id in store.content_ids.tolist()]
    changed = (embed_contents(two_tower, table) - before).abs().amax(dim=1) > 1e-6
    assert torch.equal(changed, batch.has_audio)
    assert description(two_tower, sounds, 25).endswith("parameters, 0 of them in the audio encoder")
