"""A step in bfloat16 beside the same in float32, on the CPU, whose autocast rounds where a GPU's does."""

import contextlib

import pytest
import torch
from torch.nn.functional import cosine_similarity

from towers.data.training_batches import Share
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient

pytestmark = pytest.mark.unhooked

LOSS, WHOLE, PART = 0.01, 0.9999, 0.999
"""Bounds: of the loss, relative; of the cosine between the whole gradients; and between those of each parameter that
bears a hundredth of the gradient's length."""


def gradient(learner, batch, precision):
    learner.zero_grad()
    loss, _ = accumulate_gradient(learner, batch, Processes(Share()), precision)
    return loss, {
        name: part.grad.flatten().clone() for name, part in learner.named_parameters() if part.grad is not None
    }


@pytest.mark.parametrize("name", ["exact_softmax", "logq_softmax", "gbce"])
def test_loss_and_gradient_are_those_of_float32(make_learner, make_objective, make_data, name):
    learner = make_learner(dropout=0.0, objective=make_objective(name))
    batch = next(iter(make_data(learner.objective, max_tokens=1_000).training(1)))
    loss, exact = gradient(learner, batch, contextlib.nullcontext())
    half_loss, half = gradient(learner, batch, torch.autocast("cpu", torch.bfloat16))
    assert half_loss != loss  # it has been rounded
    torch.testing.assert_close(half_loss, loss, rtol=LOSS, atol=0)
    whole, half_whole = (torch.cat([*parts.values()]) for parts in (exact, half))
    assert all(part.dtype == torch.float32 for part in half.values())
    assert cosine_similarity(whole, half_whole, dim=0) > WHOLE
    for key, part in exact.items():
        if part.norm() > whole.norm() / 100:
            assert cosine_similarity(part, half[key], dim=0) > PART, key
