"""The batches of a whole training, and of validation."""

import numpy as np
import pytest
import torch

from tests.data.batch_contents import everything, loaders, rows_at
from towers.data.loaders import UserBatches
from towers.training.objectives.negatives import AllTrained, InBatchAndUniform


class TestLoaders:
    def test_the_crop_is_given_in_seconds(self, world_store):
        data = loaders(world_store, AllTrained(world_store.train_positives))
        batch = next(iter(data.training(2)))
        assert batch.fresh_spectrograms.shape == (4, 16, 50)

    def test_a_deaf_model_is_sent_no_sound(self, world_store):
        data = loaders(world_store, AllTrained(world_store.train_positives), sounds=None)
        assert all(len(batch.fresh_index) == 0 for batch in data.training(2))

    def test_every_epoch_holds_every_target_once(self, world_store):
        positives = world_store.train_positives
        found = np.zeros((3, len(positives)), np.int64)
        for batch in loaders(world_store, AllTrained(positives)).training(3):
            (part,) = batch.micro_batches
            assert rows_at(batch, part.targets.index) == batch.target_rows.tolist()
            np.add.at(found[batch.epoch], batch.target_rows.numpy(), 1)
        assert (found == positives).all()

    @pytest.mark.parametrize("number", [0, 2])
    def test_a_run_goes_on_where_it_is_told_to(self, world_store, number):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        data = loaders(world_store, candidates)
        whole, rest = data.training(2), data.training(2, 1, number)
        expected = [everything(batch) for batch in whole if (batch.epoch, batch.number) >= (1, number)]
        assert len(expected) > 1
        assert [everything(batch) for batch in rest] == expected

    @pytest.mark.unhooked
    def test_processes_beside_draw_the_same(self, world_store):
        candidates = InBatchAndUniform(world_store.train_positives, num_uniform=5, in_batch=True)
        keywords = {"lookahead": 3, "num_rejections": 2}
        alone = loaders(world_store, candidates, **keywords).training(2, 0, 1)
        beside = loaders(world_store, candidates, num_workers=1, **keywords).training(2, 0, 1)
        for one, other in zip(alone, beside, strict=True):
            assert everything(one) == everything(other)

    def test_validation_sees_what_came_before_the_cut_and_no_more(self, store):
        users = [0, 1, 3]  # ann, ben, eve
        data = loaders(store, AllTrained(store.train_positives), users, max_length=3)
        (batch,) = data.validation()
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
