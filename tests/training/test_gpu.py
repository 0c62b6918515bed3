"""What only a CUDA device can show: bf16, and a step that never waits for it."""

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.unhooked]


@pytest.fixture
def parts(world_store, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from towers.commands.train import build
    from towers.config import compose

    overrides = ("logger=csv", "trainer.max_epochs=2", "trainer.validate_every_epochs=1", "trainer.progress=false")
    config = compose("train", ["experiment=demo", "evaluation.min_users=2", *overrides])
    return build(config, world_store, tmp_path)


def test_trains_in_bf16_and_validates(parts) -> None:
    trainer, module, data = parts
    trainer.fit(module, datamodule=data)
    assert trainer.precision == "bf16-mixed"
    assert np.isfinite(float(trainer.callback_metrics["loss"]))
    assert 0 <= float(trainer.callback_metrics["validation/recall@20"]) <= 1


def test_a_step_never_waits_for_the_device(parts) -> None:
    _, module, data = parts
    module.cuda()
    module.log = lambda *arguments, **keywords: None
    batches = [batch.pin_memory().to("cuda") for batch in data.train_dataloader()]
    module.training_step(batches[0], 0).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        module.training_step(batches[-1], 1).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
