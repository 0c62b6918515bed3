"""The gradient of a step is the same for any split, and reaches every part."""

import contextlib

import pytest
import torch

from towers.data.training_batches import Share
from towers.training.optimizing import adamw
from towers.training.processes import Processes
from towers.training.step import accumulate_gradient


def gradients(learner, batch, share=None):
    learner.zero_grad(set_to_none=True)
    loss, fresh = accumulate_gradient(learner, batch, Processes(share or Share()), contextlib.nullcontext())
    found = {name: parameter.grad for name, parameter in learner.named_parameters() if parameter.grad is not None}
    return loss, fresh, found


def first_batch(make_data, learner, **share):
    return next(iter(make_data(learner.objective, share=Share(**share)).training(1)))


@pytest.mark.parametrize("parts", [2, 3, 8, 1_000])
def test_micro_batches_add_up_to_the_whole(make_learner, make_data, parts):
    learner = make_learner(dropout=0.0)
    loss, _, whole = gradients(learner, first_batch(make_data, learner))
    cut_batch = first_batch(make_data, learner, micro_batches=parts)
    assert len(cut_batch.micro_batches) > 1
    cut_loss, _, cut = gradients(learner, cut_batch)
    torch.testing.assert_close(cut_loss, loss)
    assert cut.keys() == whole.keys()
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], atol=1e-6, rtol=1e-4)


def test_every_part_gets_a_gradient(make_learner, make_data):
    learner = make_learner()
    for batch in make_data(learner.objective).training(1):
        accumulate_gradient(learner, batch, Processes(Share()), contextlib.nullcontext())
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_fresh_sound_is_given_back_and_not_yet_remembered(make_learner, make_data):
    learner = make_learner()
    batch = first_batch(make_data, learner)
    _, fresh, _ = gradients(learner, batch)
    assert torch.equal(fresh.content_rows, batch.content_rows[batch.fresh_index])
    assert (learner.table.batch(fresh.content_rows).audio == 0).all()
    learner.table.remember(fresh.content_rows, fresh.vectors, torch.tensor(True))
    assert torch.equal(learner.table.batch(fresh.content_rows).audio, fresh.vectors)


def test_only_matrices_of_the_network_decay_and_ids_have_their_own_rate(make_learner):
    learner = make_learner()
    optimizer = adamw(learner, lr=0.01, id_lr=0.03, weight_decay=0.1, id_weight_decay=0.0, betas=(0.9, 0.98))
    names = {parameter: name for name, parameter in learner.named_parameters()}
    decayed, plain, ids = ({names[parameter] for parameter in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.01, 0.03]
    assert decayed | plain | ids == set(names.values())
    assert len(decayed) + len(plain) + len(ids) == len(names)
    assert ids == {"two_tower.content_tower._id_delta.weight"}
    assert "two_tower.user_tower._out.weight" in decayed
    assert any(name.startswith("two_tower.audio_encoder._stages") for name in decayed)
    assert {"two_tower.user_tower._action.weight", "two_tower.user_tower._norm.weight"} <= plain
    assert all(names[parameter] in plain for parameter in names if parameter.ndim < 2)


def test_ids_decay_by_themselves_and_without_a_gradient(make_learner):
    """In each of two steps a single row gets a gradient: every row of the id table shrinks, and nothing else does."""
    learner = make_learner()
    (ids,) = learner.two_tower.content_tower.id_parameters()
    before = {name: parameter.detach().clone() for name, parameter in learner.named_parameters()}
    optimizer = adamw(learner, lr=0.01, id_lr=0.03, weight_decay=0.0, id_weight_decay=0.5, betas=(0.9, 0.98))
    for _ in range(2):
        for parameter in learner.parameters():
            parameter.grad = torch.zeros_like(parameter)
        ids.grad[3] = 1.0
        optimizer.step()
    rest = torch.arange(len(ids)) != 3
    name = "two_tower.content_tower._id_delta.weight"
    torch.testing.assert_close(ids[rest], before[name][rest] * (1 - 0.03 * 0.5) ** 2)
    torch.testing.assert_close(ids[3], (before[name][3] * (1 - 0.015) - 0.03) * (1 - 0.015) - 0.03)  # Adam's unit steps
    for other, parameter in learner.named_parameters():
        assert other == name or torch.equal(parameter, before[other])


@pytest.mark.parametrize("bad", ["id_lr", "weight_decay", "id_weight_decay"])
def test_a_rate_or_a_decay_below_zero_is_refused(make_learner, bad):
    keywords = {"lr": 0.01, "id_lr": 0.03, "weight_decay": 0.1, "id_weight_decay": 0.1, "betas": (0.9, 0.98)}
    with pytest.raises(ValueError, match=f"{bad}=-1.0 must be 0 or more"):
        adamw(make_learner(), **{**keywords, bad: -1.0})
