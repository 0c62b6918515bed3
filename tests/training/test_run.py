"""Two epochs on the tiny world: the loss falls, a seed fixes every bit, and every part learns."""

import numpy as np
import pytest
import torch

from tests.training.conftest import assert_same_run
from tests.training.stops import At, Killed, die
from towers.data.loaders import UserBatches
from towers.errors import Unreachable
from towers.training.checkpoints import load_weights
from towers.training.embed import embed_contents, embed_users
from towers.training.run_folder import BEST, LAST, alone_in


class TestARun:
    def test_the_loss_falls(self, trained):
        assert trained.after < 0.9 * trained.before

    def test_validation_is_logged_and_the_checkpoints_are_there(self, trained):
        assert {path.name for path in trained.folder.iterdir()} == {BEST, LAST, "metrics.csv"}
        validations = [row for row in trained.rows if row["validation/ndcg@5"]]
        assert [row["epoch"] for row in validations] == ["1.0", "2.0"]
        assert all(0 <= float(row["validation/ndcg@5"]) <= 1 for row in validations)

    def test_the_best_checkpoint_is_the_best_validations(self, trained):
        figures = [float(row["validation/ndcg@5"]) for row in trained.rows if row["validation/ndcg@5"]]
        assert trained.progress.best == pytest.approx(max(figures))
        assert trained.progress.best_epoch == 1 + figures.index(max(figures))
        assert torch.load(trained.folder / BEST, weights_only=True)["progress"]["best"] == trained.progress.best

    def test_checkpoints_load_without_pickles(self, trained):
        found = load_weights(trained.folder / LAST)
        assert found.keys() == trained.tensors.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in trained.tensors.items())

    def test_the_same_seed_gives_the_same_bits(self, trained, make_run, tmp_path):
        run = make_run(tmp_path)
        run.train()
        assert_same_run(run, trained)

    def test_another_seed_gives_other_bits(self, make_run, tmp_path):
        one, other = make_run(tmp_path, 0).tensors(), make_run(tmp_path, 1).tensors()
        assert any(not torch.equal(one[name], other[name]) for name in one)

    def test_vectors_rank_what_they_were_trained_on(self, trained, world_store):
        """The test is no claim of quality: rows of vectors and rows of the store belong together."""
        histories = world_store.histories
        users = np.arange(histories.num_users)
        vectors = embed_contents(trained.learner.two_tower, trained.learner.table)
        batches = UserBatches(world_store, histories.train_end, users, max_length=20, max_tokens=200)
        scores = embed_users(trained.learner.two_tower, batches, vectors) @ vectors.numpy().T
        heard = np.zeros(scores.shape, dtype=bool)
        for user in users:
            events = slice(histories.offsets[user], histories.train_end[user])
            heard[user, histories.content_row[events][histories.is_positive[events]]] = True
        trained_rows = world_store.train_positives > 0
        assert scores[heard].mean() > scores[~heard & trained_rows].mean() + 0.02

    def test_the_csv_has_one_row_a_logged_step(self, trained):
        steps = [int(row["step"]) for row in trained.rows]
        assert steps == sorted(steps)
        assert steps[-1] == trained.steps


def test_the_last_epoch_is_validated_whatever_the_others_are(make_run, tmp_path):
    run = make_run(tmp_path, max_epochs=3, validate_every_epochs=2)
    run.train()
    assert [row["epoch"] for row in run.rows() if row["validation/ndcg@5"]] == ["2.0", "3.0"]


def test_without_anything_to_judge_by_there_is_no_best(make_run, tmp_path):
    run = make_run(tmp_path, judge=None)
    progress = run.train()
    assert (progress.best, progress.metrics.keys()) == (None, {"audio/staleness", "audio/staleness_max"})
    assert {path.name for path in tmp_path.iterdir()} == {LAST, "metrics.csv"}


class TestEarlyStopping:
    def test_ends_after_some_validations_without_a_better_one(self, make_run, tmp_path):
        figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
        run = make_run(tmp_path, judge=lambda *_: {"ndcg@5": next(figures)}, patience=2, max_epochs=5)
        progress = run.train()
        assert (progress.epoch, progress.best, progress.best_epoch) == (4, 0.3, 2)
        assert torch.load(tmp_path / BEST, weights_only=True)["progress"]["best_epoch"] == 2

    def test_a_run_that_ended_early_does_not_go_on(self, make_run, tmp_path):
        for _ in range(2):
            run = make_run(tmp_path, judge=lambda *_: {"ndcg@5": 0.5}, patience=1, max_epochs=5)
            assert run.train().epoch == 2

    def test_patience_outlives_a_stop(self, make_run, tmp_path):
        """A run that was stopped after its first validation ends after the third, as if it had not been."""
        settings = {"patience": 2, "max_epochs": 5, "judge": lambda *_: {"ndcg@5": 0.5}}
        with pytest.raises(Killed):
            make_run(tmp_path, callbacks=[At("on_train_batch_start", 15, die)], **settings).train()
        assert make_run(tmp_path, **settings).train().epoch == 3


def test_a_validation_that_is_not_finite_is_not_the_best(make_run, tmp_path):
    figures = iter([float("nan"), 0.2])
    run = make_run(tmp_path, judge=lambda *_: {"ndcg@5": next(figures)})
    progress = run.train()
    assert (progress.best, progress.best_epoch) == (0.2, 2)
    assert torch.load(tmp_path / BEST, weights_only=True)["progress"]["best_epoch"] == 2


def test_the_best_is_known_where_the_folder_has_moved_to(make_run, tmp_path):
    """A disk is mounted at another path, between the best validation and a worse one."""
    figures = iter([0.9, 0.1, 0.2])
    settings = {"judge": lambda *_: {"ndcg@5": next(figures)}, "max_epochs": 3}
    with pytest.raises(Killed):
        make_run(tmp_path / "before", callbacks=[At("on_train_batch_start", 15, die)], **settings).train()
    (tmp_path / "before").rename(tmp_path / "after")
    assert make_run(tmp_path / "after", **settings).train().best_epoch == 1
    assert torch.load(tmp_path / "after" / BEST, weights_only=True)["progress"]["best_epoch"] == 1
    assert not (tmp_path / "before").exists()


def test_no_finite_validation_leaves_no_best(make_run, tmp_path):
    make_run(tmp_path, judge=lambda *_: {"ndcg@5": float("nan")}).train()
    assert not (tmp_path / BEST).exists()


def test_a_folder_belongs_to_one_process(tmp_path):
    with alone_in(tmp_path), pytest.raises(Unreachable, match="another process is training there"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass
