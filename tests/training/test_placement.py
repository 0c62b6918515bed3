"""Sound and metadata find the places that training found, and nobody with listeners moves."""

import numpy as np
import pytest
import torch

from towers.assembly import build_content_table, heard_by
from towers.data.training_batches import Share
from towers.training.embed import embed_contents, refresh_audio
from towers.training.placement import NoPlacement, Placement
from towers.training.ranks import Ranks

CROP_FRAMES = 25


@pytest.fixture
def rows(world_store):
    return torch.from_numpy(np.flatnonzero(world_store.train_positives > 0))


@pytest.fixture
def place(world_store, make_learner, rows):
    """Fits a fresh network to an untrained one of another seed, of which it knows nothing but the places."""

    def run(epochs=30, seed=0, **settings):
        learner, fresh = make_learner(seed=1), make_learner(seed=2).two_tower
        sounds = heard_by(learner.two_tower.audio_encoder, world_store)
        refresh_audio(learner.two_tower, learner.table, sounds.records, Ranks(Share()))
        before = embed_contents(learner.two_tower, learner.table).clone()
        placement = Placement(epochs=epochs, batch_size=16, lr=0.01, weight_decay=0.01)
        passes = []
        keywords = {
            "trained": learner.two_tower, "fresh": fresh, "table": learner.table, "sounds": sounds, "rows": rows,
            "crop_frames": CROP_FRAMES, "seed": seed, "passed": lambda done, total: passes.append((done, total)),
        }  # fmt: skip
        cosine = placement.fit(**{**keywords, **settings})
        return learner, before, cosine, passes

    return run


def test_contents_with_listeners_stay_where_they_were(place, rows):
    learner, before, cosine, passes = place(epochs=2)
    after = embed_contents(learner.two_tower, learner.table)
    torch.testing.assert_close(after[rows], before[rows], atol=1e-6, rtol=0)
    assert -1 <= cosine <= 1
    assert passes == [(1, 2), (2, 2)]


def test_the_others_stand_where_sound_and_metadata_say(place, rows, world_store):
    learner, before, _, _ = place(epochs=2)
    others = torch.from_numpy(np.flatnonzero(world_store.train_positives == 0))
    after = embed_contents(learner.two_tower, learner.table)[others]
    known = learner.two_tower.content_tower.eval().without_id(learner.table.batch(others))
    torch.testing.assert_close(after, torch.nn.functional.normalize(known, dim=-1), atol=1e-6, rtol=0)
    assert (after - before[others]).abs().amax(dim=1).min() > 1e-3


def test_the_table_holds_what_the_new_encoder_hears(place, world_store):
    learner, *_ = place(epochs=1)
    held = learner.table._audio_vectors.clone()
    refresh_audio(learner.two_tower, learner.table, world_store.spectrograms.records, Ranks(Share()))
    torch.testing.assert_close(learner.table._audio_vectors, held, atol=1e-6, rtol=0)


def test_more_passes_come_nearer(place):
    few, many = place(epochs=1)[2], place(epochs=40)[2]
    assert many > few + 0.05


def test_places_that_sound_alone_tells_are_found(place, world_store, make_learner, rows):
    """The fit hears: with the sounds of others, held-out contents are further from their places than with their own."""
    learner, before, cosine, _ = place(epochs=60)
    parts = learner.table.batch(rows)
    deaf = learner.two_tower.content_tower.without_id(
        learner.table.batch(rows).with_audio(torch.arange(len(rows)), parts.audio.roll(1, 0))
    )
    cosine_of_others = torch.nn.functional.cosine_similarity(deaf, before[rows]).mean()
    assert cosine > cosine_of_others + 0.01


def test_the_seed_fixes_everything(place):
    first, second, third = (place(epochs=2, seed=seed)[0].two_tower.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_no_generator_moves(make_learner, rows, world_store):
    learner, fresh = make_learner(seed=1), make_learner(seed=2).two_tower
    sounds = heard_by(learner.two_tower.audio_encoder, world_store)
    state = torch.get_rng_state()
    Placement(epochs=1, batch_size=16, lr=0.01, weight_decay=0.0).fit(
        learner.two_tower, fresh, learner.table, sounds, rows, CROP_FRAMES, 0, lambda *_: None
    )
    assert torch.equal(torch.get_rng_state(), state)


def test_without_sound_metadata_alone_places(world_store, make_learner, rows):
    learner, fresh = make_learner(seed=1), make_learner(seed=2)
    for tower in (learner.two_tower, fresh.two_tower):
        tower.content_tower._audio = None
    table = build_content_table(world_store, 0, None)
    before = embed_contents(learner.two_tower, table).clone()
    cosine = Placement(epochs=2, batch_size=16, lr=0.01, weight_decay=0.0).fit(
        learner.two_tower, fresh.two_tower, table, None, rows, CROP_FRAMES, 0, lambda *_: None
    )
    assert cosine is not None
    torch.testing.assert_close(embed_contents(learner.two_tower, table)[rows], before[rows], atol=1e-6, rtol=0)


def test_ids_alone_have_nothing_to_be_placed_by(place, make_learner):
    fresh = make_learner(seed=2).two_tower
    fresh.content_tower._fuse = None
    learner, _, cosine, passes = place(fresh=fresh)
    assert cosine is None
    assert not passes
    assert learner.two_tower.content_tower is not fresh.content_tower


def test_none_does_nothing(make_learner, rows):
    learner, fresh = make_learner(seed=1), make_learner(seed=2).two_tower
    tower = learner.two_tower.content_tower
    assert (
        NoPlacement().fit(learner.two_tower, fresh, learner.table, None, rows, CROP_FRAMES, 0, lambda *_: None) is None
    )
    assert learner.two_tower.content_tower is tower


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"weight_decay": float("nan")}])
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Placement(**{"epochs": 1, "batch_size": 1, "lr": 0.1, "weight_decay": 0.0, **wrong})
