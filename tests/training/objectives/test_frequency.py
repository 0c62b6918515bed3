"""Frequencies estimated on the way: closed forms, true probabilities, and the state of a resumed run."""

import numpy as np
import pytest
import torch

from tests.contracts.objective import CONTENTS, CountsTheTargetOnce, ObjectiveContract
from tests.training.objectives.test_softmax import SoftmaxFormula
from towers.batch import TrainingBatch
from towers.training.objectives.frequency import MULTIPLIERS, StreamingFrequency, StreamingLogQSoftmax
from towers.training.objectives.negatives import InBatchAndUniform

RATE, INITIAL = 0.1, 20.0
POSITIVES = np.array([0, 40, 20, 0, 10, 5, 5, 2, 1, 1, 1, 0])
TRAINED, BATCH = np.flatnonzero(POSITIVES), 6


def make(num_buckets=10_007, num_hashes=2, rate=RATE, initial_gap=INITIAL):
    return StreamingFrequency(num_buckets, num_hashes, rate, initial_gap)


class TestStreamingFrequency:
    def test_regular_gaps_approach_their_length_geometrically(self):
        """The mean after n gaps of 4 steps is 4 + (start - 4) * (1 - rate) ** n."""
        frequency, row = make(), torch.tensor([3])
        for step in range(1, 41):
            frequency.observe(row if step % 4 == 0 else torch.tensor([5]))
        assert frequency.gap(row).item() == pytest.approx(4 + (INITIAL - 4) * (1 - RATE) ** 10, rel=1e-5)

    def test_what_never_came_keeps_the_start(self):
        frequency = make()
        frequency.observe(torch.tensor([1, 2]))
        assert frequency.gap(torch.tensor([9])).item() == INITIAL

    def test_repeats_in_a_step_count_once(self):
        once, often = make(), make()
        once.observe(torch.tensor([1, 2]))
        often.observe(torch.tensor([2, 1, 1, 2, 1]))
        assert all(torch.equal(one, often.state_dict()[name]) for name, one in once.state_dict().items())

    @pytest.mark.unhooked  # the hook would take most of the time
    def test_finds_the_probability_that_a_step_holds_a_content(self):
        """The estimate's mean over many steps is within a tenth, for contents of probability .5, .1 and .02."""
        generator, frequency = np.random.default_rng(0), make(rate=0.02)
        probabilities, rows = np.array([0.5, 0.1, 0.02]), torch.arange(3)
        gaps = []
        for step in range(7_000):
            frequency.observe(rows[torch.from_numpy(generator.random(3) < probabilities)])
            if step > 1_000:
                gaps.append(frequency.gap(rows).numpy())
        np.testing.assert_allclose(1 / np.mean(gaps, axis=0), probabilities, rtol=0.1)

    def test_several_hashes_keep_collisions_from_counting(self):
        """Each of 500 contents comes once in 50 steps, in 300 places: with one hash many seem more frequent than
        that.
        """
        rows = torch.arange(500)
        shares = {}
        for num_hashes in (1, 8):
            frequency = make(num_buckets=300, num_hashes=num_hashes, initial_gap=50.0)
            for step in range(500):
                frequency.observe(rows[rows % 50 == step % 50])
            shares[num_hashes] = (frequency.gap(rows) > 45).float().mean()
        assert shares[1] < 0.5
        assert shares[8] > shares[1] + 0.15

    def test_a_resumed_one_goes_on_bitwise(self):
        generator = torch.Generator().manual_seed(0)
        steps = [torch.randint(0, 50, (7,), generator=generator) for _ in range(20)]
        whole, first, second = make(), make(), make()
        for rows in steps:
            whole.observe(rows)
        for rows in steps[:9]:
            first.observe(rows)
        second.load_state_dict(first.state_dict())
        for rows in steps[9:]:
            second.observe(rows)
        assert torch.equal(whole.gap(torch.arange(50)), second.gap(torch.arange(50)))

    @pytest.mark.parametrize("wrong", [
        {"num_buckets": 0}, {"num_hashes": 0}, {"num_hashes": len(MULTIPLIERS) + 1},
        {"rate": 0.0}, {"rate": 1.5}, {"initial_gap": 0.5},
    ])  # fmt: skip
    def test_refuses(self, wrong):
        with pytest.raises(ValueError, match="must be"):
            make(**wrong)


def batch_of(targets, rows, log_q):
    return TrainingBatch(
        micro_batches=(), content_rows=torch.from_numpy(rows), candidate_log_q=torch.from_numpy(log_q),
        candidate_since_s=torch.zeros(len(log_q), dtype=torch.int64),
        target_rows=torch.from_numpy(targets), total_weight=torch.tensor(1.0),
        fresh_index=torch.zeros(0, dtype=torch.int64), fresh_spectrograms=torch.zeros(0, 1, 8),
        epoch=0, number=0, batches=1,
    )  # fmt: skip


def make_objective(num_uniform=4):
    return StreamingLogQSoftmax(
        InBatchAndUniform(POSITIVES, num_uniform, True), make(rate=0.02, initial_gap=8.0), 0.1, True
    )


class TestStreamingLogQSoftmax(SoftmaxFormula, CountsTheTargetOnce, ObjectiveContract):
    is_corrected = True

    @pytest.fixture
    def objective(self):
        candidates = InBatchAndUniform(np.ones(CONTENTS, dtype=np.int64), 4, True)
        return StreamingLogQSoftmax(candidates, make(), 0.1, True)

    @pytest.mark.unhooked  # the hook would take most of the time
    @pytest.mark.parametrize("num_uniform", [0, 4])
    def test_settles_at_what_counts_would_say(self, num_uniform):
        """The estimate is within 15 % of the sampler's probability, for contents of over 100 steps out of 1,000."""
        objective, generator = make_objective(num_uniform), np.random.default_rng(0)
        sums, times = np.zeros(len(POSITIVES)), np.zeros(len(POSITIVES))
        for step in range(1_500):
            targets = generator.choice(len(POSITIVES), BATCH, p=POSITIVES / POSITIVES.sum())
            rows, log_q = objective.candidates.sample(targets, generator)
            found = objective.observe(batch_of(targets, rows, log_q))
            if step > 500:
                sums[rows] += 1 / found.exp().numpy()
                times[rows] += 1
        stated = np.exp(objective.candidates.log_q(TRAINED, BATCH))
        often = TRAINED[stated > 0.1]
        np.testing.assert_allclose(times[often] / sums[often], stated[stated > 0.1], rtol=0.15)

    def test_needs_the_targets_among_the_candidates(self):
        with pytest.raises(ValueError, match=r"candidates\.in_batch must be true"):
            StreamingLogQSoftmax(InBatchAndUniform(POSITIVES, 4, False), make(), 0.1, True)
        with pytest.raises(ValueError, match="max_in_batch"):
            StreamingLogQSoftmax(InBatchAndUniform(POSITIVES, 4, True, max_in_batch=2), make(), 0.1, True)
