"""A compiled step of the user tower has the masks, states and gradients of the one that is not."""

import pytest
import torch

from tests.models.test_user_tower import PARTS, make_user_tower
from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS

pytestmark = [
    pytest.mark.unhooked,
    pytest.mark.slow,
    # Torch's compiler imports a part of torch that torch itself has deprecated.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]


@pytest.mark.parametrize("parts", PARTS)
def test_value_and_gradient_under_dropout(parts):
    """Were a mask drawn again for the gradient, or shared between layers, gradients would be far apart."""
    tower = make_user_tower(parts, dropout=0.3).train()
    compiled = torch.compile(tower.states_at, dynamic=True)
    for batch, length in ((4, 9), (3, 17)):
        generator = torch.Generator().manual_seed(length)
        vectors = torch.randn(batch, length, 16, generator=generator)
        codes = [
            torch.randint(size, (batch, length), generator=generator)
            for size in (NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS, 3)
        ]
        inputs = (*codes, torch.ones((batch, 1), dtype=torch.int64), torch.arange(batch * length), None)
        found = {}
        for name, states_at in (("compiled", compiled), ("eager", tower.states_at)):
            tower.zero_grad()
            leaf = vectors.clone().requires_grad_()
            torch.manual_seed(length)
            states = states_at(leaf, *inputs)
            (states * torch.arange(states.numel()).view(states.shape).sin()).sum().backward()
            found[name] = [states, leaf.grad, *(parameter.grad.clone() for parameter in tower.parameters())]
        for one, other in zip(found["compiled"], found["eager"], strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
