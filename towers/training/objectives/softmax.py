"""Cross-entropy of the target against candidates: all of them, or a sample, corrected for how it was drawn or not."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from towers.batch import MicroBatch, TrainingBatch
from towers.data.training_batches import CandidateSampler
from towers.training.objectives.negatives import InBatchAndUniform
from towers.training.objectives.objective import Objective
from towers.training.objectives.softmax_loss import Available, Competition, Heard, SoftmaxLoss
from towers.training.objectives.temperature import Temperature


class Softmax(Objective):
    """Every candidate counts as one: `log(exp(s+) + sum over candidates but the target of exp(s)) - s+`.

    Relations: with all contents as candidates it is the exact softmax. With shared uniform negatives it is the sampled
    softmax of papers on sequential recommendation (Klenitskiy and Vasilev 2023, arXiv 2309.07602): without a
    correction, so the target is held against fewer than there are, and the loss learns less from each.

    Args:
        candidates: draws what targets compete with.
        temperature: by which inner products are divided; the start where it is learned.
        is_temperature_learned: whether it is.
        num_rejections: contents that the listener turned down near a target, at most, that compete with it alone; 0:
            none.
        rejection_weight: by which their exponentials are multiplied; 0 switches them off.
        mask_heard: whether contents that stand in the window before a target do not compete with it, as evaluation
            filters them; a target that stands there itself, a repeat, competes with everything.
        mask_unavailable: whether contents that nobody had heard before the target happened do not compete with it:
            they were not there yet. Needs data with a clock.
    """

    def __init__(
        self,
        candidates: CandidateSampler,
        temperature: float,
        is_temperature_learned: bool,
        num_rejections: int = 0,
        rejection_weight: float = 1.0,
        mask_heard: bool = False,
        mask_unavailable: bool = False,
    ):
        super().__init__()
        if num_rejections < 0 or not 0 <= rejection_weight < float("inf"):
            raise ValueError(
                f"num_rejections and rejection_weight must be 0 or more, got {num_rejections} and {rejection_weight}"
            )
        self.candidates = candidates
        self.temperature = Temperature(temperature, is_temperature_learned)
        self.num_rejections = num_rejections if rejection_weight else 0
        self._rejection_weight = rejection_weight
        self._mask_heard = mask_heard
        self.mask_unavailable = mask_unavailable
        self._since_s: Tensor | None = None

    def observe(self, batch: TrainingBatch) -> Float[Tensor, " candidates"]:
        """Remembers since when the step's candidates have been there."""
        self._since_s = batch.candidate_since_s if self.mask_unavailable else None
        return super().observe(batch)

    def logged(self) -> dict[str, Tensor]:
        """The temperature."""
        return {"temperature": self.temperature.value.detach()}

    def forward(
        self,
        states: Float[Tensor, "targets dim"],
        content_vectors: Float[Tensor, "contents dim"],
        log_q: Float[Tensor, " candidates"],
        micro_batch: MicroBatch,
    ) -> Float[Tensor, ""]:
        """The weighted sum of the targets' losses."""
        competition = self._competition(log_q, micro_batch)
        return SoftmaxLoss.apply(self.temperature(states), content_vectors, competition)

    def _competition(self, log_q: Float[Tensor, " candidates"], micro_batch: MicroBatch) -> Competition:
        targets, histories = micro_batch.targets, micro_batch.histories
        return Competition(
            num_candidates=len(log_q),
            target=targets.index,
            weight=targets.weight,
            rejected=targets.rejected if self.num_rejections else None,
            rejection_weight=self._rejection_weight,
            heard=Heard(histories.content_index, targets.window, targets.event) if self._mask_heard else None,
            available=None if self._since_s is None else Available(self._since_s, targets.time_s),
        )


class RefinedLogQSoftmax(Softmax):
    """Candidates corrected by the probability of their being drawn; the target, which is always there, is not.

    The loss is `log(exp(s+) + sum over candidates but the target of exp(s - log_q)) - s+`. Its gradient is that of the
    refined logQ correction (Khrylchenko et al. 2025, arXiv 2507.09331), where the target is left out of the sum and
    its loss is weighted by 1 minus its probability, held constant.

    Relations: `Softmax` where log_q is 0.
    """

    def _competition(self, log_q: Float[Tensor, " candidates"], micro_batch: MicroBatch) -> Competition:
        return replace(super()._competition(log_q, micro_batch), log_q=log_q)


class LogQSoftmax(Softmax):
    """The classic logQ correction (Yi et al. 2019): the target is a candidate like the others, and corrected as they.

    The loss is `log(sum over candidates, the target among them, of exp(s - log_q)) - (s+ - log_q+)`. As the target is
    there with certainty, its gradient does not tend to the exact softmax's, but on the way it is often near.

    Relations: `Softmax` where log_q is 0 and the target is among the candidates.

    Args:
        candidates: must hold the batch's targets, all of them: `in_batch` without `max_in_batch`.
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
        temperature: float,
        is_temperature_learned: bool,
        num_rejections: int = 0,
        rejection_weight: float = 1.0,
        mask_heard: bool = False,
        mask_unavailable: bool = False,
    ):
        if not candidates.in_batch or candidates.max_in_batch is not None:
            raise ValueError(
                "the classic correction counts all targets among the candidates: in_batch must be true and "
                "max_in_batch null"
            )
        super().__init__(
            candidates, temperature, is_temperature_learned, num_rejections, rejection_weight, mask_heard,
            mask_unavailable,
        )  # fmt: skip

    def _competition(self, log_q: Float[Tensor, " candidates"], micro_batch: MicroBatch) -> Competition:
        return replace(super()._competition(log_q, micro_batch), log_q=log_q, is_target_corrected=True)
