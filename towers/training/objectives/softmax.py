"""Cross-entropy of the target against candidates: all contents, or a sample with or without a correction for it."""

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
    """Softmax in which every candidate counts once: `log(exp(s+) + sum over candidates but the target of exp(s)) - s+`.

    Relations: with all contents as candidates it is the exact softmax. With shared uniform negatives it is the sampled
    softmax of papers on sequential recommendation (Klenitskiy and Vasilev 2023, arXiv 2309.07602), without a
    correction: the target competes with fewer contents than exist, and the loss learns less from each.

    Args:
        candidates: sampler of the contents that targets compete with.
        temperature: divisor of inner products; the initial one if learned.
        is_temperature_learned: whether the temperature is learned.
        num_rejections: maximum number of contents that the listener rejected near a target and that compete with that
            target alone; 0: none.
        rejection_weight: factor of their exponentials; 0 switches them off.
        mask_heard: whether contents before a target in its window do not compete with it, as evaluation filters
            them; a target that is itself a repeat competes with everything.
        mask_unavailable: whether contents that no listener had heard before the target do not compete with it: they
            did not exist yet. Needs data with a clock.
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
        """Keeps the times since when the step's candidates exist."""
        self._since_s = batch.candidate_since_s if self.mask_unavailable else None
        return super().observe(batch)

    def logged(self) -> dict[str, Tensor]:
        """Returns the temperature."""
        return {"temperature": self.temperature.value.detach()}

    def forward(
        self,
        states: Float[Tensor, "targets dim"],
        content_vectors: Float[Tensor, "contents dim"],
        log_q: Float[Tensor, " candidates"],
        micro_batch: MicroBatch,
    ) -> Float[Tensor, ""]:
        """Returns the weighted sum of the targets' losses."""
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
    """Softmax whose candidates, but not the target, are corrected by the probability that they are drawn.

    The loss is `log(exp(s+) + sum over candidates but the target of exp(s - log_q)) - s+`. Its gradient is that of the
    refined logQ correction (Khrylchenko et al. 2025, arXiv 2507.09331), where the target is left out of the sum and
    its loss is weighted by 1 minus its probability, held constant.

    Relations: `Softmax` where log_q is 0.
    """

    def _competition(self, log_q: Float[Tensor, " candidates"], micro_batch: MicroBatch) -> Competition:
        return replace(super()._competition(log_q, micro_batch), log_q=log_q)


class LogQSoftmax(Softmax):
    """The classic logQ correction (Yi et al. 2019): the target is a candidate, and corrected like the others.

    The loss is `log(sum over candidates, with the target, of exp(s - log_q)) - (s+ - log_q+)`. As the target is always
    among the candidates, the gradient does not converge to the exact softmax's, but is often close.

    Relations: `Softmax` where log_q is 0 and the target is among the candidates.

    Args:
        candidates: candidate sampler that includes all of the batch's targets: `in_batch` without `max_in_batch`.
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
