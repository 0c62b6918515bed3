"""The entries that dropout keeps, the scale of these, and the cases in which it is off."""

import pytest
import torch

from towers.models.dropout import Dropout


@pytest.mark.parametrize(("probability", "levels"), [(0.5, 128), (0.2, 51), (0.1, 26), (0.0001, 1), (0.9999, 255)])
def test_the_share_of_zeros_and_the_size_of_the_rest(probability, levels):
    torch.manual_seed(0)
    number = 1_000_001  # no multiple of 8
    dropped = Dropout(probability)(torch.full((number,), 3.0))
    share = (dropped == 0).double().mean().item()
    expected = levels / 256
    assert abs(share - expected) < 5 * (expected * (1 - expected) / number) ** 0.5  # five standard deviations
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 3 * 256 / (256 - levels)))


def test_every_byte_of_a_number_is_uniform():
    """Torch's default range for 64-bit numbers leaves out the sign, which would spoil one entry of eight."""
    torch.manual_seed(0)
    is_zero = Dropout(0.25)(torch.ones(8 * 40_000)).view(-1, 8) == 0
    share = is_zero.double().mean(dim=0)
    assert ((share - 0.25).abs() < 5 * (0.25 * 0.75 / 40_000) ** 0.5).all()
    pairs = torch.corrcoef(is_zero.double().T) - torch.eye(8, dtype=torch.float64)
    assert pairs.abs().max() < 5 / 200  # five standard deviations, 1 / sqrt(40,000) each


def test_the_gradient_has_the_same_mask():
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    dropped = Dropout(0.5)(x)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, (dropped != 0) * 2.0, check_dtype=False)
    assert dropped.dtype == torch.float64


def test_a_seed_gives_a_mask():
    dropout, x = Dropout(0.3), torch.ones(100)
    torch.manual_seed(5)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_off_is_exactly_off():
    x = torch.randn(10)
    state = torch.get_rng_state()
    assert Dropout(0.0)(x) is x
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_what_is_no_probability_is_refused(probability):
    with pytest.raises(ValueError, match="dropout must lie in 0 to 1"):
        Dropout(probability)
