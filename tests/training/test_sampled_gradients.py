"""The mean gradient of sampled objectives approaches the exact softmax's as samples grow; uncorrected ones' does
not.
"""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from towers.training.objectives.negatives import InBatchAndUniform, Popularity, Uniform
from towers.training.objectives.softmax_loss import Competition, SoftmaxLoss

CONTENTS, DIM, TARGET, TEMPERATURE, DRAWS = 2_000, 16, 3, 0.1, 300
SIZES = (64, 512)
SAMPLERS = {
    "uniform": lambda positives, size: Uniform(positives, size),
    "popularity": lambda positives, size: Popularity(positives, size, 0.75),
    "in batch": lambda positives, size: InBatchAndUniform(positives, 0, True),
    "in batch and uniform": lambda positives, size: InBatchAndUniform(positives, size, True),
}


@pytest.fixture(scope="module")
def world():
    """Draws a state that prefers its target, contents, and their counts: contents that it likes are chosen more
    often.
    """
    torch.manual_seed(0)
    contents = normalize(torch.randn(CONTENTS, DIM), dim=1).double()
    state = contents[[TARGET]] / TEMPERATURE
    chosen = 20 * (1.5 * contents @ contents[TARGET]).exp()
    return state, contents, chosen.round().long().numpy()


def gradient(state, contents, rows, log_q, **options):
    """Returns the gradient of the target's loss for the state; the target stands behind the candidates, or is one of
    them.
    """
    place = np.flatnonzero(rows == TARGET)
    order = torch.from_numpy(np.append(rows, TARGET))
    competition = Competition(
        num_candidates=len(rows), target=torch.tensor([place[0] if len(place) else len(rows)]), weight=torch.ones(1),
        log_q=log_q, **options,
    )  # fmt: skip
    state = state.clone().requires_grad_()
    SoftmaxLoss.apply(state, contents[order], competition).backward()
    return state.grad[0]


def exact_gradient(state, contents):
    return gradient(state, contents, np.arange(CONTENTS), None)


def sampled(world, make, size, is_corrected=True, **options):
    """Returns the relative error of the mean gradient, and its standard error, both as a share of the exact one's
    length.
    """
    state, contents, positives = world
    sampler, generator = make(positives, size), np.random.default_rng(size)
    gradients = []
    for _ in range(DRAWS):
        others = generator.choice(CONTENTS, size - 1, p=positives / positives.sum())
        rows, log_q = sampler.sample(np.append(others, TARGET), generator)
        gradients.append(gradient(state, contents, rows, torch.from_numpy(log_q) if is_corrected else None, **options))
    gradients, exact = torch.stack(gradients), exact_gradient(state, contents)
    error = (gradients.mean(dim=0) - exact).norm() / exact.norm()
    deviation = (gradients.var(dim=0).sum() / DRAWS).sqrt() / exact.norm()
    return error.item(), deviation.item()


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())
class TestTheMeanGradient:
    """Without bias the error is about as long as its standard error; three times that is far."""

    @pytest.mark.slow
    def test_is_the_exact_softmaxs_within_an_interval_that_shrinks_as_samples_grow(self, world, make):
        found = [sampled(world, make, size) for size in SIZES]
        assert all(error < 3 * deviation for error, deviation in found)
        (_, few), (_, many) = found
        assert many < 0.5 * few < 0.03

    def test_is_far_off_without_a_correction(self, world, make):
        error, deviation = sampled(world, make, SIZES[1], is_corrected=False)
        assert error - 3 * deviation > 0.2


def test_the_classic_correction_is_off_where_the_target_is_probable(world):
    error, deviation = sampled(world, SAMPLERS["in batch"], SIZES[1], is_target_corrected=True)
    assert error - 3 * deviation > 0.1


def test_a_corrected_target_is_off_by_its_own_share():
    """This is why the correction was refined: with one candidate drawn with probability q, the target is counted 1 / q
    times.

    Scores 0; target and one candidate, both always there. The exact gradient for a target's score is 1/2 - 1; with
    the target's log_q at log(1/4) it counts four times: 4/5 - 1.
    """
    state = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    contents = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    found = {}
    for is_target_corrected in (False, True):
        competition = Competition(
            num_candidates=2, target=torch.tensor([0]), weight=torch.ones(1),
            log_q=torch.tensor([0.25, 1.0]).log(), is_target_corrected=is_target_corrected,
        )  # fmt: skip
        leaf = state.clone().requires_grad_()
        SoftmaxLoss.apply(leaf, contents, competition).backward()
        found[is_target_corrected] = leaf.grad[0, 1].item() / 2  # target's vector minus the candidate's
    assert found == pytest.approx({False: 1 / 2 - 1, True: 4 / 5 - 1}, rel=1e-6)
