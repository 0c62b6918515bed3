"""Candidates, and how probable each was: measured by drawing, not derived a second time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from towers.training.negatives import AllTrained, InBatchAndUniform
from towers.training.objective import Softmax

POSITIVES = np.array([0, 40, 20, 0, 10, 5, 5, 2, 1, 1, 1, 0])
TRAINED = np.flatnonzero(POSITIVES)
BATCH, DRAWS, DIM = 6, 2_500, 4
SETTINGS = [(0, True), (4, False), (4, True)]


def batch_of_targets(generator):
    """As training draws them: by how often each content was chosen."""
    return generator.choice(len(POSITIVES), BATCH, p=POSITIVES / POSITIVES.sum())


@pytest.fixture(scope="module", params=SETTINGS, ids=["in batch", "uniform", "both"])
def sampler(request):
    num_uniform, in_batch = request.param
    return InBatchAndUniform(POSITIVES, num_uniform, in_batch)


@pytest.fixture(scope="module")
def samples(sampler):
    generator = np.random.default_rng(0)
    return [sampler.sample(batch_of_targets(generator), generator) for _ in range(DRAWS)]


class TestInBatchAndUniform:
    def test_candidates_are_a_set_of_trained_contents(self, samples):
        for rows, log_q in samples:
            assert (np.diff(rows) > 0).all()
            assert np.isin(rows, TRAINED).all()
            assert log_q.shape == rows.shape
            assert log_q.dtype == np.float32
            assert (log_q <= 0).all()

    def test_log_q_is_how_often_a_content_is_drawn(self, sampler, samples):
        drawn = np.bincount(np.concatenate([rows for rows, _ in samples]), minlength=len(POSITIVES)) / DRAWS
        stated = np.exp(sampler.log_q(TRAINED, BATCH))
        deviation = np.sqrt(stated * (1 - stated) / DRAWS)
        assert (np.abs(drawn[TRAINED] - stated) < 4.5 * deviation + 1e-9).all()
        for rows, log_q in samples[:20]:
            np.testing.assert_allclose(log_q, sampler.log_q(rows, BATCH), rtol=1e-6)

    def test_the_sampled_sum_estimates_the_whole_one_without_bias(self, samples):
        """Taken from the loss itself, so that a wrong sign on either side of it fails.

        The target is a content that is never drawn; `exp(loss) * exp(s+) - exp(s+)` is then the sum over candidates.
        """
        torch.manual_seed(0)
        objective = Softmax(AllTrained(POSITIVES), temperature=1.0, is_temperature_learned=False)
        state = normalize(torch.randn(1, DIM), dim=-1)
        contents = normalize(torch.randn(len(POSITIVES), DIM), dim=-1)
        exponentials = (contents @ state[0]).double().exp()
        target, one = torch.tensor([0]), torch.ones(1)
        sums = [
            objective(state, contents, target, one, torch.from_numpy(rows), torch.from_numpy(log_q)).double().exp()
            * exponentials[0]
            - exponentials[0]
            for rows, log_q in samples
        ]
        sums = torch.stack(sums)
        error = sums.mean() - exponentials[TRAINED].sum()
        deviation = sums.std() / DRAWS**0.5
        assert error.abs() < 4 * deviation
        # The test would notice: what goes uncorrected is far outside of this.
        uncorrected = torch.stack([exponentials[rows].sum() for rows, _ in samples]).mean()
        assert (uncorrected - exponentials[TRAINED].sum()).abs() > 20 * deviation

    def test_the_batchs_targets_are_among_them(self):
        targets = np.array([5, 1, 5])
        rows, _ = InBatchAndUniform(POSITIVES, 0, True).sample(targets, np.random.default_rng(0))
        assert rows.tolist() == [1, 5]

    def test_or_not(self):
        sampler, generator = InBatchAndUniform(POSITIVES, 2, False), np.random.default_rng(0)
        assert any(8 not in sampler.sample(np.array([8]), generator)[0] for _ in range(20))

    def test_the_seed_fixes_the_draw(self):
        sampler = InBatchAndUniform(POSITIVES, 3, True)
        draws = [sampler.sample(np.array([1]), np.random.default_rng(seed))[0].tolist() for seed in (1, 1, 2, 3, 4)]
        assert draws[0] == draws[1]
        assert any(draw != draws[0] for draw in draws[2:])

    def test_a_catalogue_of_one(self):
        only = np.array([0, 3])
        rows, log_q = InBatchAndUniform(only, 2, True).sample(np.array([1]), np.random.default_rng(0))
        assert rows.tolist() == [1]
        assert log_q.tolist() == pytest.approx([0])

    @pytest.mark.parametrize("num_targets", [1, 1_000_000])
    def test_log_q_is_finite_for_any_batch(self, num_targets):
        positives = np.array([10**9, 1, 1])
        log_q = InBatchAndUniform(positives, 0, True).log_q(np.arange(3), num_targets)
        assert np.isfinite(log_q).all()
        assert (log_q <= 0).all()


class TestAllTrained:
    def test_always_gives_all(self):
        rows, log_q = AllTrained(POSITIVES).sample(np.array([1, 1]), np.random.default_rng(0))
        assert rows.tolist() == TRAINED.tolist()
        assert (log_q == 0).all()
