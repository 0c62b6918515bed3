"""What only a CUDA device can show: bf16, and a step that never waits for it."""

import numpy as np
import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.unhooked]

OVERRIDES = ("logger=csv", "trainer.max_epochs=2", "trainer.validate_every_epochs=1", "trainer.progress=false")


@pytest.fixture
def loop(world_store, tmp_path):
    from towers.commands.train import build
    from towers.config import compose, instantiate

    config = compose("train", ["experiment=demo", "evaluation.min_users=2", *OVERRIDES])
    trainer = instantiate(config.trainer, "trainer")
    loop = build(config, world_store, tmp_path, trainer, trainer.launch())
    loop.resume()
    return loop


def test_trains_in_bf16_and_validates(loop) -> None:
    progress = loop.run()
    assert torch.is_autocast_enabled("cuda") is False
    assert next(loop._learner.parameters()).device.type == "cuda"
    assert np.isfinite(loop._loss)
    assert 0 <= progress.metrics["validation/recall@20"] <= 1


def test_states_are_bf16_inside(loop) -> None:
    batch = next(iter(loop._batches(0, 0))).to("cuda")
    two_tower, found = loop._learner.two_tower, []
    two_tower.user_tower._content.register_forward_hook(lambda module, arguments, out: found.append(out.dtype))
    (micro,) = batch.micro_batches
    with loop._precision:
        vectors = two_tower.encode_contents(loop._learner.table.batch(batch.content_rows))
        states = two_tower.encode_states(micro.histories, vectors, micro.targets.position)
    assert found == [torch.bfloat16]
    assert torch.isfinite(states).all()


def test_a_step_never_waits_for_the_device(loop) -> None:
    from towers.training.stopping import StopRequest

    loop._learner.train()
    batches = [batch.to("cuda") for batch in loop._batches(0, 0)]
    loop._step(batches[0], StopRequest())
    loop._reports.rest()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loop._step(batches[-1], StopRequest())
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_gradient_that_is_not_finite_moves_no_weight(loop) -> None:
    from towers.training.optimizing import advance

    parameters = list(loop._learner.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, float("nan"))
    advance(loop._optimizer, torch.tensor(False, device="cuda"))
    assert all(torch.equal(one, other) for one, other in zip(before, parameters, strict=True))
