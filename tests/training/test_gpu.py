"""Tests that need a CUDA device: bf16, and a step that never waits for it."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.unhooked]

OVERRIDES = ("logger=csv", "trainer.max_epochs=2", "trainer.validate_every_epochs=1", "trainer.progress=false")


@pytest.fixture
def train(world_store, tmp_path):
    """Trains the demo's network with one more callback, and returns the module."""
    from towers.assembly.training import build, training_plan
    from towers.config.composing import compose
    from towers.training.stopping import StopRequest
    from towers.training.trainer import fit

    def run(callback):
        config = compose("train", ["experiment=demo", "evaluation.min_users=2", *OVERRIDES])
        plan, stop = training_plan(config, world_store), StopRequest()
        trainer = plan.lightning(tmp_path, stop)
        trainer.callbacks.insert(0, callback)
        parts = build(plan, plan.trainer.share_of(0, 1))
        fit(trainer, parts.module, parts.data, stop)
        return parts.module

    return run


class Watched(pl.Callback):
    """Records the device of the module and the type of its states, and that a step does not wait."""

    def __init__(self):
        self.devices, self.types = set(), set()

    def on_train_start(self, trainer, pl_module):
        tower = pl_module.learner.two_tower.user_tower
        self._hook = tower.register_forward_hook(lambda *_: self.types.add(torch.get_autocast_dtype("cuda")))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.devices.add(pl_module.device.type)
        if pl_module.progress.step % 5 == 4:  # neither the first, which warms up, nor one that writes a row
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        torch.cuda.set_sync_debug_mode("default")


def test_trains_in_bf16_validates_and_never_waits_for_the_device(train) -> None:
    watched = Watched()
    module = train(watched)
    assert watched.devices == {"cuda"}
    assert watched.types == {torch.bfloat16}
    assert torch.is_autocast_enabled("cuda") is False
    assert np.isfinite(module.loss)
    assert 0 <= module.progress.metrics["validation/recall@20"] <= 1


def test_a_gradient_that_is_not_finite_moves_no_weight() -> None:
    from towers.training.optimizing import advance

    parameter = torch.nn.Parameter(torch.ones(3, device="cuda"))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.grad = torch.full_like(parameter, float("nan"))
    advance(optimizer, torch.tensor(False, device="cuda"), optimizer.step)
    assert torch.equal(parameter, torch.ones_like(parameter))
