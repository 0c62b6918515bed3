"""How often contents are targets, estimated while training goes on: nothing has to be counted beforehand."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.batch import TrainingBatch
from towers.training.objectives.negatives import InBatchAndUniform
from towers.training.objectives.softmax import RefinedLogQSoftmax

PRIME = (1 << 31) - 1
MULTIPLIERS = (1_103_515_245, 1_664_525, 22_695_477, 134_775_813, 214_013, 1_140_671_485, 69_069, 16_843_009)
"""One for each hash function. Fixed: a run that goes on must find the places that it wrote to."""


class StreamingFrequency(nn.Module):
    """Mean number of steps between two steps that hold a content (Yi et al. 2019, algorithms 2 and 3).

    Contents share places by hashing, so the memory does not grow with the catalogue. A place that several share is hit
    too often and its gap is too short, so of several hash functions the longest gap is taken.

    Args:
        num_buckets: places of a hash function.
        num_hashes: hash functions, 1 to 8.
        rate: share of the newest gap in the mean, above 0 up to 1; smaller is steadier and slower.
        initial_gap: steps; the mean's start.
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
        """A step that holds `rows`; repeats count once. Equal values meet where places are shared: no order matters."""
        self._step += 1
        buckets = self._buckets(rows)
        gap = (self._step - self._last_step.gather(1, buckets)).to(self._mean_gap.dtype)
        mean = self._mean_gap.gather(1, buckets)
        self._mean_gap.scatter_(1, buckets, mean.lerp(gap, self._rate))
        self._last_step.scatter_(1, buckets, self._step.expand(buckets.shape))

    @torch.no_grad()
    def gap(self, rows: Int[Tensor, " contents"]) -> Float[Tensor, " contents"]:
        """Mean steps between two that hold each of `rows`; 1 over it is the probability that a step does."""
        return self._mean_gap.gather(1, self._buckets(rows)).amax(dim=0)

    def _buckets(self, rows: Int[Tensor, " contents"]) -> Int[Tensor, "hashes contents"]:
        return (rows + 1) * self._multipliers % PRIME % self._mean_gap.shape[1]


class StreamingLogQSoftmax(RefinedLogQSoftmax):
    """`RefinedLogQSoftmax` whose probabilities follow the targets that training meets, not counts made beforehand.

    A content is a candidate unless it is neither a target of the step nor drawn uniformly:

        q = 1 - (1 - 1 / mean gap) * (1 - 1 / trained contents) ** num_uniform.

    Relations: `RefinedLogQSoftmax` with `InBatchAndUniform` once the gaps have settled and contents are drawn evenly.

    Args:
        candidates: `in_batch` without `max_in_batch`, as what a step holds is what competes.
        frequency: estimates gaps.
        temperature: as `Softmax`, as are the others.
        is_temperature_learned: whether it is.
        num_rejections: contents turned down that compete with a target alone.
        rejection_weight: by which their exponentials are multiplied.
        mask_heard: whether contents that stand in the window before a target do not compete with it.
        mask_unavailable: whether contents that were not there yet do not compete with it.
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
            raise ValueError("without the batch's targets among the candidates their frequency has no use")
        if candidates.max_in_batch is not None:
            raise ValueError("gaps between steps that hold a content say nothing of a part of one: max_in_batch=null")
        super().__init__(
            candidates, temperature, is_temperature_learned, num_rejections, rejection_weight, mask_heard,
            mask_unavailable,
        )  # fmt: skip
        self.frequency = frequency
        self._log_missed = candidates.log_missed_by_uniform

    def observe(self, batch: TrainingBatch) -> Float[Tensor, " candidates"]:
        """Takes the step's targets in, then tells the candidates' probabilities."""
        super().observe(batch)
        self.frequency.observe(batch.target_rows)
        rows = batch.content_rows[: len(batch.candidate_log_q)]
        log_missed = torch.log1p(-1 / self.frequency.gap(rows)) + self._log_missed
        return torch.log(-torch.expm1(log_missed))
