"""Several encoders as one: each encoder's vector of a content has its own place, with zeros where it has none."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import layer_norm

from tests.contracts.audio_encoder import N_MELS, STATISTICS, spectrograms
from towers.config.instantiate import instantiate
from towers.errors import UserError
from towers.features.crops import random_crops
from towers.features.sounds import Sounds
from towers.models.audio.encoder import ConvAudioEncoder, NoAudioEncoder, StatisticsAudioEncoder
from towers.models.audio.frozen import FrozenAudioEncoder
from towers.models.audio.joined import JoinedAudioEncoder

IDS = np.array(["neither", "both", "sound", "vector"])
VECTORS = {"both": [1.0, 10.0, 3.0], "vector": [-4.0, 40.0, 3.5], "nobody": [9.0, 90.0, 1.0]}
RECORDS = spectrograms(2, 40).half().numpy()
SPECTROGRAMS = Sounds(records=RECORDS, rows=np.array([-1, 1, 0, -1]))
SMALL_CONV = partial(ConvAudioEncoder, dim=6, channels=(4, 4), dropout=0.0)


@pytest.fixture
def path(tmp_path):
    columns = {"content_id": list(VECTORS), "vector": pa.array(list(VECTORS.values()), pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), tmp_path / "vectors.parquet")
    return str(tmp_path / "vectors.parquet")


def joined(path, sound=StatisticsAudioEncoder, **others):
    torch.manual_seed(0)
    parts = {"sound": sound, "vectors": partial(FrozenAudioEncoder, path=path), **others}
    return JoinedAudioEncoder(STATISTICS, parts).eval()


def test_each_part_stands_beside_the_other_and_zeros_for_what_is_not_there(path):
    encoder = joined(path)
    sounds = encoder.hears(IDS, SPECTROGRAMS)
    assert sounds.rows.tolist() == [-1, 0, 1, 2]
    assert sounds.records.shape == (3, N_MELS + 3, 40)
    assert len(sounds.records) == 3
    found = encoder(torch.from_numpy(sounds.records[0:3]))
    alone = StatisticsAudioEncoder(STATISTICS).eval()(torch.from_numpy(RECORDS[[1, 0]].astype(np.float32)))
    assert encoder.dim == found.shape[1] == 2 * N_MELS + 3
    torch.testing.assert_close(found[:2, :-3], alone)
    assert found[2, :-3].tolist() == [0] * 2 * N_MELS
    expected = layer_norm(torch.tensor([VECTORS["both"], VECTORS["vector"]]), [3])
    torch.testing.assert_close(found[[0, 2], -3:], expected)
    assert found[1, -3:].tolist() == [0] * 3
    (note,) = sounds.notes
    assert "vectors of 2 of 4 contents" in note


def test_a_record_reads_like_an_array_and_is_cropped_like_one(path):
    records = joined(path).hears(IDS, SPECTROGRAMS).records
    whole = records[0:3]
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(records[1], whole[1])
    np.testing.assert_array_equal(records[2:3], whole[2:])
    np.testing.assert_array_equal(records[0, :, 5:12], whole[0, :, 5:12])
    np.testing.assert_array_equal(records[1:, 2, 4:6], whole[1:, 2, 4:6])
    crops = random_crops(records, np.array([0, 1, 2]), 12, np.random.default_rng(0))
    assert np.isnan(crops[1, N_MELS:]).all()
    assert np.isnan(crops[2, :N_MELS]).all()
    np.testing.assert_array_equal(crops[2, N_MELS:], np.repeat(np.array(VECTORS["vector"])[:, None], 12, axis=1))


def test_without_spectrograms_the_vectors_are_heard(path):
    encoder = joined(path)
    sounds = encoder.hears(IDS, None)
    assert sounds.rows.tolist() == [-1, 0, -1, 1]
    found = encoder(torch.from_numpy(sounds.records[0:2]))
    assert found[:, :-3].abs().max() == 0
    assert found[:, -3:].abs().min() > 0


def test_without_any_sound_there_is_none():
    encoder = JoinedAudioEncoder(STATISTICS, {"a": StatisticsAudioEncoder, "b": NoAudioEncoder})
    assert encoder.hears(IDS, None) is None
    assert encoder.dim == 2 * N_MELS


def test_what_learns_learns_from_those_that_have_its_sound(path):
    encoder = joined(path, SMALL_CONV)
    assert encoder.learns
    assert not joined(path).learns
    sounds = encoder.hears(IDS, SPECTROGRAMS)
    encoder(torch.from_numpy(sounds.records[2:3])).sum().backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in encoder.parameters())
    encoder(torch.from_numpy(sounds.records[0:3])).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("learns", [True, False])
def test_settings_say_what_a_built_one_says(path, learns):
    encoders = {
        "sound": SMALL_CONV if learns else partial(StatisticsAudioEncoder),
        "v": partial(FrozenAudioEncoder, path=path),
    }
    assert JoinedAudioEncoder.would_learn(encoders=encoders) == learns
    assert JoinedAudioEncoder.fingerprints(encoders=encoders) == FrozenAudioEncoder.fingerprints(path=path)


def test_what_cannot_be_joined_is_refused(path):
    with pytest.raises(ValueError, match="vectors and more both read audio embeddings; put these into one file"):
        joined(path, more=partial(FrozenAudioEncoder, path=path))
    with pytest.raises(ValueError, match=r"encoders\.more: is itself a joint encoder"):
        joined(path, more=partial(JoinedAudioEncoder, encoders={"a": StatisticsAudioEncoder}))
    with pytest.raises(ValueError, match="none of them reads any sound"):
        JoinedAudioEncoder(STATISTICS, {"a": NoAudioEncoder})


def test_a_mistake_in_a_part_names_its_key():
    frozen = {"_target_": "towers.models.audio.frozen.FrozenAudioEncoder", "_partial_": True, "path": 3}
    node = {"_target_": "towers.models.audio.joined.JoinedAudioEncoder", "_partial_": True, "encoders": {"v": frozen}}
    with pytest.raises(UserError, match=r"audio_encoder\.encoders\.v\.path=3: must be str"):
        instantiate(node, "audio_encoder")
