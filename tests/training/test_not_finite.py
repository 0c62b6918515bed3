"""Losses and gradients that are not finite move no weight."""

from dataclasses import replace

import pytest
import torch

from towers.errors import UserError
from towers.training.checkpoints import load_weights
from towers.training.run_folder import LAST


def poisoned(*bad):
    """Returns batches of which some have a weight that is not finite."""

    def of(batches):
        def wrapped(*arguments):
            for batch in batches(*arguments):
                is_bad = (batch.epoch, batch.number) in bad
                yield replace(batch, total_weight=torch.tensor(float("nan"))) if is_bad else batch

        return wrapped

    return of


def test_the_run_ends_before_the_weights_move_and_names_the_batch(make_run, tmp_path):
    run = make_run(tmp_path, batches=poisoned((0, 2)), checkpoint_every_s=0.0)
    with pytest.raises(UserError, match=r"batch 2 of epoch 0 \(step 3\): .*not finite, so no weight was moved"):
        run.train()
    assert torch.load(tmp_path / LAST, weights_only=True)["progress"]["step"] == 2
    saved = load_weights(tmp_path / LAST)
    # The sounds of the bad batch are not there either.
    assert all(torch.equal(tensor, saved[name]) for name, tensor in run.tensors().items())


def test_a_gradient_alone_that_is_not_finite(make_run, tmp_path):
    """The loss is finite."""
    run = make_run(tmp_path)
    weight = dict(run.learner.named_parameters())["two_tower.user_tower._out.weight"]
    weight.register_hook(lambda gradient: gradient * (float("inf") if run.module.progress.step == 2 else 1.0))
    before = run.tensors()
    with pytest.raises(UserError, match=r"\(step 3\): loss \d+\.\d+, gradient norm (inf|nan): not finite"):
        run.train()
    after = run.tensors()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_such_batches_may_be_left_out_and_are_counted(make_run, tmp_path):
    run = make_run(tmp_path, batches=poisoned((0, 2), (1, 1)), max_skipped=2)
    assert run.train().skipped == 2
    assert all(torch.isfinite(tensor).all() for tensor in run.tensors().values())


def test_but_one_more_ends_the_run(make_run, tmp_path):
    with pytest.raises(UserError, match=r"batch 1 of epoch 1 .*trainer\.max_skipped=2"):
        make_run(tmp_path, batches=poisoned((0, 2), (1, 1)), max_skipped=1).train()
