"""Placement moves untrained contents to the places that training found, and no content with listeners."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from towers.assembly.network import heard_by, network_parts
from towers.config.composing import compose
from towers.data.training_batches import Share
from towers.models.audio.encoder import ConvAudioEncoder, NoAudioEncoder, StatisticsAudioEncoder
from towers.models.content_tower import ContentTower
from towers.models.rows import WHOLE
from towers.training.embed import embed_contents, refresh_audio
from towers.training.placement import NoPlacement, Placement
from towers.training.processes import Processes

CROP_FRAMES = 25


@pytest.fixture
def rows(world_store):
    return torch.from_numpy(np.flatnonzero(world_store.train_positives > 0))


@pytest.fixture
def place(world_store, make_learner, rows):
    """Fits a fresh network to the places of an untrained one with another seed."""

    def run(epochs=30, seed=0, **settings):
        trained, placed = make_learner(seed=1), make_learner(seed=2)
        sounds = heard_by(trained.two_tower.audio_encoder, world_store)
        refresh_audio(trained.two_tower, trained.table, sounds.records, Processes(Share()))
        before = embed_contents(trained.two_tower, trained.table).clone()
        placement = Placement(audio_encoder=None, epochs=epochs, batch_size=16, lr=0.01, weight_decay=0.01)
        passes = []
        keywords = {
            "trained": trained, "placed": placed, "sounds": sounds, "placed_sounds": sounds, "rows": rows,
            "crop_frames": CROP_FRAMES, "seed": seed, "passed": lambda done, total: passes.append((done, total)),
        }  # fmt: skip
        keywords |= settings
        return keywords["placed"], before, placement.fit(**keywords), passes

    return run


def vectors_of(learner):
    return embed_contents(learner.two_tower, learner.table)


def test_where_no_content_has_a_delta_nothing_is_placed(place, rows):
    """This happens with `id_min_events` above every content's count: sound and metadata are trained to say it all."""
    _, _, cosine, passes = place(rows=rows[:0])
    assert cosine is None
    assert passes == []


def test_contents_with_listeners_stay_where_they_were(place, rows):
    placed, before, cosine, passes = place(epochs=2)
    torch.testing.assert_close(vectors_of(placed)[rows], before[rows], atol=1e-6, rtol=0)
    assert -1 <= cosine <= 1
    assert passes == [(1, 2), (2, 2)]


def test_the_others_stand_where_sound_and_metadata_say(place, world_store):
    placed, before, _, _ = place(epochs=2)
    others = torch.from_numpy(np.flatnonzero(world_store.train_positives == 0))
    after = vectors_of(placed)[others]
    known = placed.two_tower.content_tower.eval().without_id(placed.table.batch(others))
    torch.testing.assert_close(after, torch.nn.functional.normalize(known, dim=-1), atol=1e-6, rtol=0)
    assert (after - before[others]).abs().amax(dim=1).min() > 1e-3


def test_listeners_are_encoded_as_before(place, make_learner):
    trained, placed = make_learner(seed=1), make_learner(seed=2)
    place(epochs=1, trained=trained, placed=placed)
    assert placed.two_tower.user_tower is trained.two_tower.user_tower


def test_the_table_holds_what_the_new_encoder_hears(place, world_store):
    placed, *_ = place(epochs=1)
    held = placed.table.state_dict()["_audio_vectors"].clone()
    refresh_audio(placed.two_tower, placed.table, world_store.spectrograms.records, Processes(Share()))
    torch.testing.assert_close(placed.table.state_dict()["_audio_vectors"], held, atol=1e-6, rtol=0)


def test_more_passes_come_nearer(place):
    few, many = place(epochs=1)[2], place(epochs=40)[2]
    assert many > few + 0.05


def test_sound_is_heard(place, rows):
    """With the sounds of others, contents are further from their places than with their own."""
    placed, before, cosine, _ = place(epochs=60)
    contents = placed.table.batch(rows)
    others = contents.with_audio(torch.arange(len(rows)), contents.audio.roll(1, 0))
    mistaken = torch.nn.functional.cosine_similarity(placed.two_tower.content_tower.without_id(others), before[rows])
    assert cosine > mistaken.mean() + 0.01


def test_by_another_encoder_that_does_not_learn(place, make_learner, rows, world_store):
    """The other encoder's vectors have another size, and are there before the first step."""
    placed = make_learner(seed=2, audio_encoder=StatisticsAudioEncoder)
    placed, before, cosine, _ = place(epochs=40, placed=placed)
    assert placed.two_tower.audio_encoder.dim == 2 * world_store.spectrograms.records.shape[1]
    assert cosine > place(epochs=1)[2]
    torch.testing.assert_close(vectors_of(placed)[rows], before[rows], atol=1e-6, rtol=0)


def test_the_seed_fixes_everything(place):
    first, second, third = (place(epochs=2, seed=seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_no_generator_moves(make_learner, rows, world_store):
    trained, placed = make_learner(seed=1), make_learner(seed=2)
    sounds, state = heard_by(trained.two_tower.audio_encoder, world_store), torch.get_rng_state()
    Placement(audio_encoder=None, epochs=1, batch_size=16, lr=0.01, weight_decay=0.0).fit(
        trained, placed, sounds, sounds, rows, CROP_FRAMES, 0, lambda *_: None
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_without_sound_metadata_alone_places(world_store, make_learner, place, rows):
    trained, placed = (make_learner(seed=seed, audio_encoder=NoAudioEncoder) for seed in (1, 2))
    before = vectors_of(trained).clone()
    placed, _, cosine, _ = place(epochs=2, trained=trained, placed=placed, sounds=None, placed_sounds=None)
    assert cosine is not None
    torch.testing.assert_close(vectors_of(placed)[rows], before[rows], atol=1e-6, rtol=0)


def test_ids_alone_have_nothing_to_be_placed_by(world_store, place, make_learner):
    placed = make_learner(seed=2)
    is_trained = torch.from_numpy(world_store.train_positives > 0)
    placed.two_tower.content_tower = ContentTower(
        {},
        0,
        False,
        is_trained.long(),
        WHOLE,
        dim=16,
        hidden_dim=8,
        part_dropout=0.0,
        id_dropout=0.0,
        id_min_events=1,
        dropout=0.0,
    )
    _, _, cosine, passes = place(placed=placed)
    assert cosine is None
    assert not passes


def test_none_does_nothing(make_learner, rows):
    trained, placed = make_learner(seed=1), make_learner(seed=2)
    expected = {name: value.clone() for name, value in placed.state_dict().items()}
    assert NoPlacement(None).fit(trained, placed, None, None, rows, CROP_FRAMES, 0, lambda *_: None) is None
    assert all(torch.equal(placed.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"weight_decay": float("nan")}])
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Placement(**{"audio_encoder": None, "epochs": 1, "batch_size": 1, "lr": 0.1, "weight_decay": 0.0, **wrong})


class TestNetworkOf:
    @pytest.mark.parametrize(("encoder", "expected"), [("conv", StatisticsAudioEncoder), ("none", NoAudioEncoder)])
    def test_an_encoder_that_learns_may_be_replaced(self, world_store, encoder, expected):
        overrides = ["experiment=catalogue", f"audio_encoder={encoder}", "features.content_parts=[]"]
        placed = network_parts(compose("train", overrides)).build(world_store, is_placed=True)
        assert type(placed.audio_encoder) is expected

    def test_only_by_what_is_named(self, world_store):
        config = compose("train", ["experiment=catalogue", "placement.audio_encoder=null"])
        assert type(network_parts(config).build(world_store, is_placed=True).audio_encoder) is ConvAudioEncoder
        config = compose("train", ["experiment=catalogue"])
        assert type(network_parts(config).build(world_store).audio_encoder) is ConvAudioEncoder

    def test_a_run_of_before_does_not_know_of_placement(self, world_store):
        config = OmegaConf.create(OmegaConf.to_container(compose("train", ["experiment=catalogue"]), resolve=True))
        config.placement = {}
        assert type(network_parts(config).build(world_store).audio_encoder) is ConvAudioEncoder
