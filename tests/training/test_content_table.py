"""The table of the facts about every content beside the model, and that of audio vectors."""

import numpy as np
import pytest
import torch

from towers.assembly.network import build_content_table, build_two_tower, heard_by, sound_statistics
from towers.data.training_batches import Share
from towers.features.ragged import Ragged
from towers.models.audio.encoder import ConvAudioEncoder, NoAudioEncoder, SoundStatistics
from towers.training.content_table import ContentTable
from towers.training.embed import embed_contents, refresh_audio
from towers.training.processes import Processes

AUDIO_DIM = 3


@pytest.fixture
def table():
    """The table: contents 0 and 3 have no sound, and sounds are in another order than contents."""
    codes = {"genres": Ragged.from_lists([[1, 2], [], [3], [4, 5, 6]])}
    table = ContentTable(codes, np.array([-1, 1, 0, -1]), 2, AUDIO_DIM)
    table.write(0, torch.tensor([[1.0, 1, 1], [2, 2, 2]]))
    return table


def test_contents_by_hand(table):
    batch = table.batch(torch.tensor([3, 1, 2, 1]))
    assert batch.rows.tolist() == [3, 1, 2, 1]
    assert batch.parts["genres"].tolist() == [[4, 5, 6], [0, 0, 0], [3, 0, 0], [0, 0, 0]]
    assert batch.has_audio.tolist() == [False, True, True, True]
    assert batch.audio[:, 0].tolist() == [0, 2, 1, 2]
    assert len(table) == 4


def test_a_checkpoint_holds_the_audio_vectors_alone(table):
    assert list(table.state_dict()) == ["_audio_vectors"]


class TestFreshAudio:
    def test_takes_the_place_of_what_the_table_had(self, table):
        contents = table.batch(torch.tensor([0, 1, 2]))
        fresh = contents.with_audio(torch.tensor([2]), torch.full((1, AUDIO_DIM), 9.0))
        assert fresh.audio[:, 0].tolist() == [0, 2, 9]
        assert contents.audio[:, 0].tolist() == [0, 2, 1]  # the batch before is left alone

    def test_the_gradient_reaches_the_fresh_ones_alone(self, table):
        vectors = torch.full((1, AUDIO_DIM), 9.0, requires_grad=True)
        audio = table.batch(torch.tensor([1, 2])).with_audio(torch.tensor([0]), vectors).audio
        (audio * torch.tensor([[5.0], [7.0]])).sum().backward()
        assert vectors.grad.tolist() == [[5, 5, 5]]

    def test_the_gradient_reaches_the_encoder(self, table):
        torch.manual_seed(0)
        encoder = ConvAudioEncoder(SoundStatistics.of_none(4), dim=AUDIO_DIM, channels=(2,), dropout=0.0)
        contents = table.batch(torch.tensor([1, 2]))
        fresh = contents.with_audio(torch.tensor([1, 0]), encoder(torch.randn(2, 4, 12)))
        fresh.audio.square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())

    def test_lower_precision_is_kept_in_the_tables(self, table):
        vectors = torch.full((1, AUDIO_DIM), 9.0, dtype=torch.bfloat16)
        assert table.batch(torch.tensor([1])).with_audio(torch.tensor([0]), vectors).audio.dtype == torch.float32

    def test_the_table_remembers_what_is_sound_alone(self, table):
        rows = torch.tensor([2])
        table.remember(rows, torch.full((1, AUDIO_DIM), float("nan")), torch.tensor(False))
        assert table.batch(rows).audio[:, 0].tolist() == [1]
        table.remember(rows, torch.full((1, AUDIO_DIM), 9.0, dtype=torch.bfloat16), torch.tensor(True))
        assert table.batch(rows).audio[:, 0].tolist() == [9]


@pytest.fixture(scope="module")
def two_tower(make_learner):
    return make_learner().two_tower


