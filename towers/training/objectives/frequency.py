"""Streaming estimate of how often contents are targets during training, without counts made beforehand."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.batch import TrainingBatch
from towers.training.objectives.negatives import InBatchAndUniform
from towers.training.objectives.softmax import RefinedLogQSoftmax

PRIME = (1 << 31) - 1
MULTIPLIERS = (1_103_515_245, 1_664_525, 22_695_477, 134_775_813, 214_013, 1_140_671_485, 69_069, 16_843_009)
"""Multipliers of the hash functions; fixed, since a resumed run must find the buckets that it wrote to."""


class StreamingFrequency(nn.Module):
    """Estimated mean number of steps between two steps that hold a content (Yi et al. 2019, algorithms 2 and 3).

    Contents are hashed into buckets, so the memory does not grow with the catalogue. A shared bucket is hit too often,
    so its gap is too short; of several hash functions the longest gap is therefore taken.

    Args:
        num_buckets: number of buckets of a hash function.
        num_hashes: number of hash functions, 1 to 8.
        rate: weight of the newest gap in the moving mean, above 0 up to 1; smaller is steadier and slower.
        initial_gap: initial mean gap, in steps.
    """

    def __init__(self, num_buckets: int, num_hashes: int, rate: float, initial_gap: float):
        super().__init__()
        if num_buckets < 1 or not 1 <= num_hashes <= len(MULTIPLIERS):
            raise ValueError(
                f"num_buckets must be at least 1 and num_hashes 1 to {len(MULTIPLIERS)}, "
                f"got {num_buckets} and {num_hashes}"
            )
        if not 0 < rate <= 1 or not initial_gap >= 1:
            raise ValueError(f"rate must be above 0 up to 1 and initial_gap at least 1, got {rate} and {initial_gap}")
        self._rate = rate
        self._step: Tensor
        self._last_step: Tensor
        self._mean_gap: Tensor
        self._multipliers: Tensor
        self.register_buffer("_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("_last_step", torch.zeros(num_hashes, num_buckets, dtype=torch.int64))
        self.register_buffer("_mean_gap", torch.full((num_hashes, num_buckets), float(initial_gap)))
        self.register_buffer("_multipliers", torch.tensor(MULTIPLIERS[:num_hashes])[:, None], persistent=False)

    @torch.no_grad()
    def observe(self, rows: Int[Tensor, " targets"]) -> None:
        """Counts a step that holds `rows`; repeats count once. Rows in one bucket write equal values, in any order."""
        self._step += 1
        buckets = self._buckets(rows)
        gap = (self._step - self._last_step.gather(1, buckets)).to(self._mean_gap.dtype)
        mean = self._mean_gap.gather(1, buckets)
        self._mean_gap.scatter_(1, buckets, mean.lerp(gap, self._rate))
        self._last_step.scatter_(1, buckets, self._step.expand(buckets.shape))

    @torch.no_grad()
    def gap(self, rows: Int[Tensor, " contents"]) -> Float[Tensor, " contents"]:
        """Returns the mean number of steps between two that hold each row; its inverse is the probability per step."""
        return self._mean_gap.gather(1, self._buckets(rows)).amax(dim=0)

    def _buckets(self, rows: Int[Tensor, " contents"]) -> Int[Tensor, "hashes contents"]:
        return (rows + 1) * self._multipliers % PRIME % self._mean_gap.shape[1]


class StreamingLogQSoftmax(RefinedLogQSoftmax):
    """`RefinedLogQSoftmax` with probabilities estimated from the targets of training, not from counts made beforehand.

    A content is a candidate unless it is neither a target of the step nor drawn uniformly:

        q = 1 - (1 - 1 / mean gap) * (1 - 1 / trained contents) ** num_uniform.

    Relations: it equals `RefinedLogQSoftmax` with `InBatchAndUniform` once gaps have settled and contents come evenly.

    Args:
        candidates: candidate sampler with `in_batch` and without `max_in_batch`, as all targets of a step compete.
        frequency: estimator of gaps.
        temperature: see `Softmax`, as for all below.
        is_temperature_learned: whether the temperature is learned.
        num_rejections: maximum number of rejected contents that compete with a target alone.
        rejection_weight: factor of their exponentials.
        mask_heard: whether contents before a target in its window do not compete with it.
        mask_unavailable: whether contents that did not exist yet do not compete with a target.
    """

    def __init__(
        self,
        candidates: InBatchAndUniform,
        frequency: StreamingFrequency,
        temperature: float,
        is_temperature_learned: bool,
        num_rejections: int = 0,
        rejection_weight: float = 1.0,
        mask_heard: bool = False,
        mask_unavailable: bool = False,
    ):
        if not candidates.in_batch:
            raise ValueError("candidates.in_batch must be true: frequencies are estimated for in-batch targets")
        if candidates.max_in_batch is not None:
            raise ValueError("candidates.max_in_batch must be null: gaps are estimated for whole steps")
        super().__init__(
            candidates, temperature, is_temperature_learned, num_rejections, rejection_weight, mask_heard,
            mask_unavailable,
        )  # fmt: skip
        self.frequency = frequency
        self._log_missed = candidates.log_missed_by_uniform

    def observe(self, batch: TrainingBatch) -> Float[Tensor, " candidates"]:
        """Adds the step's targets to the estimate, then returns the candidates' log-probabilities."""
        super().observe(batch)
        self.frequency.observe(batch.target_rows)
        rows = batch.content_rows[: len(batch.candidate_log_q)]
        log_missed = torch.log1p(-1 / self.frequency.gap(rows)) + self._log_missed
        return torch.log(-torch.expm1(log_missed))
