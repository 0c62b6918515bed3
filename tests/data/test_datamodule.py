"""Batches for training and validation."""

import numpy as np
import pytest
import torch

from towers.batch import TrainingBatch
from towers.data.batches import BatchPlan, Windows
from towers.data.datamodule import DataModule, TrainingBatches, UserBatches
from towers.schema import SKIP
from towers.training.negatives import AllTrained, InBatchAndUniform


def whole_training(store):
    """One batch of everybody's whole training history."""
    histories = store.histories
    users = np.arange(histories.num_users)
    windows = Windows(user_rows=users, start=histories.offsets[:-1], end=histories.train_end)
    return BatchPlan(windows=windows, seed=(0, 0, 0))


@pytest.fixture(scope="module")
def make(store):
    def batches(candidates=None, num_fresh_sounds=0, crop_frames=20, repeat_weight=0.25, lookahead=1):
        return TrainingBatches(
            store,
            candidates or AllTrained(store.train_positives),
            repeat_weight,
            lookahead,
            num_fresh_sounds,
            crop_frames,
        )

    return batches


@pytest.fixture(scope="module")
def batch(store, make) -> TrainingBatch:
    return make()[whole_training(store)]


class TestTargets:
    def test_by_hand(self, store, batch):
        """ann: play a1, like a1, play u9, save e1; ben: play a2, play a3."""
        ids = store.content_ids[batch.content_rows[batch.target_index].numpy()].tolist()
        assert ids == ["a1", "a1", "u9", "e1", "a2", "a3"]
        assert batch.target_weight.tolist() == [1, 0.25, 1, 1, 1, 1]
        tokens = batch.histories.action.shape[1] + 1
        # The state that predicts event i is token i: it has seen what came before.
        assert batch.target_position.tolist() == [0, 2, 4, 5, tokens + 1, tokens + 3]

    def test_a_target_is_the_event_behind_its_position(self, batch):
        tokens = batch.histories.action.shape[1] + 1
        windows, events = batch.target_position // tokens, batch.target_position % tokens
        assert torch.equal(batch.histories.content_index[windows, events], batch.target_index)

    def test_skips_are_never_targets(self, world_store):
        batches = TrainingBatches(world_store, AllTrained(world_store.train_positives), 0.2, 1, 0, 1)
        batch = batches[whole_training(world_store)]
        tokens = batch.histories.action.shape[1] + 1
        actions = batch.histories.action[batch.target_position // tokens, batch.target_position % tokens]
        assert (batch.histories.action == SKIP).any()
        assert not (actions == SKIP).any()

    def test_repeats_weigh_what_they_are_told_to(self, world_store):
        batches = TrainingBatches(world_store, AllTrained(world_store.train_positives), 0.125, 1, 0, 1)
        batch = batches[whole_training(world_store)]
        tokens = batch.histories.action.shape[1] + 1
        seen = set()
        pairs = zip((batch.target_position // tokens).tolist(), batch.target_index.tolist(), strict=True)
        for pair, weight in zip(pairs, batch.target_weight.tolist(), strict=True):
            assert weight == (0.125 if pair in seen else 1)
            seen.add(pair)

    def test_with_lookahead_an_earlier_state_predicts_it(self, store, make):
        close, far = make()[whole_training(store)], make(lookahead=3)[whole_training(store)]
        tokens = close.histories.action.shape[1] + 1
        assert torch.equal(close.target_index, far.target_index)
        assert torch.equal(close.target_position // tokens, far.target_position // tokens)
        earlier = close.target_position - far.target_position
        assert earlier.min() >= 0
        assert 0 < earlier.max() <= 2


class TestContents:
    def test_rows_are_unique_and_rise(self, batch):
        assert (batch.content_rows.diff() > 0).all()

    def test_an_index_points_at_the_events_content(self, store, batch):
        histories = store.histories
        for user in range(histories.num_users):
            expected = histories.content_row[histories.offsets[user] : histories.train_end[user]]
            index = batch.histories.content_index[user, : len(expected)]
            found = [-1 if place < 0 else int(batch.content_rows[place]) for place in index.tolist()]
            assert found == expected.tolist()

    def test_an_index_of_a_random_window_points_at_the_events_content(self, world_store):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        data = _datamodule(world_store, candidates)
        content_rows = np.asarray(world_store.histories.content_row)
        loader = data.train_dataloader()
        for plan, batch in zip(loader.sampler, loader, strict=True):
            for row, (start, end) in enumerate(zip(plan.windows.start, plan.windows.end, strict=True)):
                index = batch.histories.content_index[row, : end - start]
                found = torch.where(index < 0, -1, batch.content_rows[index])
                assert found.tolist() == content_rows[start:end].tolist()

    def test_candidates_are_what_the_sampler_gave(self, store, batch):
        trained = np.flatnonzero(store.train_positives > 0)
        assert batch.content_rows[batch.candidate_index].tolist() == trained.tolist()
        assert batch.candidate_log_q.tolist() == [0] * len(trained)

    def test_contents_of_later_periods_are_not_there(self, store, batch):
        """a4 is heard after the first cut alone."""
        assert "a4" not in store.content_ids[batch.content_rows.numpy()].tolist()


class TestFreshSounds:
    def test_crops_are_of_the_right_record(self, store, make):
        batch = make(num_fresh_sounds=3)[whole_training(store)]
        assert batch.fresh_spectrograms.shape == (3, 16, 20)
        rows = batch.content_rows[batch.fresh_index].tolist()
        assert len(set(rows)) == 3
        for row, crop in zip(rows, batch.fresh_spectrograms.numpy(), strict=True):
            record = store.spectrograms.records[store.audio_rows[row]].astype(np.float32)
            assert any(np.array_equal(crop, record[:, start : start + 20]) for start in range(81))

    def test_no_more_than_there_are(self, store, make):
        batch = make(num_fresh_sounds=100)[whole_training(store)]
        assert sorted(store.content_ids[batch.content_rows[batch.fresh_index].numpy()]) == ["a1", "a2", "e1"]

    def test_no_longer_than_the_record(self, store, make):
        assert make(num_fresh_sounds=1, crop_frames=1_000)[whole_training(store)].fresh_spectrograms.shape[2] == 100

    def test_none(self, store, make):
        batch = make(num_fresh_sounds=0)[whole_training(store)]
        assert len(batch.fresh_index) == 0
        assert len(batch.fresh_spectrograms) == 0


def test_the_plans_seed_fixes_the_batch(store, make):
    def drawn(seed):
        candidates = InBatchAndUniform(store.train_positives, num_uniform=2, in_batch=False)
        plan = BatchPlan(windows=whole_training(store).windows, seed=seed)
        batch = make(candidates, num_fresh_sounds=2)[plan]
        return batch.content_rows[batch.candidate_index].tolist(), batch.fresh_spectrograms

    (rows, crops), (same_rows, same_crops) = drawn((1, 2, 3)), drawn((1, 2, 3))
    assert rows == same_rows
    assert torch.equal(crops, same_crops)
    others = [drawn((1, 2, number)) for number in range(4, 12)]
    assert any(other_rows != rows for other_rows, _ in others)
    assert any(not torch.equal(other_crops, crops) for _, other_crops in others)


def _datamodule(store, candidates, validation_users=(), **settings):
    keywords = {
        "has_sound": True, "seed": 0, "max_length": 15, "max_tokens": 300, "repeat_weight": 0.2,
        "lookahead": 1, "num_fresh_sounds": 4, "crop_s": 0.5, "num_workers": 0, **settings,
    }  # fmt: skip
    return DataModule(store=store, candidates=candidates, validation_users=np.array(validation_users, int), **keywords)


class TestDataModule:
    def test_the_crop_is_given_in_seconds(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives))
        batch = next(iter(data.train_dataloader()))
        assert batch.fresh_spectrograms.shape == (4, 16, 50)

    def test_a_deaf_model_is_sent_no_sound(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives), has_sound=False)
        assert all(len(batch.fresh_index) == 0 for batch in data.train_dataloader())

    def test_an_epoch_holds_every_target_once(self, world_store):
        data = _datamodule(world_store, AllTrained(world_store.train_positives))
        found = sum(len(batch.target_index) for batch in data.train_dataloader())
        assert found == world_store.train_positives.sum()

    @pytest.mark.unhooked
    def test_processes_beside_draw_the_same(self, world_store):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        alone = list(_datamodule(world_store, candidates).train_dataloader())
        beside = list(_datamodule(world_store, candidates, num_workers=1).train_dataloader())
        assert len(alone) == len(beside)
        for one, other in zip(alone, beside, strict=True):
            assert torch.equal(one.candidate_index, other.candidate_index)
            assert torch.equal(one.fresh_spectrograms, other.fresh_spectrograms)
            assert torch.equal(one.histories.elapsed, other.histories.elapsed)

    def test_validation_sees_what_came_before_the_cut_and_no_more(self, store):
        users = [0, 1, 3]  # ann, ben, eve
        data = _datamodule(store, AllTrained(store.train_positives), users, max_length=3)
        (batch,) = data.val_dataloader()
        ids = [*store.content_ids.tolist(), None]
        found = [[ids[place] for place in row] for row in batch.content_index.tolist()]
        assert found == [["u9", "e1", "a1"], ["a2", "b1", "a3"], [None, None, None]]
        assert batch.lengths.tolist() == [3, 3, 0]

    def test_validation_keeps_the_order_of_the_listeners(self, world_store):
        users = np.random.default_rng(0).permutation(world_store.histories.num_users)[:10]
        end = world_store.histories.test_start
        batches = UserBatches(world_store, end, users, max_length=200, max_tokens=150)
        assert len(batches) > 1
        lengths = torch.cat([batch.lengths for batch in batches]).tolist()
        assert lengths == (end[users] - world_store.histories.offsets[users]).tolist()


def test_batches_move(store, batch):
    moved = batch.to("cpu")
    assert torch.equal(moved.histories.action, batch.histories.action)
    assert torch.equal(moved.to("meta").histories.lengths.new_zeros(1, device="cpu"), torch.zeros(1, dtype=torch.int64))
