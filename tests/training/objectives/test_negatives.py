"""Candidates, and their probabilities: measured by drawing, not derived a second time."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from towers.training.objectives.negatives import AllTrained, InBatchAndUniform, Popularity, Uniform
from towers.training.objectives.softmax_loss import Competition, SoftmaxLoss

POSITIVES = np.array([0, 40, 20, 0, 10, 5, 5, 2, 1, 1, 1, 0])
TRAINED = np.flatnonzero(POSITIVES)
BATCH, DRAWS, DIM = 6, 1_500, 4


def batch_of_targets(generator):
    """Draws targets as training does: by how often each content was chosen."""
    return generator.choice(len(POSITIVES), BATCH, p=POSITIVES / POSITIVES.sum())


SAMPLERS = {
    "in batch": lambda: InBatchAndUniform(POSITIVES, 0, True),
    "in batch and uniform": lambda: InBatchAndUniform(POSITIVES, 4, True),
    "uniform, with replacement": lambda: InBatchAndUniform(POSITIVES, 4, False),
    "uniform": lambda: Uniform(POSITIVES, 4),
    "popularity": lambda: Popularity(POSITIVES, 4, 0.75),
    "flat popularity": lambda: Popularity(POSITIVES, 4, 0.0),
}


@pytest.fixture(scope="module", params=SAMPLERS.values(), ids=SAMPLERS.keys())
def samples(request):
    sampler, generator = request.param(), np.random.default_rng(0)
    return [sampler.sample(batch_of_targets(generator), generator) for _ in range(DRAWS)]


class TestEverySampler:
    def test_candidates_are_a_set_of_trained_contents(self, samples):
        for rows, log_q in samples:
            assert (np.diff(rows) > 0).all()
            assert np.isin(rows, TRAINED).all()
            assert log_q.shape == rows.shape
            assert log_q.dtype == np.float32
            assert (log_q <= 0).all()

    def test_log_q_is_how_often_a_content_is_drawn(self, samples):
        """A content's probability is the same in all draws, so that any draw with the content has it."""
        drawn = np.bincount(np.concatenate([rows for rows, _ in samples]), minlength=len(POSITIVES)) / DRAWS
        stated = np.full(len(POSITIVES), np.nan)
        for rows, log_q in samples:
            stated[rows] = np.exp(log_q)
        assert np.isfinite(stated[TRAINED]).all()
        deviation = np.sqrt(stated * (1 - stated) / DRAWS)
        assert (np.abs(drawn - stated) <= 4.5 * deviation + 1e-6)[TRAINED].all()

    @pytest.mark.slow
    def test_the_sampled_sum_estimates_the_whole_one_without_bias(self, samples):
        """The sum is taken from the loss itself, so that a wrong sign on either side fails.

        The target is a content that is never drawn; `exp(loss) * exp(s+) - exp(s+)` is then the sum over candidates.
        """
        torch.manual_seed(0)
        state = normalize(torch.randn(1, DIM), dim=-1).double()
        contents = normalize(torch.randn(len(POSITIVES), DIM), dim=-1).double()
        exponentials = (contents @ state[0]).exp()
        sums = torch.stack([sampled_sum(state, contents, rows, log_q) for rows, log_q in samples])
        error = sums.mean() - exponentials[TRAINED].sum()
        assert error.abs() < 4 * sums.std() / DRAWS**0.5
        # The test would notice: an uncorrected sum is far outside of this.
        uncorrected = torch.stack([exponentials[rows].sum() for rows, _ in samples]).mean()
        assert (uncorrected - exponentials[TRAINED].sum()).abs() > 20 * sums.std() / DRAWS**0.5

    @pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())
    def test_the_seed_fixes_the_draw(self, make):
        sampler, targets = make(), np.array([1])
        draws = [sampler.sample(targets, np.random.default_rng(seed))[0].tolist() for seed in (1, 1, *range(2, 30))]
        assert draws[0] == draws[1]
        assert any(draw != draws[0] for draw in draws[2:]) or draws[0] == [1]

    @pytest.mark.parametrize("make", [
        lambda counts: InBatchAndUniform(counts, 2, True), lambda counts: Uniform(counts, 2),
        lambda counts: Popularity(counts, 2, 0.75), AllTrained,
    ])  # fmt: skip
    def test_a_catalogue_of_one(self, make):
        rows, log_q = make(np.array([0, 3])).sample(np.array([1]), np.random.default_rng(0))
        assert rows.tolist() == [1]
        assert log_q.tolist() == pytest.approx([0], abs=1e-9)


def sampled_sum(state, contents, rows, log_q):
    """Returns the sum in the loss for a target, place 0, that stands before the candidates' own."""
    order = torch.from_numpy(np.append(rows, 0))
    competition = Competition(
        num_candidates=len(rows), target=torch.tensor([len(rows)]), weight=torch.ones(1), log_q=torch.from_numpy(log_q)
    )
    own = (contents[0] @ state[0]).exp()
    return SoftmaxLoss.apply(state, contents[order], competition).exp() * own - own