class TestRefresh:
    def test_equals_encoding_each_sound(self, world_store, two_tower, monkeypatch):
        """The batches do not divide the number of sounds."""
        monkeypatch.setattr("towers.training.embed.SOUNDS_AT_ONCE", 5)
        table = build_content_table(
            world_store, two_tower.audio_encoder.dim, heard_by(two_tower.audio_encoder, world_store)
        )
        records = world_store.spectrograms.records
        assert len(records) % 5
        refresh_audio(two_tower.train(), table, records, Processes(Share()))
        assert two_tower.training  # dropout was off, and is on again
        two_tower.eval()
        rows = torch.arange(len(table))
        found = table.batch(rows)
        for row in rows.tolist():
            sound = int(world_store.audio_rows[row])
            assert bool(found.has_audio[row]) == (sound >= 0)
            if sound < 0:
                assert (found.audio[row] == 0).all()
            else:
                record = torch.from_numpy(records[sound].astype(np.float32))
                expected = two_tower.audio_encoder(record[None])[0].detach()
                torch.testing.assert_close(found.audio[row], expected, atol=1e-5, rtol=0)

    def test_tells_how_far_the_table_had_drifted(self, world_store, make_learner):
        two_tower = make_learner().two_tower
        table = build_content_table(
            world_store, two_tower.audio_encoder.dim, heard_by(two_tower.audio_encoder, world_store)
        )
        records = world_store.spectrograms.records
        refresh_audio(two_tower, table, records, Processes(Share()))
        before = table.state_dict()["_audio_vectors"].clone()
        again = refresh_audio(two_tower, table, records, Processes(Share())).figures()
        assert again == {"audio/staleness": 0, "audio/staleness_max": 0}
        with torch.no_grad():
            for parameter in two_tower.audio_encoder.parameters():
                parameter.add_(0.1)
        found = refresh_audio(two_tower, table, records, Processes(Share())).figures()
        drift = 1 - torch.nn.functional.cosine_similarity(before, table.state_dict()["_audio_vectors"])
        assert found["audio/staleness"] == pytest.approx(drift.mean().item(), abs=1e-6)
        assert found["audio/staleness_max"] == pytest.approx(drift.max().item(), abs=1e-6)
        assert 0 < found["audio/staleness"] < found["audio/staleness_max"]

    def test_draws_nothing(self, world_store, two_tower):
        """Dropout is on when a step asks for a refresh, and the draws of later steps must not depend on the refresh."""
        table = build_content_table(
            world_store, two_tower.audio_encoder.dim, heard_by(two_tower.audio_encoder, world_store)
        )
        before = torch.get_rng_state()
        refresh_audio(two_tower.train(), table, world_store.spectrograms.records, Processes(Share()))
        assert torch.equal(torch.get_rng_state(), before)

    def test_embedding_in_parts_equals_at_once(self, world_store, two_tower, monkeypatch):
        table = build_content_table(
            world_store, two_tower.audio_encoder.dim, heard_by(two_tower.audio_encoder, world_store)
        )
        refresh_audio(two_tower, table, world_store.spectrograms.records, Processes(Share()))
        two_tower.eval()
        expected = two_tower.encode_contents(table.batch(torch.arange(len(table)))).detach()
        monkeypatch.setattr("towers.training.embed.CONTENTS_AT_ONCE", 7)
        torch.testing.assert_close(embed_contents(two_tower.train(), table), expected, atol=1e-6, rtol=0)


class TestAssembly:
    def test_statistics_of_the_trained_sounds(self, store):
        """Content a4 has a sound, but was not heard in training."""
        ids = store.content_ids.tolist()
        rows = [store.audio_rows[ids.index(content_id)] for content_id in ("a1", "a2", "e1")]
        frames = np.concatenate([store.spectrograms.records[row].astype(np.float64) for row in rows], axis=1)
        found = sound_statistics(store)
        mean, std = frames.mean(axis=1), np.maximum(frames.std(axis=1), 0.01)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-5)
        np.testing.assert_allclose(found.std, std, rtol=1e-4)
        records = (store.spectrograms.records[rows].astype(np.float64) - mean[:, None]) / std[:, None]
        of_sounds = np.concatenate([records.mean(axis=2), records.std(axis=2)], axis=1)
        np.testing.assert_allclose(found.sound_mean, of_sounds.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(found.sound_std, np.maximum(of_sounds.std(axis=0), 0.1), rtol=1e-4)

    def test_a_deaf_model_has_no_audio(self, store):
        table = build_content_table(store, NoAudioEncoder.dim, None)
        batch = table.batch(torch.arange(len(table)))
        assert batch.audio.shape == (len(table), 0)
        assert not batch.has_audio.any()

    def test_only_trained_contents_have_a_delta(self, store):
        from functools import partial

        from towers.models.content_tower import ContentTower
        from towers.models.user_tower import UserTower

        two_tower = build_two_tower(
            store,
            NoAudioEncoder,
            partial(ContentTower, dim=8, hidden_dim=8, part_dropout=0.0, id_dropout=0.0, id_min_events=1, dropout=0.0),
            partial(UserTower, dim=8, num_layers=1, num_heads=1, dropout=0.0),
        )
        trained = store.content_ids[two_tower.content_tower.state_dict()["_is_trained"].numpy()].tolist()
        assert trained == ["a1", "a2", "a3", "e1", "u9"]  # b1 was only skipped, so it is never a target