class TestInBatchAndUniform:
    def test_the_batchs_targets_are_among_them(self):
        targets = np.array([5, 1, 5])
        rows, _ = InBatchAndUniform(POSITIVES, 0, True).sample(targets, np.random.default_rng(0))
        assert rows.tolist() == [1, 5]

    def test_or_not(self):
        sampler, generator = InBatchAndUniform(POSITIVES, 2, False), np.random.default_rng(0)
        assert any(8 not in sampler.sample(np.array([8]), generator)[0] for _ in range(20))

    @pytest.mark.parametrize("num_targets", [1, 1_000_000])
    def test_log_q_is_finite_for_any_batch(self, num_targets):
        positives = np.array([10**9, 1, 1])
        log_q = InBatchAndUniform(positives, 0, True).log_q(np.arange(3), num_targets)
        assert np.isfinite(log_q).all()
        assert (log_q <= 0).all()

    @pytest.mark.parametrize("most", [BATCH, BATCH + 1, 10**6])
    def test_a_bound_that_is_not_reached_changes_nothing(self, most):
        generators = [np.random.default_rng(0), np.random.default_rng(0)]
        samplers = [InBatchAndUniform(POSITIVES, 4, True), InBatchAndUniform(POSITIVES, 4, True, max_in_batch=most)]
        for _ in range(20):
            (rows, log_q), bounded = [
                sampler.sample(batch_of_targets(generator), generator)
                for sampler, generator in zip(samplers, generators, strict=True)
            ]
            np.testing.assert_array_equal(rows, bounded[0])
            np.testing.assert_array_equal(log_q, bounded[1])

    @pytest.mark.parametrize("num_uniform", [0, 4])
    def test_a_bound_that_is_reached_leaves_the_sum_unbiased(self, num_uniform):
        """Draws measure how often each content is a candidate, and the corrected sum of some exponentials."""
        sampler, generator = InBatchAndUniform(POSITIVES, num_uniform, True, max_in_batch=3), np.random.default_rng(0)
        exponentials, draws = np.exp(np.linspace(-1, 1, len(POSITIVES))), 4_000
        times, stated, sums = np.zeros(len(POSITIVES)), np.full(len(POSITIVES), np.nan), np.zeros(draws)
        for draw in range(draws):
            rows, log_q = sampler.sample(batch_of_targets(generator), generator)
            times[rows] += 1
            stated[rows] = np.exp(log_q)
            sums[draw] = (exponentials[rows] / stated[rows]).sum()
        deviation = np.sqrt(stated * (1 - stated) / draws)
        assert (np.abs(times / draws - stated) <= 4.5 * deviation + 1e-6)[TRAINED].all()
        assert abs(sums.mean() - exponentials[TRAINED].sum()) < 4 * sums.std() / draws**0.5
        whole = np.exp(sampler.log_q(TRAINED, BATCH))  # the test would notice a bound that log_q ignores
        assert (np.abs(times[TRAINED] / draws - whole) > 4.5 * deviation[TRAINED]).any()

    def test_a_bound_that_is_reached(self):
        """Two of the five targets are drawn, and equal ones become one candidate; q is that of two draws."""
        sampler = InBatchAndUniform(np.array([3, 1, 1]), 0, True, max_in_batch=2)
        rows, log_q = sampler.sample(np.array([0, 1, 2, 0, 1]), np.random.default_rng(0))
        assert 1 <= len(rows) <= 2
        stated = {0: 1 - (2 / 5) ** 2, 1: 1 - (4 / 5) ** 2, 2: 1 - (4 / 5) ** 2}
        assert np.exp(log_q).tolist() == pytest.approx([stated[row] for row in rows.tolist()])

    @pytest.mark.parametrize(("in_batch", "most"), [(True, 0), (False, 5)])
    def test_refuses_a_bound_of_nothing(self, in_batch, most):
        with pytest.raises(ValueError, match="max_in_batch"):
            InBatchAndUniform(POSITIVES, 4, in_batch, max_in_batch=most)

    def test_needs_something_that_competes(self):
        with pytest.raises(ValueError, match="no candidates"):
            InBatchAndUniform(POSITIVES, 0, False)


class TestUniform:
    def test_draws_as_many_as_asked_for_or_all(self):
        generator = np.random.default_rng(0)
        assert len(Uniform(POSITIVES, 4).sample(np.array([1]), generator)[0]) == 4
        rows, log_q = Uniform(POSITIVES, 100).sample(np.array([1]), generator)
        assert rows.tolist() == TRAINED.tolist()
        assert (log_q == 0).all()

    def test_log_q_is_the_share(self):
        _, log_q = Uniform(POSITIVES, 3).sample(np.array([1]), np.random.default_rng(0))
        np.testing.assert_allclose(np.exp(log_q), 3 / 9, rtol=1e-6)


class TestPopularity:
    def test_log_q_follows_the_power_of_the_counts(self):
        """Shares are 16 ** .5 : 4 ** .5 : 1 = 4 : 2 : 1; of two draws both miss with (1 - share) ** 2."""
        sampler = Popularity(np.array([16, 0, 4, 1]), 2, 0.5)
        stated, generator = {}, np.random.default_rng(0)
        for _ in range(50):
            rows, log_q = sampler.sample(np.array([0]), generator)
            stated |= dict(zip(rows.tolist(), np.exp(log_q).tolist(), strict=True))
        assert stated == pytest.approx({0: 1 - (3 / 7) ** 2, 2: 1 - (5 / 7) ** 2, 3: 1 - (6 / 7) ** 2}, rel=1e-6)


@pytest.mark.parametrize("make", [
    lambda: Uniform(POSITIVES, 0), lambda: Popularity(POSITIVES, 0, 0.75), lambda: Popularity(POSITIVES, 4, -1.0),
])  # fmt: skip
def test_samplers_refuse(make):
    with pytest.raises(ValueError, match=r"at least 1"):
        make()


class TestAllTrained:
    def test_always_gives_all(self):
        rows, log_q = AllTrained(POSITIVES).sample(np.array([1, 1]), np.random.default_rng(0))
        assert rows.tolist() == TRAINED.tolist()
        assert (log_q == 0).all()
